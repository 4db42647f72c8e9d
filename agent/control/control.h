/* control.h - the agent's control socket. A client connects to a UNIX socket and sends one line of words. The agent
 * sends the answer and closes the connection: `printf 'status json\n' | nc -U /run/cmxsafe/cmxsafed.sock`.
 *
 * The socket's mode is 0660: the agent's user, its group and root may connect. Commands only read the agent's state.
 * The number of clients, the length of a line and the time per client are bounded. */
#pragma once

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/buf.h"
#include "cmxsafe/core/err.h"

#define CONTROL_CLIENTS_MAX 8
#define CONTROL_LINE_MAX 256 /* maximum length of a request in bytes, newline included */
#define CONTROL_WORDS_MAX 8
#define CONTROL_CLIENT_MS 5000 /* time limit, from connect until the client has read the answer */

struct control_request {
    size_t n;
    const char *word[CONTROL_WORDS_MAX]; /* word[0]: the command */
    char text[CONTROL_LINE_MAX];
};

struct control_command {
    const char *name;
    /* Writes the answer, which ends in a newline. After an error the client gets {"error":...}. arg: the argument of
     * control_open.
     */
    cmx_err (*run)(void *arg, const struct control_request *r, struct cmx_buf *out);
};

struct control;

/* Listens at path. Replaces a socket on which no process listens. If the socket cannot be created for a reason other
 * than CMX_EBUSY, logs this and succeeds; control_serve then tries again. CMX_EBUSY: another process listens there;
 * CMX_ENOSPC: path is too long; CMX_ENOMEM. commands and arg are borrowed until control_close. answer_max: maximum
 * length of an answer, in bytes. */
CMX_MUST_USE cmx_err control_open(struct control **out, const char *path, const struct control_command *commands,
                                  size_t n, void *arg, size_t answer_max);

/* Returns a descriptor that becomes readable when the socket may have been removed; control_serve must then be called.
 * -1: there is no such descriptor. */
int control_watch(const struct control *c);

/* Fills fds for poll. Returns the number of entries, at most CONTROL_CLIENTS_MAX + 1. */
size_t control_polls(const struct control *c, struct pollfd *fds);

/* True if control_serve needs to be called only when a descriptor is ready. False: it must be called every second. */
bool control_rests(const struct control *c);

/* Call this after poll: accepts and answers clients, drops clients that exceed CONTROL_CLIENT_MS, and creates the
 * socket if it is missing. Never blocks. */
void control_serve(struct control *c, const struct pollfd *fds, size_t n, uint64_t now_ms);

/* Removes the socket and frees c, which may be NULL. */
void control_close(struct control *c);

/* ---- the protocol, without I/O ---- */

/* Parses a line without its newline. CMX_EFORMAT: bytes that are not printable ASCII, or no word; CMX_ENOSPC: the line
 * is too long or has too many words. */
CMX_MUST_USE cmx_err control_parse(const uint8_t *line, size_t len, struct control_request *r);

/* Runs the command in a line. Writes its answer, or {"error":"..."} and a newline, to out. */
void control_answer(const struct control_command *commands, size_t n, void *arg, const uint8_t *line, size_t len,
                    struct cmx_buf *out);
