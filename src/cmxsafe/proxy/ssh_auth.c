#include "cmxsafe/proxy/ssh_auth.h"

#include <libssh/libssh.h>
#include <sys/stat.h>

#include "cmxsafe/core/log.h"
#include "cmxsafe/core/mem.h"

#define TAG "proxy"
#define KEY_TEXT_MAX 4096 /* maximum size of a private key from key_load in bytes, NUL included */
#define ROUNDS_MAX 8      /* maximum number of keyboard-interactive rounds; a server could send empty ones endlessly */

/* ---- keys ---- */

static cmx_err load_key(struct cmx_ssh_auth *a, const struct cmx_gateway *g, const char *pem)
{
    return ssh_pki_import_privkey_base64(pem, g->key_passphrase, NULL, NULL, &a->key) == SSH_OK ? CMX_OK : CMX_ENOKEY;
}

static cmx_err load_key_by_function(struct cmx_ssh_auth *a, const struct cmx_gateway *g)
{
    char *text = cmx_mem_alloc(KEY_TEXT_MAX);
    const char *pem;
    struct cmx_buf b;
    cmx_err err;

    if (!text)
        return CMX_ENOMEM;
    cmx_buf_init(&b, text, KEY_TEXT_MAX);
    err = g->key_load(g->key_load_arg, &b);
    if (!err)
        err = cmx_buf_cstr(&b, &pem);
    if (!err)
        err = load_key(a, g, pem);
    cmx_mem_free_secret(text);
    return err;
}

static void drop_key(struct cmx_ssh_auth *a)
{
    ssh_key_free(a->key);
    a->key = NULL;
}

/* ---- the password ---- */

/* Returns the methods that the server accepts; 0 until the server has refused a credential. */
static unsigned accepted_methods(ssh_session session)
{
    return (unsigned)ssh_userauth_list(session, NULL);
}

static bool accepts_password(ssh_session session)
{
    const unsigned methods = accepted_methods(session);

    return methods == 0 || methods & SSH_AUTH_METHOD_PASSWORD;
}

/* A server that accepts both "password" and "keyboard-interactive" has already refused the password with the method
 * "password". Sending it again would only count as one more failed attempt. */
static bool accepts_only_interactive(ssh_session session)
{
    return (accepted_methods(session) & (SSH_AUTH_METHOD_PASSWORD | SSH_AUTH_METHOD_INTERACTIVE)) ==
           SSH_AUTH_METHOD_INTERACTIVE;
}

static bool end_login(struct cmx_ssh_auth *a, const char *trouble)
{
    a->trouble = trouble;
    return false;
}

/* Answers one round of prompts. Returns false if the login must end. */
static bool answer_prompts(struct cmx_ssh_auth *a, ssh_session session, const char *password)
{
    int n = ssh_userauth_kbdint_getnprompts(session);
    char shown = 1;

    if (++a->rounds > ROUNDS_MAX)
        return end_login(a, "endlessly");
    if (n == 0) /* RFC 4256 section 3.2: a round without prompts needs an answer too */
        return true;
    if (n != 1)
        return end_login(a, "for more than a password");
    if (!ssh_userauth_kbdint_getprompt(session, 0, &shown) || shown)
        return end_login(a, "for something other than a password");
    if (a->answered)
        return end_login(a, "again after the password");
    a->answered = true;
    return ssh_userauth_kbdint_setanswer(session, 0, password) == 0;
}

static int offer_interactive(struct cmx_ssh_auth *a, ssh_session session, const struct cmx_gateway *g)
{
    int rc = ssh_userauth_kbdint(session, g->user, NULL);

    while (rc == SSH_AUTH_INFO) {
        if (!answer_prompts(a, session, g->password))
            return SSH_AUTH_ERROR;
        rc = ssh_userauth_kbdint(session, g->user, NULL);
    }
    return rc;
}

/* ---- all credentials, in order ---- */

/* False for a FIFO, too: libssh would wait for its writer, and the session with it. */
static bool is_regular(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

/* Loads credential c. CMX_ENOENT: it is not configured, or the server does not accept its method; CMX_ENOKEY: the key
 * cannot be read. */
static cmx_err load_credential(struct cmx_ssh_auth *a, ssh_session session, const struct cmx_gateway *g,
                               cmx_credential c)
{
    switch (c) {
    case CMX_CRED_FILE:
        if (!g->key_file)
            return CMX_ENOENT;
        if (is_regular(g->key_file) &&
            ssh_pki_import_privkey_file(g->key_file, g->key_passphrase, NULL, NULL, &a->key) == SSH_OK)
            return CMX_OK;
        cmx_log(CMX_LOG_ERROR, TAG, "key file %s: not a readable private key", g->key_file);
        return CMX_ENOKEY;
    case CMX_CRED_PEM:
        return g->key_pem ? load_key(a, g, g->key_pem) : CMX_ENOENT;
    case CMX_CRED_LOAD:
        return g->key_load ? load_key_by_function(a, g) : CMX_ENOENT;
    case CMX_CRED_PASSWORD:
        return g->password && accepts_password(session) ? CMX_OK : CMX_ENOENT;
    case CMX_CRED_INTERACTIVE:
        return g->password && accepts_only_interactive(session) ? CMX_OK : CMX_ENOENT;
    case CMX_CRED_END:
        break;
    }
    return CMX_ENOENT;
}

static int offer_credential(struct cmx_ssh_auth *a, ssh_session session, const struct cmx_gateway *g,
                            struct cmx_ssh_id *id)
{
    if (a->now == CMX_CRED_PASSWORD)
        return ssh_userauth_password(session, g->user, g->password);
    if (a->now == CMX_CRED_INTERACTIVE)
        return offer_interactive(a, session, g);
    if (g->want_session_id && cmx_ssh_id_learn(id, session, g->user, a->key))
        return SSH_AUTH_AGAIN;
    return ssh_userauth_publickey(session, g->user, a->key);
}

static bool begin_next(struct cmx_ssh_auth *a, ssh_session session, const struct cmx_gateway *g)
{
    a->now = a->next++;
    a->trying = load_credential(a, session, g, a->now) == CMX_OK;
    return a->trying;
}

cmx_err cmx_ssh_auth_step(struct cmx_ssh_auth *a, ssh_session session, const struct cmx_gateway *gateway,
                          struct cmx_ssh_id *id)
{
    while (a->trying || a->next < CMX_CRED_END) {
        int rc;

        if (!a->trying && !begin_next(a, session, gateway))
            continue;
        a->offered_any = true;
        rc = offer_credential(a, session, gateway, id);
        if (rc == SSH_AUTH_AGAIN)
            return CMX_EAGAIN;
        a->trying = false;
        if (rc == SSH_AUTH_SUCCESS && a->key && gateway->fleet_address)
            (void)ssh_pki_export_pubkey_base64(a->key, &a->public_half); /* NULL if memory is short */
        drop_key(a);
        if (rc == SSH_AUTH_PARTIAL && a->now == CMX_CRED_PASSWORD)
            a->answered = true; /* the password is accepted: a later prompt asks for something else */
        if (rc == SSH_AUTH_SUCCESS)
            return CMX_OK;
        if (rc == SSH_AUTH_ERROR)
            return ssh_is_connected(session) ? CMX_EAUTH : CMX_ECLOSED;
    }
    return a->offered_any ? CMX_EAUTH : CMX_ENOKEY;
}

void cmx_ssh_auth_free(struct cmx_ssh_auth *a)
{
    drop_key(a);
    ssh_string_free_char(a->public_half);
    a->public_half = NULL;
}
