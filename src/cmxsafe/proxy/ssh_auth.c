#include "cmxsafe/proxy/ssh_auth.h"

#include "cmxsafe/core/log.h"
#include "cmxsafe/core/mem.h"

#define TAG CMX_LOG_PROXY
#define KEY_TEXT_MAX 4096 /* a private key that key_load writes */
#define ROUNDS_MAX 8      /* of questions; a server may send some that ask nothing */

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

/* ---- the password ---- */

/* Methods that the server said it takes, or 0 before it refused anything. */
static unsigned methods(ssh_session session)
{
    return (unsigned)ssh_userauth_list(session, NULL);
}

static bool by_password(ssh_session session)
{
    return methods(session) == 0 || methods(session) & SSH_AUTH_METHOD_PASSWORD;
}

/* Where the other method is offered too it was tried, and to tell the same again would only count as one more attempt.
 */
static bool by_questions(ssh_session session)
{
    return methods(session) & SSH_AUTH_METHOD_INTERACTIVE && !(methods(session) & SSH_AUTH_METHOD_PASSWORD);
}

static bool give_up(struct cmx_ssh_auth *a, const char *trouble)
{
    a->trouble = trouble;
    return false;
}

/* Answers what can be answered. */
static bool answer(struct cmx_ssh_auth *a, ssh_session session, const char *password)
{
    int n = ssh_userauth_kbdint_getnprompts(session);
    char shown = 1;

    if (++a->rounds > ROUNDS_MAX)
        return give_up(a, "without end");
    if (n == 0) /* RFC 4256 section 3.2: to be answered all the same */
        return true;
    if (n != 1)
        return give_up(a, "for more than a password");
    if (!ssh_userauth_kbdint_getprompt(session, 0, &shown) || shown)
        return give_up(a, "for something else than a password");
    if (a->answered)
        return give_up(a, "again after the password");
    a->answered = true;
    return ssh_userauth_kbdint_setanswer(session, 0, password) == 0;
}

CMX_SMALL static int ask_and_answer(struct cmx_ssh_auth *a, ssh_session session, const char *password)
{
    int rc = ssh_userauth_kbdint(session, NULL, NULL);

    while (rc == SSH_AUTH_INFO) {
        if (!answer(a, session, password))
            return SSH_AUTH_ERROR;
        rc = ssh_userauth_kbdint(session, NULL, NULL);
    }
    return rc;
}

/* ---- in order ---- */

/* Makes credential c ready. CMX_ENOENT: not configured, or the server does not take it. */
static cmx_err load(struct cmx_ssh_auth *a, ssh_session session, const struct cmx_gateway *g, cmx_credential c)
{
    switch (c) {
    case CMX_CRED_FILE:
        if (!g->key_file)
            return CMX_ENOENT;
        if (ssh_pki_import_privkey_file(g->key_file, g->key_passphrase, NULL, NULL, &a->key) == SSH_OK)
            return CMX_OK;
        cmx_module_log(CMX_LOG_ERROR | TAG, "key file %s: no readable private key", g->key_file);
        return CMX_ENOKEY;
    case CMX_CRED_PEM:
        return g->key_pem ? load_key(a, g, g->key_pem) : CMX_ENOENT;
    case CMX_CRED_LOAD:
        return g->key_load ? load_key_by_function(a, g) : CMX_ENOENT;
    case CMX_CRED_PASSWORD:
        return g->password && by_password(session) ? CMX_OK : CMX_ENOENT;
    case CMX_CRED_INTERACTIVE:
        return g->password && by_questions(session) ? CMX_OK : CMX_ENOENT;
    case CMX_CRED_END:
        break;
    }
    return CMX_ENOENT;
}

static int offer(struct cmx_ssh_auth *a, ssh_session session, const struct cmx_gateway *g, struct cmx_ssh_id *id)
{
    if (a->now == CMX_CRED_PASSWORD)
        return ssh_userauth_password(session, NULL, g->password);
    if (a->now == CMX_CRED_INTERACTIVE)
        return ask_and_answer(a, session, g->password);
    if (g->want_session_id && cmx_ssh_id_ask(id, session, a->key))
        return SSH_AUTH_AGAIN;
    return ssh_userauth_publickey(session, NULL, a->key);
}

static bool begin_next(struct cmx_ssh_auth *a, ssh_session session, const struct cmx_gateway *g)
{
    a->now = a->next++;
    a->trying = load(a, session, g, a->now) == CMX_OK;
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
        rc = offer(a, session, gateway, id);
        if (rc == SSH_AUTH_AGAIN)
            return CMX_EAGAIN;
        a->trying = false;
        cmx_ssh_auth_free(a);
        if (rc == SSH_AUTH_PARTIAL && a->now == CMX_CRED_PASSWORD)
            a->answered = true; /* what is asked next is a second factor */
        if (rc == SSH_AUTH_SUCCESS)
            return CMX_OK;
        if (rc == SSH_AUTH_ERROR)
            return ssh_is_connected(session) ? CMX_EAUTH : CMX_ECLOSED;
    }
    return a->offered_any ? CMX_EAUTH : CMX_ENOKEY;
}

void cmx_ssh_auth_free(struct cmx_ssh_auth *a)
{
    ssh_key_free(a->key);
    a->key = NULL;
}
