/* context.h - the engine's configuration and reports: gateway, contexts, hooks and status. Types and bounds only;
 * proxy.h has the calls. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/buf.h"
#include "cmxsafe/core/err.h"

struct sockaddr;

#ifdef __cplusplus
extern "C" {
#endif

/* ---- bounds and defaults: of the whole module ---- */

#if defined(ESP_PLATFORM) || defined(CMX_DEVICE_PROFILE)
#define CMX_PROXY_CONTEXTS_MAX 32
#else
#define CMX_PROXY_CONTEXTS_MAX 512
#endif
#define CMX_PROXY_HOST_KEYS_MAX 16
#define CMX_PROXY_SESSION_ID_MAX 64     /* bytes; the longest identifier is a SHA-512 hash */
#define CMX_PROXY_NAME_MAX 32           /* a context's or session's name, NUL included */
#define CMX_PROXY_ADDRESS_MAX 46        /* INET6_ADDRSTRLEN */
#define CMX_PROXY_FLEET "fleet:"        /* begins a remote_address that is a fleet's prefix */
#define CMX_PROXY_CONNECTIONS_DEFAULT 8 /* default of max_connections */
#define CMX_PROXY_CONNECTIONS_MAX 1024
#define CMX_PROXY_ALLOW_MAX 64         /* entries of allow_from */
#define CMX_PROXY_CONNECT_TIMEOUT_S 10 /* default of connect_timeout_s */
#define CMX_PROXY_LOGIN_TIMEOUT_S 10   /* limit of each attempt, from TCP connect to authentication */
#define CMX_PROXY_KEEPALIVE_S 15       /* send a keepalive after this long without traffic */
#define CMX_PROXY_KEEPALIVE_MAX 3      /* reconnect after this many unanswered keepalives (45 s) */
#define CMX_PROXY_BACKOFF_BASE_MS 1000
#define CMX_PROXY_BACKOFF_MAX_MS 60000
#define CMX_PROXY_FORWARD_RETRY_MS 5000 /* request a refused forward again after about this long */

typedef enum { CMX_REVERSE = 0, CMX_DIRECT = 1 } cmx_proxy_direction;

/* How a reverse context's service learns the address of the client. */
typedef enum {
    CMX_PEER_NONE,     /* the service does not learn it */
    CMX_PEER_PROXY_V1, /* the service gets a header of the PROXY protocol, version 1 (text) */
    CMX_PEER_PROXY_V2, /* the service gets a header of version 2 (binary) */
    CMX_PEER_MIRROR    /* the connection comes from the originator's IPv6 address */
} cmx_proxy_peer;

/* How to reach and authenticate the gateway. All strings are copied by cmx_proxy_create. */
struct cmx_gateway {
    const char *host; /* a name or an address, or a list of them as in gateways.h; the pins hold for all */
    uint16_t port;    /* for the entries of host that name no port; 0 means 22 */
    const char *user;

    /* Pins: "SHA256:<base64>" as ssh-keygen -l prints it, or a known_hosts line, whose host names are ignored. A line
     * with @revoked forbids its key. cmx_proxy_create fails without a pin: the check cannot be turned off. */
    const char *const *host_keys;
    size_t n_host_keys;

    /* The credentials are tried in this order; at least one is required. */
    const char *key_file; /* OpenSSH or PEM private key */
    const char *key_pem;  /* the private key as text; copied, and wiped when the engine ends */
    /* Used for derived keys: called at each login, it writes a private key in OpenSSH or PEM form into out. The engine
     * wipes out after use. */
    cmx_err (*key_load)(void *arg, struct cmx_buf *out);
    void *key_load_arg;
    /* For contexts whose remote_address is CMX_PROXY_FLEET and a prefix ("fleet:fd12:3456:789a::/48"): writes the
     * address that belongs, in that prefix, to the public key with this blob (RFC 4253 section 6.6). cmx_proxy_create
     * checks the prefix with a blob of length 0. NULL: such contexts are refused. */
    cmx_err (*fleet_address)(const char *prefix, const void *blob, size_t len, char out[CMX_PROXY_ADDRESS_MAX]);
    const char *key_passphrase; /* passphrase of key_file or key_pem; NULL: none */
    const char *password;       /* sent by the methods password or keyboard-interactive; NULL: never */

    const char *ciphers;      /* OpenSSH names, comma separated; NULL: modern ones, those the CPU accelerates first */
    unsigned login_timeout_s; /* here and below 0 means the default */
    unsigned keepalive_s;
    unsigned keepalive_max;
    uint32_t backoff_base_ms;
    uint32_t backoff_max_ms;
    bool want_session_id; /* learn the SSH session identifier at login, for status; costs a round trip */
    uint64_t rekey_bytes; /* 0: the library's default */
    bool require_pq;      /* accept only key exchanges that resist a quantum computer */
};

/* One service's declaration. Each member is an option with a row in context_options.h: its meaning, bounds and default.
 * Zero in any member but name, local_port and remote_port means the default. */
struct cmx_context {
    uint16_t local_port;  /* reverse: the service's port; direct: the listener's */
    uint16_t remote_port; /* reverse: the gateway's listener; direct: the port of remote_host */
    bool high_bw;         /* CMX_RELAY_CHUNK_HIGH instead of CMX_RELAY_CHUNK */
    const char *remote_address;
    cmx_proxy_direction direction;
    const char *remote_host;
    unsigned max_connections;
    unsigned idle_timeout_s;
    const char *session; /* NULL: a session of its own */
    unsigned probe_interval_s;
    const char *name;
    unsigned connect_timeout_s;
    const char *local_host;
    const char *tasks; /* only isolation checks this; the engine itself accepts every local client */
    cmx_proxy_peer peer;
    const char *allow_from; /* see originator.h; NULL: everyone may connect */
};

/* ---- hooks: for isolation and events ---- */

typedef enum {
    CMX_SOCKET_SESSION, /* TCP to the gateway */
    CMX_SOCKET_RELAY,   /* loopback TCP to a local service (reverse) */
    CMX_SOCKET_LISTEN,  /* loopback listener (direct) */
    CMX_SOCKET_PAIR     /* loopback TCP with both ends in the engine (session_pair.c) */
} cmx_socket_kind;

typedef enum {
    CMX_RELAY_OPENED,
    CMX_RELAY_CLOSED, /* reported after CMX_RELAY_OPENED */
    CMX_RELAY_REFUSED /* reported instead of CMX_RELAY_OPENED */
} cmx_relay_event_kind;

/* Pointers are valid during the call only. */
struct cmx_relay_event {
    cmx_relay_event_kind kind;
    const char *session;
    const char *context; /* NULL: refused, because no context has the port that the gateway named */
    cmx_proxy_direction direction;
    const char *from;   /* address of the client; reverse: as the gateway reports it, untrusted */
    uint64_t number;    /* opened, closed: number of the connection in its context, from 1 */
    uint64_t bytes_in;  /* closed: bytes sent by the gateway and taken by the local side */
    uint64_t bytes_out; /* closed: bytes sent by the local side and taken by the gateway */
    uint64_t lasted_ms; /* closed: lifetime of the connection */
    /* Closed: CMX_OK: both sides ended it in order; CMX_ECLOSED: one side broke it off; CMX_ETIMEOUT: idle_timeout_s;
     * CMX_ENOMEM; CMX_ENOENT: the context was removed or the engine is ending; otherwise the error that ended the
     * session, which the session hook reports next. Refused: CMX_EBUSY: max_connections; CMX_EREFUSED, CMX_ETIMEOUT,
     * CMX_EUNREACH, CMX_EDNS: the local service could not be reached (direct: CMX_EREFUSED: the gateway could not
     * reach the target); CMX_EPERM: allow_from, a hook or the gateway does not permit it; CMX_ENOENT: no such context;
     * CMX_ENOMEM, CMX_ECLOSED. */
    cmx_err cause;
};

/* Every hook may be NULL. Hooks are called from session tasks, never under a lock of the engine, and must not block. */
struct cmx_proxy_hooks {
    void *arg;
    /* Called after bind and before connect or listen; an error refuses the socket. peer is NULL for a listener. */
    cmx_err (*socket_open)(void *arg, cmx_socket_kind kind, const char *context, const struct sockaddr *local,
                           const struct sockaddr *peer);
    void (*socket_close)(void *arg, cmx_socket_kind kind, const char *context, const struct sockaddr *local,
                         const struct sockaddr *peer);
    /* Called at the beginning and at the end of each look-up of a host name: the gateway's or a local service's. */
    void (*resolve)(void *arg, const char *host, bool begins);
    /* Called when a session came up (all its forwards are granted) or went down; err says why. gateway: the host's name
     * or address as the list has it. */
    void (*session)(void *arg, const char *session, const char *gateway, bool up, cmx_err err);
    /* Called when a connection was opened, closed or refused, even if the heap is exhausted. No event is sent for a
     * connection that ends before it was opened or refused. */
    void (*relay)(void *arg, const struct cmx_relay_event *event);
};

/* ---- status ---- */

typedef enum {
    CMX_STATE_IDLE, /* the session has not started */
    CMX_STATE_RESOLVING,
    CMX_STATE_CONNECTING, /* connecting by TCP */
    CMX_STATE_HANDSHAKE,  /* exchanging keys and checking the host key */
    CMX_STATE_AUTH,
    CMX_STATE_FORWARDING, /* requesting the listener */
    CMX_STATE_UP,         /* the context is reachable */
    CMX_STATE_WAITING,    /* waiting for the next attempt (backoff) */
    CMX_STATE_STUCK       /* the session's task has not run since since_ms; nothing passes */
} cmx_context_state;

const char *cmx_context_state_name(cmx_context_state s); /* "up", "waiting", ... */

struct cmx_context_status {
    cmx_proxy_direction direction;
    uint16_t local_port;
    uint16_t remote_port;
    cmx_context_state state;
    unsigned sessions; /* number of logins so far */
    unsigned relays_open;
    uint16_t gateway_port;
    const char *gateway;  /* the host that the session uses or tries; NULL: none yet. Valid until
                             cmx_proxy_reconfigure or cmx_proxy_destroy */
    cmx_err last_refusal; /* cause of the last refused connection, as in struct cmx_relay_event */
    cmx_err last_error;
    bool has_host_key;
    const char
        *key_exchange; /* the session's key exchange, such as "curve25519-sha256"; static; NULL while there is none */
    size_t session_id_len; /* 0: not known */
    uint64_t since_ms;     /* cmx_port_now_ms when state was entered */
    uint64_t retry_at_ms;  /* waiting: the time of the next attempt */
    uint64_t relays_total;
    uint64_t relays_refused;
    uint64_t last_refusal_ms;
    uint64_t bytes_in; /* bytes from the gateway to the device */
    uint64_t bytes_out;
    uint64_t last_error_ms; /* 0: never */
    char name[CMX_PROXY_NAME_MAX];
    char session[CMX_PROXY_NAME_MAX];
    char last_error_text[96];
    uint8_t host_key[32]; /* while authenticated: SHA-256 of the host key that the gateway proved */
    uint8_t session_id[CMX_PROXY_SESSION_ID_MAX]; /* RFC 4253 section 7.2 */
};

/* Returns libssh's version: "0.10.6/openssl/zlib". Static. */
const char *cmx_proxy_library(void);

#ifdef __cplusplus
}
#endif
