/* ssh_auth.h - offers the gateway's credentials in order: keys, then the password, where one is configured.
 *
 * The password goes by the method "password" (RFC 4252 section 8), or by "keyboard-interactive" (RFC 4256), which is
 * what a server that asks PAM has by default, if the server says that it takes no other. It answers one question, of
 * one line that is not to be shown, once a login; any other question ends the login, since nobody is there to answer it
 * and a password must not be told to it.
 *
 * Internal to ssh.c. */
#ifndef CMX_PROXY_SSH_AUTH_H
#define CMX_PROXY_SSH_AUTH_H

#include <libssh/libssh.h>
#include <stdbool.h>

#include "cmxsafe/proxy/proxy.h"
#include "cmxsafe/proxy/ssh_id.h"

typedef enum {
    CMX_CRED_FILE,
    CMX_CRED_PEM,
    CMX_CRED_LOAD,
    CMX_CRED_PASSWORD,
    CMX_CRED_INTERACTIVE,
    CMX_CRED_END
} cmx_credential;

/* Zero at first. */
struct cmx_ssh_auth {
    cmx_credential now, next;
    bool trying; /* `now` is on its way */
    bool offered_any;
    ssh_key key;
    bool answered;       /* the password was asked for and told */
    unsigned rounds;     /* of questions */
    const char *trouble; /* what the gateway asks for that ends the login, or NULL; static */
};

/* One step. CMX_EAGAIN: call again once the session has input. CMX_EAUTH: all were refused, or the gateway asks what
 * nobody can answer; CMX_ENOKEY: there is none that can be read; CMX_ECLOSED. */
CMX_MUST_USE cmx_err cmx_ssh_auth_step(struct cmx_ssh_auth *a, ssh_session session, const struct cmx_gateway *gateway,
                                       struct cmx_ssh_id *id);
void cmx_ssh_auth_free(struct cmx_ssh_auth *a);

#endif
