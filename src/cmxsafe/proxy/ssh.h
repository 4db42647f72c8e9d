/* ssh.h - a non-blocking SSH client session with its global requests and channels, implemented with libssh. Only ssh.c,
 * ssh_auth.c, ssh_id.c and ssh_options.c include libssh. Contains no policy.
 *
 * One session belongs to one task. Handlers are called from inside cmx_ssh_* functions and must not call these; they
 * pass bytes on and record events. Works with Debian's libssh 0.10.6 and LibSSH-ESP32's 0.11.1. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"
#include "cmxsafe/core/hash_len.h"
#include "cmxsafe/proxy/context.h"

struct cmx_ssh;
struct cmx_ssh_channel;
typedef struct ssh_message_struct cmx_ssh_open; /* libssh's type */

/* ---- a session ---- */

/* Creates a session over the connected, non-blocking socket fd. Takes ownership of fd, even if it fails. types: host
 * key types to offer, a bit mask of cmx_hostkey_type. gateway must outlive the session. CMX_ENOMEM: no memory;
 * CMX_EINVAL: libssh refuses a setting. */
CMX_MUST_USE cmx_err cmx_ssh_new(struct cmx_ssh **out, const struct cmx_gateway *gateway, unsigned types, int fd);

/* Sets the function that creates a pair of connected local stream sockets. cmx_ssh_authenticate uses the pair to learn
 * the session identifier. */
typedef cmx_err (*cmx_pair_fn)(void *arg, int fd[2]);
void cmx_ssh_set_pair(struct cmx_ssh *s, cmx_pair_fn pair, void *arg);

/* Sends a disconnect if the connection is up, and closes the socket. All channels must have been freed. NULL is fine.
 */
void cmx_ssh_free(struct cmx_ssh *s);

int cmx_ssh_fd(const struct cmx_ssh *s);

/* Continues the version exchange and the key exchange. CMX_EAGAIN: call again when the socket is readable or writable;
 * CMX_EPROTO: the two sides cannot agree; CMX_ECLOSED: the gateway closed the connection; CMX_EIO, CMX_ENOMEM: a local
 * error. */
CMX_MUST_USE cmx_err cmx_ssh_handshake(struct cmx_ssh *s);

/* Call after cmx_ssh_handshake has returned CMX_EPROTO. True if the gateway has no host key of the offered types. */
bool cmx_ssh_no_host_key(const struct cmx_ssh *s);

/* Call after the handshake. digest receives the SHA-256 of the gateway's public key blob; *type the name of the key's
 * type (static). CMX_EPROTO: libssh cannot provide the key. */
CMX_MUST_USE cmx_err cmx_ssh_host_key(struct cmx_ssh *s, uint8_t digest[CMX_SHA256_LEN], const char **type);

/* Call after the handshake. Returns the name of the key exchange (static); NULL: not known. */
const char *cmx_ssh_key_exchange(const struct cmx_ssh *s);

/* Offers the credentials in the order of struct cmx_gateway. Must not be called before the host key has been checked.
 * CMX_EAGAIN: call again when the socket is readable or writable; CMX_EAUTH: the gateway refused all credentials, or
 * asked for something other than the password; CMX_ENOKEY: no credential could be loaded; CMX_ECLOSED: the session has
 * ended. */
CMX_MUST_USE cmx_err cmx_ssh_authenticate(struct cmx_ssh *s);

/* Call after CMX_EAUTH. If a prompt of the gateway ended the login, returns the second part of the message "the gateway
 * asks ...", such as "for more than a password" (static); otherwise NULL. */
const char *cmx_ssh_auth_trouble(const struct cmx_ssh *s);

/* Call after cmx_ssh_authenticate. Copies the session identifier and returns its length; 0: not known, for example
 * because gateway->want_session_id is false. */
size_t cmx_ssh_session_id(const struct cmx_ssh *s, uint8_t out[CMX_PROXY_SESSION_ID_MAX]);

/* Call after cmx_ssh_authenticate. Copies the public key that logged in, encoded as in RFC 4253 section 6.6.
 * CMX_ENOKEY: the session has stored no key, because the login used none, memory was short or gateway->fleet_address is
 * NULL; other errors: the blob does not fit in cap bytes. */
CMX_MUST_USE cmx_err cmx_ssh_login_key(const struct cmx_ssh *s, uint8_t *out, size_t cap, size_t *len);

/* Reads and writes what the socket permits without blocking, and calls handlers. CMX_ECLOSED: the session has ended.
 * CMX_EPROTO: the peer does not read the answers to its requests, or sends far more than its window permits. */
CMX_MUST_USE cmx_err cmx_ssh_process(struct cmx_ssh *s);

/* True if the session has ended. Check this after calls to libssh: any call may read the end of the connection. libssh
 * then closes the socket, so that poll reports no event. */
bool cmx_ssh_ended(const struct cmx_ssh *s);

/* True if bytes wait for the socket to become writable. */
bool cmx_ssh_wants_write(const struct cmx_ssh *s);

/* Returns the number of bytes received so far. As long as it does not grow, libssh has no new data for the caller. */
uint64_t cmx_ssh_received(const struct cmx_ssh *s);

/* Returns libssh's last error message, valid until the next call. */
const char *cmx_ssh_error_text(struct cmx_ssh *s);

/* ---- global requests (RFC 4254 sections 4 and 7.1): one at a time; after CMX_EAGAIN repeat the same call ---- */

CMX_MUST_USE cmx_err cmx_ssh_listen(struct cmx_ssh *s, const char *address, uint16_t port); /* CMX_EFORWARD: refused */
CMX_MUST_USE cmx_err cmx_ssh_cancel(struct cmx_ssh *s, const char *address, uint16_t port);
/* Sends keepalive@openssh.com and asks for a reply. CMX_OK: the gateway answered, whatever the answer. */
CMX_MUST_USE cmx_err cmx_ssh_keepalive(struct cmx_ssh *s);

/* ---- channels ---- */

/* `data` receives all len undelivered bytes of the channel, in order, and returns how many of them it has consumed. */
struct cmx_ssh_handlers {
    size_t (*data)(void *arg, const uint8_t *data, size_t len);
    void (*eof)(void *arg);
    void (*closed)(void *arg); /* the peer sent CLOSE */
};

/* Returns in *out the next forwarded connection that the gateway opens (forwarded-tcpip, RFC 4254 section 7.2), or NULL
 * if there is none. The caller must accept or refuse it. Refuses channels of other types and adds their number to
 * *alien. CMX_EPROTO: as in cmx_ssh_process. */
CMX_MUST_USE cmx_err cmx_ssh_next_open(struct cmx_ssh *s, cmx_ssh_open **out, unsigned *alien);
const char *cmx_ssh_open_address(cmx_ssh_open *o); /* the listener's address; valid until o is consumed */
uint16_t cmx_ssh_open_port(cmx_ssh_open *o);
const char *cmx_ssh_open_originator(cmx_ssh_open *o); /* untrusted text */
uint32_t cmx_ssh_open_originator_port(cmx_ssh_open *o);

/* cmx_ssh_accept and cmx_ssh_refuse consume o, even after an error. handlers must be static; they are called with arg
 * until the channel is freed. */
CMX_MUST_USE cmx_err cmx_ssh_accept(struct cmx_ssh *s, cmx_ssh_open *o, const struct cmx_ssh_handlers *handlers,
                                    void *arg, struct cmx_ssh_channel **out);
/* Sends SSH_OPEN_ADMINISTRATIVELY_PROHIBITED, the only reason that libssh's public interface offers. */
void cmx_ssh_refuse(cmx_ssh_open *o);

/* To open a direct-tcpip channel (RFC 4254 section 7.2), create it, then repeat cmx_ssh_channel_connect while that
 * function returns CMX_EAGAIN. CMX_EREFUSED: the gateway could not connect to the target; CMX_EPERM: the gateway does
 * not permit this target; CMX_ECLOSED: the session has ended. */
CMX_MUST_USE cmx_err cmx_ssh_channel_new(struct cmx_ssh *s, const struct cmx_ssh_handlers *handlers, void *arg,
                                         struct cmx_ssh_channel **out);
CMX_MUST_USE cmx_err cmx_ssh_channel_connect(struct cmx_ssh_channel *c, const char *host, uint16_t port);

/* Returns how many bytes the peer's window permits. */
size_t cmx_ssh_channel_window(const struct cmx_ssh_channel *c);

/* Sends at most len bytes; *sent may be less, even 0 during a key re-exchange. Must not be called once the peer has
 * closed the channel, because libssh then reports the same error as for the end of the session. */
CMX_MUST_USE cmx_err cmx_ssh_channel_write(struct cmx_ssh_channel *c, const uint8_t *data, size_t len, size_t *sent);

/* Reads len bytes of those that the data handler did not consume. CMX_EPROTO: fewer bytes are left. */
CMX_MUST_USE cmx_err cmx_ssh_channel_read(struct cmx_ssh_channel *c, uint8_t *out, size_t len);

CMX_MUST_USE cmx_err cmx_ssh_channel_send_eof(struct cmx_ssh_channel *c);
/* Sends CLOSE. Bytes that arrive later stay in libssh, so that no WINDOW_ADJUST follows the CLOSE. */
void cmx_ssh_channel_close(struct cmx_ssh_channel *c);
void cmx_ssh_channel_free(struct cmx_ssh_channel *c); /* no handler is called after this; NULL is fine */
