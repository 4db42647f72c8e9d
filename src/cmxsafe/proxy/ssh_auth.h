/* ssh_auth.h - authenticates to the gateway: offers the configured keys in order, then the password.
 *
 * The password is sent with the method "password" (RFC 4252 section 8). Some servers, often those that use PAM, accept
 * only "keyboard-interactive" (RFC 4256). For them this code sends the password in answer to a single prompt without
 * echo, once per login. Any other prompt ends the login, because no person can answer it and the password must not be
 * sent in reply to an unknown question.
 *
 * Internal to ssh.c. */
#pragma once

#include <stdbool.h>

#include "cmxsafe/proxy/context.h"
#include "cmxsafe/proxy/ssh_id.h"

typedef enum {
    CMX_CRED_FILE,
    CMX_CRED_PEM,
    CMX_CRED_LOAD,
    CMX_CRED_PASSWORD,
    CMX_CRED_INTERACTIVE,
    CMX_CRED_END
} cmx_credential;

/* Initialise it with zeros. */
struct cmx_ssh_auth {
    cmx_credential now, next;
    bool trying;      /* an attempt with `now` is under way */
    bool offered_any; /* at least one credential could be loaded */
    struct ssh_key_struct *key;
    bool answered;       /* the password has answered a prompt or has been accepted */
    unsigned rounds;     /* rounds of keyboard-interactive prompts so far */
    const char *trouble; /* see cmx_ssh_auth_trouble */
    char *public_half;   /* base64 of the public key that logged in, allocated by libssh; NULL: see cmx_ssh_login_key */
};

/* Continues the login. CMX_EAGAIN: call again once the session has input; CMX_EAUTH: the gateway refused all
 * credentials, or prompted for something other than the password; CMX_ENOKEY: no credential could be loaded;
 * CMX_ECLOSED: the connection is closed. */
CMX_MUST_USE cmx_err cmx_ssh_auth_step(struct cmx_ssh_auth *a, struct ssh_session_struct *session,
                                       const struct cmx_gateway *gateway, struct cmx_ssh_id *id);

/* Frees the memory of the login. */
void cmx_ssh_auth_free(struct cmx_ssh_auth *a);
