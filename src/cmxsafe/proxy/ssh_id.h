/* ssh_id.h - learns the SSH session identifier (RFC 4253 section 7.2), to which attestation evidence is bound. libssh
 * does not export the identifier, but it asks an authentication agent to sign a text that begins with it (RFC 4252
 * section 7).
 * Before the first key is offered, this code therefore acts as an agent that has this key. It reads the identifier from
 * the signature request and answers with a failure; the login then continues with the key itself. This costs one round
 * trip. The server does not count this as a failed attempt, because it is only asked whether it would accept the key.
 *
 * Both answers of the agent are written before libssh asks, so no task has to serve the agent's socket. The sending
 * direction of the agent's socket is then shut down, so that libssh never waits for a third answer.
 *
 * Internal to ssh.c. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/proxy/context.h"

/* libssh's types. */
struct ssh_session_struct;
struct ssh_key_struct;

/* Zero it first, then set pair and pair_arg. */
struct cmx_ssh_id {
    cmx_err (*pair)(void *arg, int fd[2]);
    void *pair_arg;
    bool asking; /* the exchange is under way: `fd` is open */
    bool asked;  /* the exchange is done; it takes place at most once per session */
    int fd;      /* the agent's socket */
    int lent;    /* the socket passed to libssh; -1: removed from libssh */
    size_t len;  /* length of id; 0: not known */
    uint8_t id[CMX_PROXY_SESSION_ID_MAX];
};

/* Continues the exchange. Returns true if it must be called again once the session has input, and false when the
 * exchange is done. Afterwards s->len is 0 if the identifier could not be learned. */
bool cmx_ssh_id_learn(struct cmx_ssh_id *s, struct ssh_session_struct *session, const char *user,
                      struct ssh_key_struct *key);

/* Closes both sockets; libssh no longer uses the socket that was passed to it. */
void cmx_ssh_id_close(struct cmx_ssh_id *s, struct ssh_session_struct *session);

/* Pure. Finds the identifier in the requests sent to an agent: SSH_AGENTC_REQUEST_IDENTITIES, then
 * SSH_AGENTC_SIGN_REQUEST. Returns its length, 0 if there is none. */
size_t cmx_ssh_id_parse(const uint8_t *data, size_t len, uint8_t out[CMX_PROXY_SESSION_ID_MAX]);
