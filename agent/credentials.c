#include "credentials.h"

#include <libssh/libssh.h>
#include <stdio.h>
#include <string.h>

#include "cmxsafe/core/secret.h"

#define CIPHER_NAME_MAX 64
#define STACK_BURNT 16384 /* libssh and OpenSSL come some 10 KB deep when they read a key */

__attribute__((noinline)) void credentials_forget(void)
{
    char below[STACK_BURNT];

    cmx_secret_wipe(below, sizeof below);
}

static cmx_err check_key(const struct agent_config *c, char *why, size_t cap)
{
    const char *file = c->gateway.key_file;
    ssh_key key = NULL;
    int rc;

    if (!file)
        return CMX_OK;
    rc = ssh_pki_import_privkey_file(file, c->key_passphrase, NULL, NULL, &key);
    ssh_key_free(key);
    credentials_forget();
    if (rc == SSH_OK)
        return CMX_OK;
    snprintf(why, cap, "key_file %s: %s", file,
             c->key_passphrase ? "key_passphrase_file does not open it, or it is no private key"
                               : "it is no private key, or has a passphrase: give key_passphrase_file");
    return CMX_EINVAL;
}

/* Of a list the library takes what it knows and is silent about the rest: names are looked up one by one. */
static cmx_err check_ciphers(const struct agent_config *c, char *why, size_t cap)
{
    const char *name = c->gateway.ciphers;
    ssh_session session = name ? ssh_new() : NULL;
    char one[CIPHER_NAME_MAX];
    cmx_err err = name && !session ? CMX_ENOMEM : CMX_OK;

    while (name && !err) {
        size_t len = strcspn(name, ",");

        snprintf(one, sizeof one, "%.*s", (int)len, name);
        if (len == 0 || len >= sizeof one || ssh_options_set(session, SSH_OPTIONS_CIPHERS_C_S, one) != SSH_OK) {
            snprintf(why, cap, "ciphers: '%s' is not known to libssh", one);
            err = CMX_EINVAL;
        }
        name = name[len] ? name + len + 1 : NULL;
    }
    ssh_free(session);
    return err;
}

cmx_err credentials_check(const struct agent_config *c, char *why, size_t cap)
{
    cmx_err err = check_key(c, why, cap);

    return err ? err : check_ciphers(c, why, cap);
}

cmx_err credentials_reload(struct agent *a, const struct agent_config *next, char *why, size_t cap)
{
    (void)a;
    return credentials_check(next, why, cap);
}
