/* ssh.h - the only door to libssh: a non-blocking SSH client session, its global requests and its channels. Decides
 * nothing.
 *
 * One session belongs to one task. Handlers are called from inside cmx_ssh_* calls and must call none of them: they
 * only note what happened. Written for what Debian's libssh 0.10.6 and LibSSH-ESP32's 0.11.1 both do. */
#ifndef CMX_PROXY_SSH_H
#define CMX_PROXY_SSH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"
#include "cmxsafe/proxy/proxy.h"

struct cmx_ssh;
struct cmx_ssh_channel;
struct cmx_ssh_open;

/* ---- a session ---- */

/* Over the connected, non-blocking socket fd, which the session owns from now on, also on failure. types: host key
 * types to offer, a mask of cmx_hostkey_type. gateway is borrowed while the session lives. */
CMX_MUST_USE cmx_err cmx_ssh_new(struct cmx_ssh **out, const struct cmx_gateway *gateway, unsigned types, int fd);

/* How two connected local stream sockets are made; without it no session identifier is learned. */
typedef cmx_err (*cmx_pair_fn)(void *arg, int fd[2]);
void cmx_ssh_set_pair(struct cmx_ssh *s, cmx_pair_fn pair, void *arg);

/* Sends a disconnect if the connection stands, closes the socket. All channels must have been freed. NULL is fine. */
void cmx_ssh_free(struct cmx_ssh *s);

int cmx_ssh_fd(const struct cmx_ssh *s);

/* Version exchange and key exchange. CMX_EAGAIN: call again when the socket is readable or writable. CMX_EPROTO,
 * CMX_ECLOSED. */
CMX_MUST_USE cmx_err cmx_ssh_handshake(struct cmx_ssh *s);

/* After CMX_EPROTO: the gateway has no host key of the types that were offered. */
bool cmx_ssh_no_host_key(const struct cmx_ssh *s);

/* After the handshake: SHA-256 of the gateway's public key blob, and its type's name (static). */
CMX_MUST_USE cmx_err cmx_ssh_host_key(struct cmx_ssh *s, uint8_t digest[32], const char **type);

/* Offers the gateway's credentials in order. CMX_EAGAIN as above; CMX_EAUTH: all refused; CMX_ENOKEY: a key cannot be
 * read; CMX_ECLOSED. Must not be called before the host key has been checked. */
CMX_MUST_USE cmx_err cmx_ssh_auth(struct cmx_ssh *s);

/* After CMX_EAUTH: what the gateway asked that the configuration has no answer to, or NULL. Static. */
const char *cmx_ssh_auth_trouble(const struct cmx_ssh *s);

/* After cmx_ssh_auth, where the gateway wants it: the session identifier; returns its length, 0 if it is not known. */
size_t cmx_ssh_session_id(const struct cmx_ssh *s, uint8_t out[CMX_PROXY_SESSION_ID_MAX]);

/* Reads and writes what the socket has and takes without blocking, calling handlers. CMX_ECLOSED: the session has
 * ended. CMX_EPROTO: the peer does not read the answers to its requests. */
CMX_MUST_USE cmx_err cmx_ssh_process(struct cmx_ssh *s);

/* Bytes wait for the socket to become writable. */
bool cmx_ssh_wants_write(const struct cmx_ssh *s);

/* Bytes received so far: it grows whenever the peer shows life, and nothing new can be queued while it does not. */
uint64_t cmx_ssh_received(const struct cmx_ssh *s);

/* libssh's last words, for a log. Borrowed, until the next call. */
const char *cmx_ssh_error_text(struct cmx_ssh *s);

/* ---- global requests (RFC 4254 sections 4 and 7.1): one at a time; after CMX_EAGAIN call the same one again ---- */

CMX_MUST_USE cmx_err cmx_ssh_listen(struct cmx_ssh *s, const char *address, uint16_t port); /* CMX_EFORWARD: refused */
CMX_MUST_USE cmx_err cmx_ssh_cancel(struct cmx_ssh *s, const char *address, uint16_t port);
/* keepalive@openssh.com with reply: any answer is CMX_OK. */
CMX_MUST_USE cmx_err cmx_ssh_keepalive(struct cmx_ssh *s);

/* ---- channels ---- */

struct cmx_ssh_handlers {
    /* len undelivered bytes of the channel, new ones last; returns how many were taken from the front. */
    size_t (*data)(void *arg, const uint8_t *data, size_t len);
    void (*eof)(void *arg);
    void (*closed)(void *arg); /* the peer sent its close */
};

/* A connection that the gateway asks us to take (forwarded-tcpip, RFC 4254 section 7.2). Holds the request until accept
 * or refuse. *out NULL: none is waiting. Requests for other channel types are refused in here and counted in *alien. */
CMX_MUST_USE cmx_err cmx_ssh_next_open(struct cmx_ssh *s, struct cmx_ssh_open **out, unsigned *alien);
const char *cmx_ssh_open_address(const struct cmx_ssh_open *o); /* as we asked to listen on; borrowed */
uint16_t cmx_ssh_open_port(const struct cmx_ssh_open *o);
const char *cmx_ssh_open_originator(const struct cmx_ssh_open *o); /* untrusted text */

/* Both consume o. handlers are static; arg is handed to them until the channel is freed. */
CMX_MUST_USE cmx_err cmx_ssh_accept(struct cmx_ssh_open *o, const struct cmx_ssh_handlers *handlers, void *arg,
                                    struct cmx_ssh_channel **out);
/* Says SSH_OPEN_ADMINISTRATIVELY_PROHIBITED, the one reason that libssh's public interface can send. */
void cmx_ssh_refuse(struct cmx_ssh_open *o);

/* direct-tcpip (RFC 4254 section 7.2). Then call connect until it is not CMX_EAGAIN. CMX_EREFUSED: the gateway could
 * not connect; CMX_EPERM: it does not permit it. */
CMX_MUST_USE cmx_err cmx_ssh_channel_new(struct cmx_ssh *s, const struct cmx_ssh_handlers *handlers, void *arg,
                                         struct cmx_ssh_channel **out);
CMX_MUST_USE cmx_err cmx_ssh_channel_connect(struct cmx_ssh_channel *c, const char *host, uint16_t port);

/* How many bytes the peer takes now. */
size_t cmx_ssh_channel_window(const struct cmx_ssh_channel *c);

/* Sends at most len bytes; *sent can be less, also 0 (key re-exchange under way). */
CMX_MUST_USE cmx_err cmx_ssh_channel_write(struct cmx_ssh_channel *c, const uint8_t *data, size_t len, size_t *sent);

/* Takes len bytes that the data handler left. They must be there. */
CMX_MUST_USE cmx_err cmx_ssh_channel_read(struct cmx_ssh_channel *c, uint8_t *out, size_t len);

CMX_MUST_USE cmx_err cmx_ssh_channel_send_eof(struct cmx_ssh_channel *c);
void cmx_ssh_channel_close(struct cmx_ssh_channel *c); /* sends the close */
void cmx_ssh_channel_free(struct cmx_ssh_channel *c);  /* no handler is called after this; NULL is fine */

#endif
