/* ssh_id.h - learns the SSH session identifier (RFC 4253 section 7.2), for channel binding. libssh does not give it,
 * but an authentication agent is asked to sign a text that begins with it (RFC 4252 section 7). So, before a key is
 * used, an agent of our own offers its public half; asked to sign, it notes the identifier and refuses, and the login
 * goes on with the key itself. It costs one more round trip and nothing in the server's count of attempts: a key that
 * is only asked about is none.
 *
 * Internal to ssh.c. Both of the agent's answers are written before libssh asks, so no task serves it, and then that
 * direction is shut down, so libssh cannot wait for more. */
#ifndef CMX_PROXY_SSH_ID_H
#define CMX_PROXY_SSH_ID_H

#include <libssh/libssh.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/proxy/proxy.h"

/* Zero but for pair at first. */
struct cmx_ssh_id {
    cmx_err (*pair)(void *arg, int fd[2]);
    void *pair_arg;
    bool asking; /* both ends are open */
    bool asked;  /* once is enough, whatever came of it */
    int fd;      /* the agent's end */
    int lent;    /* libssh's end */
    size_t len;  /* of id; 0: not known */
    uint8_t id[CMX_PROXY_SESSION_ID_MAX];
};

/* True: call again once the session has input; false: done, and id is filled if it could be learned. */
bool cmx_ssh_id_ask(struct cmx_ssh_id *s, ssh_session session, ssh_key key);
/* Takes libssh's end back, and closes both. */
void cmx_ssh_id_close(struct cmx_ssh_id *s, ssh_session session);

/* Pure: the identifier in what an agent was sent: SSH_AGENTC_REQUEST_IDENTITIES, then SSH_AGENTC_SIGN_REQUEST. Returns
 * its length, 0 if there is none. */
size_t cmx_ssh_id_parse(const uint8_t *data, size_t len, uint8_t out[CMX_PROXY_SESSION_ID_MAX]);

#endif
