/* proxy.h - the Client Socket Proxy: keeps SSH sessions to a gateway up and carries TCP connections through them,
 * reverse (a listener at the gateway leads to a service of the device) and direct (a listener on the device's loopback
 * leads to a service behind the gateway). One task a session, event driven. It reads no file and knows no configuration
 * format: strings come in, and are copied; status goes out as values.
 *
 * The seed's type for a context is TaskParameters (fw_ports.h); RFC 4254 section 7 is the protocol. */
#ifndef CMX_PROXY_PROXY_H
#define CMX_PROXY_PROXY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/buf.h"
#include "cmxsafe/core/err.h"

struct sockaddr;

#ifdef __cplusplus
extern "C" {
#endif

/* ---- bounds and defaults: all of this module's, here ---- */

#define CMX_PROXY_CONTEXTS_MAX 32
#define CMX_PROXY_HOST_KEYS_MAX 8
#define CMX_PROXY_SESSION_ID_MAX 64     /* bytes; SHA-512's length is the longest there is */
#define CMX_PROXY_NAME_MAX 32           /* a context's or session's name, NUL included */
#define CMX_PROXY_CONNECTIONS_DEFAULT 8 /* max_connections 0 */
#define CMX_PROXY_CONNECTIONS_MAX 1024
#define CMX_PROXY_LOGIN_TIMEOUT_S 10 /* TCP connect to last forward granted, each attempt */
#define CMX_PROXY_KEEPALIVE_S 15     /* a request with reply after that much silence; */
#define CMX_PROXY_KEEPALIVE_MAX 3    /* that many unanswered: the peer is dead (45 s) */
#define CMX_PROXY_BACKOFF_BASE_MS 1000
#define CMX_PROXY_BACKOFF_MAX_MS 60000
#define CMX_PROXY_BACKOFF_SLOW_MS 300000 /* ceiling and base after a host-key or auth failure: a person must act */
#define CMX_PROXY_FORWARD_RETRY_MS 5000  /* a refused forward is asked for again that often, within a live session */

typedef enum { CMX_REVERSE = 0, CMX_DIRECT = 1 } cmx_proxy_direction;

/* How to reach and know the gateway. All strings are copied by cmx_proxy_create. */
struct cmx_gateway {
    const char *host; /* name or address; "[v6]" without brackets */
    uint16_t port;    /* 0: 22 */
    const char *user;

    /* Pins: "SHA256:<base64>" as ssh-keygen -l prints it, or a known_hosts line ("[names] type base64", hashed or plain
     * names are not looked at: the pin is the key). At least one, or cmx_proxy_create fails: there is no way to turn it
     * off. */
    const char *const *host_keys;
    size_t n_host_keys;

    /* Credentials, tried in this order; at least one. */
    const char *key_file; /* OpenSSH or PEM private key */
    const char *key_pem;  /* the same, in memory, NUL-terminated; copied, wiped at the end */
    /* Writes a private key in OpenSSH or PEM form into out at each login (derived keys); the engine wipes out after
     * use. */
    cmx_err (*key_load)(void *arg, struct cmx_buf *out);
    void *key_load_arg;
    const char *key_passphrase; /* for key_file and key_pem; NULL: none */
    const char *password;       /* NULL: never offered; else by the methods password or keyboard-interactive */

    const char *ciphers; /* OpenSSH names, comma separated; NULL: current ones, ordered by what the CPU accelerates */
    unsigned login_timeout_s; /* 0: default, as below */
    unsigned keepalive_s;
    unsigned keepalive_max;
    uint32_t backoff_base_ms;
    uint32_t backoff_max_ms;
    bool want_session_id; /* learn the SSH session identifier at login, for status: one more round trip */
    uint64_t rekey_bytes; /* 0: the library's default */
};

/* One service's declaration. Zero in any field but name, local_port and remote_port means the default. */
struct cmx_context {
    const char *name;
    cmx_proxy_direction direction;
    const char *local_host; /* reverse: where the service is; direct: where to listen; NULL: 127.0.0.1 */
    uint16_t local_port;    /* reverse: the service's port; direct: the listener's port */
    uint16_t remote_port;   /* reverse: the gateway's listening port; direct: the port of remote_host */
    const char
        *remote_address; /* reverse: address to listen on at the gateway (a CMX-GW's virtual IPv6); NULL: "localhost" */
    const char *remote_host; /* direct: host as the gateway sees it; required there */
    bool high_bw;            /* larger relay buffers: CMX_RELAY_CHUNK_HIGH instead of CMX_RELAY_CHUNK */
    unsigned max_connections;
    unsigned idle_timeout_s;    /* 0: never; a relay with no byte either way for that long is closed */
    unsigned connect_timeout_s; /* reverse: to the local service; 0: 10 */
    const char *session;        /* contexts that name the same one share an SSH session; NULL: one of its own */
    unsigned probe_interval_s;  /* 0: off; reverse: end-to-end probe of the gateway listener through the session */
    const char *tasks;          /* direct: who may connect, for isolation; the engine itself takes everyone */
};

/* ---- hooks: for isolation and events; all may be NULL; called from session tasks, must not block ---- */

typedef enum {
    CMX_SOCKET_SESSION, /* TCP to the gateway */
    CMX_SOCKET_RELAY,   /* loopback TCP to a local service (reverse) */
    CMX_SOCKET_LISTEN,  /* loopback listener (direct) */
    CMX_SOCKET_PAIR     /* loopback TCP of the engine with itself: both ends are its own (pair.c) */
} cmx_socket_kind;

typedef enum {
    CMX_RELAY_OPENED,
    CMX_RELAY_CLOSED, /* of one that was open */
    CMX_RELAY_REFUSED /* a connection that never was open */
} cmx_relay_event_kind;

/* What became of a connection. All of it is borrowed for the call. */
struct cmx_relay_event {
    cmx_relay_event_kind kind;
    const char *session;
    const char *context; /* NULL: refused, since no context has the port for which the gateway offers it */
    cmx_proxy_direction direction;
    const char *from;   /* who connected: an address; reverse: in the gateway's words, untrusted */
    uint64_t number;    /* opened, closed: counts the context's open ones from 1, and so pairs the two */
    uint64_t bytes_in;  /* closed: what the device's side took of the gateway's bytes, */
    uint64_t bytes_out; /* and the gateway of the device's */
    uint64_t lasted_ms; /* closed */
    /* Closed: CMX_OK: in order, by both sides; CMX_ECLOSED: one side broke it off; CMX_ETIMEOUT: idle_timeout_s;
     * CMX_ENOMEM; CMX_ENOENT: the configuration has the context no more, or the engine ends; else what ended the
     * session, of which the session hook tells next. Refused: CMX_EBUSY: max_connections; CMX_EREFUSED, CMX_ETIMEOUT,
     * CMX_EUNREACH, CMX_EDNS: the service (direct: the gateway's look for it, CMX_EREFUSED alone); CMX_EPERM: a hook,
     * or the gateway, does not permit it; CMX_ENOENT: no such context; CMX_ENOMEM, CMX_ECLOSED. */
    cmx_err cause;
};

/* None is called under a lock of the engine's. */
struct cmx_proxy_hooks {
    void *arg;
    /* Before connect (or listen), with local bound: an error refuses the socket. peer is NULL for a listener. */
    cmx_err (*socket_open)(void *arg, cmx_socket_kind kind, const char *context, const struct sockaddr *local,
                           const struct sockaddr *peer);
    void (*socket_close)(void *arg, cmx_socket_kind kind, const char *context, const struct sockaddr *local,
                         const struct sockaddr *peer);
    /* Around the look-up of the gateway's name. */
    void (*resolve)(void *arg, const char *host, bool begins);
    /* A session came up (all its forwards granted) or went down; err says why. */
    void (*session)(void *arg, const char *session, bool up, cmx_err err);
    /* On the session's task, with nothing allocated. A connection that ends before it was open or refused, by itself or
     * with its session, is not told of. */
    void (*relay)(void *arg, const struct cmx_relay_event *event);
};

/* ---- the engine ---- */

struct cmx_proxy;

/* Checks and copies everything; starts nothing. hooks may be NULL. why: a buffer for one sentence that names the
 * offending setting, or NULL. CMX_EINVAL, CMX_ENOMEM. */
CMX_MUST_USE cmx_err cmx_proxy_create(struct cmx_proxy **out, const struct cmx_gateway *gateway,
                                      const struct cmx_context *contexts, size_t n_contexts,
                                      const struct cmx_proxy_hooks *hooks, char *why, size_t why_cap);

/* Starts the session tasks, each with stack_bytes (0: the platform's default). */
CMX_MUST_USE cmx_err cmx_proxy_start(struct cmx_proxy *p, size_t stack_bytes);

/* Replaces the configuration of a running engine: contexts that did not change keep their sessions and relays; a
 * changed gateway restarts all. On error nothing has changed. Same checks as create. One caller at a time. */
CMX_MUST_USE cmx_err cmx_proxy_reconfigure(struct cmx_proxy *p, const struct cmx_gateway *gateway,
                                           const struct cmx_context *contexts, size_t n_contexts, char *why,
                                           size_t why_cap);

/* Ends sessions and relays and waits for the tasks; frees p. NULL is fine. */
void cmx_proxy_destroy(struct cmx_proxy *p);

typedef enum {
    CMX_STATE_IDLE, /* not started */
    CMX_STATE_RESOLVING,
    CMX_STATE_CONNECTING, /* TCP */
    CMX_STATE_HANDSHAKE,  /* key exchange, host key */
    CMX_STATE_AUTH,
    CMX_STATE_FORWARDING, /* asking for the listener */
    CMX_STATE_UP,         /* the context is reachable */
    CMX_STATE_WAITING     /* backoff */
} cmx_context_state;

const char *cmx_context_state_name(cmx_context_state s); /* "up", "waiting", ... */

struct cmx_context_status {
    cmx_proxy_direction direction;
    uint16_t local_port;
    uint16_t remote_port;
    cmx_context_state state;
    unsigned sessions; /* authenticated so far */
    unsigned relays_open;
    cmx_err last_refusal; /* why the last of relays_refused was; the causes of struct cmx_relay_event */
    cmx_err last_error;
    bool has_host_key;
    size_t session_id_len; /* 0: not known, or not asked for */
    uint64_t since_ms;     /* cmx_port_now_ms when state was entered */
    uint64_t retry_at_ms;  /* waiting: when the next attempt starts */
    uint64_t relays_total;
    uint64_t relays_refused; /* above max_connections, or the service did not answer */
    uint64_t last_refusal_ms;
    uint64_t bytes_in; /* from the gateway to the device */
    uint64_t bytes_out;
    uint64_t last_error_ms; /* 0: never */
    char name[CMX_PROXY_NAME_MAX];
    char session[CMX_PROXY_NAME_MAX];
    char last_error_text[96];
    uint8_t host_key[32];                         /* while authenticated: SHA-256 of the host key that the gateway proved */
    uint8_t session_id[CMX_PROXY_SESSION_ID_MAX]; /* RFC 4253 section 7.2 */
};

/* At most cap entries; returns how many contexts there are. A consistent snapshot of each; any thread. */
size_t cmx_proxy_status(struct cmx_proxy *p, struct cmx_context_status *out, size_t cap);

/* The one context of that direction and local port. False: there is none; *out is then unchanged. Any thread. */
bool cmx_proxy_find(struct cmx_proxy *p, cmx_proxy_direction direction, uint16_t local_port,
                    struct cmx_context_status *out);

/* True when every context is CMX_STATE_UP. Any thread. */
bool cmx_proxy_all_up(struct cmx_proxy *p);

/* Which libssh is underneath: "0.10.6/openssl/zlib". Static. */
const char *cmx_proxy_library(void);

#ifdef __cplusplus
}
#endif
#endif
