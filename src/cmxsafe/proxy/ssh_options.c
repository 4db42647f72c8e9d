#include "cmxsafe/proxy/ssh_options.h"

#include <libssh/libssh.h>
#include <stdio.h>
#include <string.h>

#include "cmxsafe/core/log.h"
#include "cmxsafe/port/crypto.h"
#include "cmxsafe/proxy/pin.h"

#define CIPHER_NAME_MAX 64

/* Hybrids of ML-KEM or NTRU Prime with X25519: a future quantum computer cannot decrypt recorded sessions that used
 * them. libssh has supported them since 0.12; it ignores names that it does not know. */
#define KEX_PQ "mlkem768x25519-sha256,sntrup761x25519-sha512@openssh.com"
/* RFC 8731, RFC 5656: every server of the last ten years supports one of these. The cheapest one for a small CPU comes
 * first; it needs less than 6 KB of stack. */
#define KEX_CLASSIC                                                                                                    \
    "curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,ecdh-sha2-nistp384,diffie-hellman-group16-"     \
    "sha512"
#ifdef CMX_DEVICE_PROFILE /* the hybrids need more stack than a session's task has */
static const char kex[] = KEX_CLASSIC;
#else
static const char kex[] = KEX_PQ "," KEX_CLASSIC;
#endif
static const char kex_pq[] = KEX_PQ;
static const char aes_gcm[] = "aes128-gcm@openssh.com,aes256-gcm@openssh.com";
static const char chacha[] = "chacha20-poly1305@openssh.com";

/* The signature algorithms of each cmx_hostkey_type. RSA is used with SHA-2 only (RFC 8332). */
static const char *const hostkey_names[CMX_HOSTKEY_TYPES] = {
    "ssh-ed25519",
    "ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521",
    "rsa-sha2-512,rsa-sha2-256",
};

/* The order in which host key types are offered to a gateway that has several. On a device ECDSA comes first, because
 * verifying an Ed25519 key needs a larger stack (CMX_ED25519_STACK). */
#ifdef CMX_DEVICE_PROFILE
static const uint8_t hostkey_order[] = {CMX_HOSTKEY_ECDSA, CMX_HOSTKEY_ED25519, CMX_HOSTKEY_RSA};
#else
static const uint8_t hostkey_order[] = {CMX_HOSTKEY_ED25519, CMX_HOSTKEY_ECDSA, CMX_HOSTKEY_RSA};
#endif

struct option {
    enum ssh_options_e type;
    const void *value;
};

/* These options keep libssh from reading files of the machine, such as ssh_config and known_hosts. Without
 * SSH_OPTIONS_SSH_DIR libssh would look for a home directory. The MACs are libssh's default: SHA-2 only,
 * encrypt-then-MAC first.
 *
 * SSH_OPTIONS_HOST is not set: libssh has a connected descriptor and would use the host name only for known_hosts, but
 * it refuses some names that resolvers accept ("my_gateway"). SSH_OPTIONS_USER is a dummy, because libssh also refuses
 * some user names that servers accept ("DOM\\me"), and without this option it asks the system for the local user's
 * name. The real user name is passed with each authentication request. */
static const int no = 0;
static const struct option always[] = {
    {SSH_OPTIONS_PROCESS_CONFIG, &no},     {SSH_OPTIONS_SSH_DIR, "/"},
    {SSH_OPTIONS_KNOWNHOSTS, "/dev/null"}, {SSH_OPTIONS_GLOBAL_KNOWNHOSTS, "/dev/null"},
    {SSH_OPTIONS_COMPRESSION, "no"},       {SSH_OPTIONS_USER, "unused"},
};

static cmx_err set_options(ssh_session session, const struct option *o, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (o[i].value && ssh_options_set(session, o[i].type, o[i].value) != SSH_OK) {
            cmx_log(CMX_LOG_ERROR, "proxy", "libssh refuses option %d: %s", (int)o[i].type, ssh_get_error(session));
            return CMX_EINVAL;
        }
    return CMX_OK;
}

static void join_hostkeys(char *out, size_t cap, unsigned types)
{
    size_t len = 0;

    for (size_t i = 0; i < CMX_HOSTKEY_TYPES; i++) {
        const uint8_t type = hostkey_order[i];

        if (types & 1u << type) /* all names fit: snprintf always returns less than cap - len */
            len += (size_t)snprintf(out + len, cap - len, "%s%s", len ? "," : "", hostkey_names[type]);
    }
}

cmx_err cmx_ssh_options_set(ssh_session session, const struct cmx_gateway *g, unsigned types)
{
    const bool aes_first = cmx_crypto_fast_aes();
    char hostkeys[128] = "", default_ciphers[2 * sizeof aes_gcm + sizeof ",aes256-ctr"]; /* chacha is shorter */
    const char *ciphers = g->ciphers ? g->ciphers : default_ciphers;
    long timeout_s = (long)g->login_timeout_s;
    cmx_err err;
    const struct option options[] = {
        {SSH_OPTIONS_TIMEOUT, &timeout_s},  {SSH_OPTIONS_KEY_EXCHANGE, g->require_pq ? kex_pq : kex},
        {SSH_OPTIONS_HOSTKEYS, hostkeys},   {SSH_OPTIONS_CIPHERS_C_S, ciphers},
        {SSH_OPTIONS_CIPHERS_S_C, ciphers}, {SSH_OPTIONS_REKEY_DATA, g->rekey_bytes ? &g->rekey_bytes : NULL},
    };

    join_hostkeys(hostkeys, sizeof hostkeys, types);
    snprintf(default_ciphers, sizeof default_ciphers, "%s,%s,aes256-ctr", aes_first ? aes_gcm : chacha,
             aes_first ? chacha : aes_gcm);
    err = set_options(session, always, sizeof always / sizeof always[0]);
    return err ? err : set_options(session, options, sizeof options / sizeof options[0]);
}

/* ---- checking the settings ---- */

static cmx_err check_keys(const struct cmx_gateway *g, struct cmx_why *why)
{
    ssh_key file = NULL, pem = NULL;
    cmx_err err = CMX_OK;

    if (g->key_file && ssh_pki_import_privkey_file(g->key_file, g->key_passphrase, NULL, NULL, &file) != SSH_OK)
        err =
            cmx_why_fail(why, CMX_EINVAL, "key_file %s: %s", g->key_file,
                         g->key_passphrase ? "not a private key, or key_passphrase_file does not contain its passphrase"
                                           : "not a private key; if it has a passphrase, set key_passphrase_file");
    else if (g->key_pem && ssh_pki_import_privkey_base64(g->key_pem, g->key_passphrase, NULL, NULL, &pem) != SSH_OK)
        err = cmx_why_fail(why, CMX_EINVAL, "key_pem: not a private key, or its passphrase is missing or wrong");
    ssh_key_free(file);
    ssh_key_free(pem);
    return err;
}

/* libssh silently ignores unknown names in a list, so pass it one name at a time. */
static cmx_err check_ciphers(ssh_session session, const char *names, struct cmx_why *why)
{
    char one[CIPHER_NAME_MAX];

    for (;;) {
        size_t len = strcspn(names, ",");

        snprintf(one, sizeof one, "%.*s", (int)len, names);
        if (len == 0 || len >= sizeof one || ssh_options_set(session, SSH_OPTIONS_CIPHERS_C_S, one) != SSH_OK)
            return cmx_why_fail(why, CMX_EINVAL, "ciphers: libssh does not support '%s'", one);
        if (!names[len])
            return CMX_OK;
        names += len + 1;
    }
}

cmx_err cmx_ssh_options_check(const struct cmx_gateway *g, struct cmx_why *why)
{
    ssh_session session = ssh_new();
    cmx_err err = CMX_OK;

    if (!session)
        return CMX_ENOMEM;
    if (g->ciphers)
        err = check_ciphers(session, g->ciphers, why);
    if (!err && g->require_pq && ssh_options_set(session, SSH_OPTIONS_KEY_EXCHANGE, kex_pq) != SSH_OK)
        err = cmx_why_fail(why, CMX_EINVAL,
                           "require_pq: this libssh has no post-quantum key exchange; use 0.12 or later");
    if (!err && cmx_ssh_options_set(session, g, CMX_HOSTKEY_ANY))
        err = cmx_why_fail(why, CMX_EINVAL, "libssh refuses the settings: %s", ssh_get_error(session));
    ssh_free(session);
    return err ? err : check_keys(g, why);
}
