/* context.h - defines the engine's configuration (gateway, contexts, hooks) and its reports (events and status).
 * proxy.h declares the functions of the engine. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/buf.h"
#include "cmxsafe/core/err.h"
#include "cmxsafe/core/hash_len.h"

struct sockaddr;

CMX_C_BEGIN

/* ---- bounds and defaults of the whole module ---- */

#if defined(ESP_PLATFORM) || defined(CMX_DEVICE_PROFILE)
#define CMX_PROXY_CONTEXTS_MAX 32
#else
#define CMX_PROXY_CONTEXTS_MAX 512
#endif
#define CMX_PROXY_HOST_KEYS_MAX 16
#define CMX_PROXY_SESSION_ID_MAX 64      /* bytes; the longest identifier is a SHA-512 hash */
#define CMX_PROXY_NAME_MAX 32            /* a context's or session's name, NUL included */
#define CMX_PROXY_ADDRESS_MAX 46         /* INET6_ADDRSTRLEN */
#define CMX_PROXY_ERROR_MAX 96           /* the text of an error, NUL included; longer texts are cut */
#define CMX_PROXY_LOCAL_HOST "127.0.0.1" /* default of local_host */
#define CMX_PROXY_FLEET "fleet:"         /* a remote_address that begins with this names a fleet's prefix */
#define CMX_PROXY_CONNECTIONS_DEFAULT 8  /* default of max_connections */
#define CMX_PROXY_CONNECTIONS_MAX 1024
#define CMX_PROXY_ALLOW_MAX 64         /* maximum number of entries in allow_from */
#define CMX_PROXY_CONNECT_TIMEOUT_S 10 /* default of connect_timeout_s */
#define CMX_PROXY_LOGIN_TIMEOUT_S 10   /* time limit of a login attempt, from TCP connect on */
#define CMX_PROXY_KEEPALIVE_S 15       /* send a keepalive after this long without traffic */
#define CMX_PROXY_KEEPALIVE_MAX 3      /* reconnect after this many unanswered keepalives (45 s) */
#define CMX_PROXY_BACKOFF_BASE_MS 1000
#define CMX_PROXY_BACKOFF_MAX_MS 60000
#define CMX_PROXY_FORWARD_RETRY_MS 5000 /* retry a refused forward after about this long */

typedef enum { CMX_REVERSE = 0, CMX_DIRECT = 1 } cmx_proxy_direction;

/* How a reverse context's service learns the address of the client. */
typedef enum {
    CMX_PEER_NONE,     /* the service does not learn the client's address */
    CMX_PEER_PROXY_V1, /* the service gets a header of the PROXY protocol, version 1 (text) */
    CMX_PEER_PROXY_V2, /* the service gets a header of version 2 (binary) */
    CMX_PEER_MIRROR    /* the connection's source is the client's IPv6 address */
} cmx_proxy_peer;

/* How to reach the gateway, verify its host key and log in. cmx_proxy_create copies all strings. */
struct cmx_gateway {
    const char *host; /* one gateway or a list of gateways (gateways.h); the pins apply to each gateway */
    uint16_t port;    /* used for each entry of host that names no port; 0 means 22 */
    const char *user;

    /* Pins. Each is either "SHA256:<base64>", as ssh-keygen -l prints it, or a known_hosts line. The host names of such
     * a line are ignored, and @revoked forbids its key. cmx_proxy_create fails without a pin: the check cannot be
     * turned off. */
    const char *const *host_keys;
    size_t n_host_keys;

    /* The credentials are tried in the order of these members; at least one is required. */
    const char *key_file; /* OpenSSH or PEM private key */
    const char *key_pem;  /* the private key as text; copied, and wiped when the engine ends */
    /* For derived keys. Called at each login: writes a private key in OpenSSH or PEM form to `out`, which the engine
     * wipes after use. */
    cmx_err (*key_load)(void *arg, struct cmx_buf *out);
    void *key_load_arg;
    /* Called for contexts whose remote_address is CMX_PROXY_FLEET followed by a prefix ("fleet:fd12:3456:789a::/48"):
     * derives an address in that prefix from a public key and writes it to out. blob: the public key as RFC 4253
     * section 6.6 encodes it; cmx_proxy_create passes an empty blob to check the prefix alone. NULL: such contexts are
     * refused. */
    cmx_err (*fleet_address)(const char *prefix, const void *blob, size_t len, char out[CMX_PROXY_ADDRESS_MAX]);
    const char *key_passphrase; /* passphrase of key_file or key_pem; NULL: none */
    const char *password;       /* sent with the method password or keyboard-interactive; NULL: never */

    const char *ciphers;      /* OpenSSH names, comma separated; NULL: the default (gateway_options.h) */
    unsigned login_timeout_s; /* 0 means the default, here and in the numbers below */
    unsigned keepalive_s;
    unsigned keepalive_max;
    uint32_t backoff_base_ms;
    uint32_t backoff_max_ms;
    bool want_session_id; /* learn the session identifier at login, for status; costs a round trip */
    uint64_t rekey_bytes; /* 0: the library's default */
    bool require_pq;      /* accept only key exchanges that resist a quantum computer */
};

/* Declares one service. Each member is an option; its row in context_options.h gives its meaning, bounds and default.
 * Zero means the default in every member except name, local_port and remote_port, which are required. */
struct cmx_context {
    uint16_t local_port;  /* reverse: the service's port; direct: the listener's port */
    uint16_t remote_port; /* reverse: the port of the gateway's listener; direct: the port on remote_host */
    bool high_bw;         /* buffers of CMX_RELAY_CHUNK_HIGH bytes instead of CMX_RELAY_CHUNK */
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
    const char *allow_from; /* see cmx_originator_check_list; NULL: everyone may connect */
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

/* The pointers are valid only during the call of the relay hook. */
struct cmx_relay_event {
    cmx_relay_event_kind kind;
    const char *session;
    const char *context; /* NULL if refused because no context has the port that the gateway named */
    cmx_proxy_direction direction;
    const char *from;   /* address of the client; reverse: as the gateway reports it, untrusted */
    uint64_t number;    /* opened, closed: number of the connection in its context, counted from 1 */
    uint64_t bytes_in;  /* closed: bytes from the gateway that were sent to the local side */
    uint64_t bytes_out; /* closed: bytes from the local side that were sent to the gateway */
    uint64_t lasted_ms; /* closed: lifetime of the connection */
    /* Why the connection ended. For a closed connection: CMX_OK: both sides closed it properly; CMX_ECLOSED: one side
     * aborted it; CMX_ETIMEOUT: it was idle for idle_timeout_s; CMX_ENOMEM: memory was short; CMX_ENOENT: the context
     * was removed or the engine is ending; otherwise: the error that ended the session, which the session hook reports
     * next.
     *
     * For a refused connection: CMX_EBUSY: max_connections were open, or too many relays wait for the gateway's CLOSE;
     * CMX_EREFUSED, CMX_ETIMEOUT, CMX_EUNREACH, CMX_EDNS in a reverse context: the local service could not be reached;
     * CMX_EREFUSED in a direct context: the gateway could not reach the target; CMX_EPERM: allow_from, peer, a hook or
     * the gateway does not permit it; CMX_ENOENT: no context has the port; CMX_ENOMEM: memory was short; CMX_ECLOSED:
     * one side aborted it before it was open. */
    cmx_err cause;
};

/* Every hook may be NULL. Hooks are called from session tasks, never under a lock of the engine, and must not block. */
struct cmx_proxy_hooks {
    void *arg;
    /* Called with `opens` true between bind and connect; for a listener, after listen and with peer NULL. If the hook
     * returns an error, the socket is closed unused. Otherwise the hook is called again when the socket is closed, with
     * `opens` false and the same addresses, and its result is then ignored. */
    cmx_err (*socket_change)(void *arg, cmx_socket_kind kind, const struct sockaddr *local, const struct sockaddr *peer,
                             bool opens);
    /* Called when the look-up of a host name (of the gateway or of a local service) begins and when it ends. */
    void (*resolve)(void *arg, bool begins);
    /* Called when all contexts of a session have become reachable (up), and when that session has ended; err is then
     * the cause. gateway: the host of the gateway as written in the gateway list. */
    void (*session)(void *arg, const char *session, const char *gateway, bool up, cmx_err err);
    /* Called when a connection has been opened, closed or refused, even if the heap is exhausted. No event is sent for
     * a connection that ends before it has been opened or refused. */
    void (*relay)(void *arg, const struct cmx_relay_event *event);
};

/* ---- status ---- */

typedef enum {
    CMX_STATE_IDLE, /* the session has not started, or has been stopped */
    CMX_STATE_RESOLVING,
    CMX_STATE_CONNECTING, /* connecting by TCP */
    CMX_STATE_HANDSHAKE,  /* exchanging keys and checking the host key */
    CMX_STATE_AUTH,
    CMX_STATE_FORWARDING, /* requesting the gateway's listener, or opening the local one */
    CMX_STATE_UP,         /* the context is reachable */
    CMX_STATE_WAITING,    /* waiting for the next attempt (backoff) */
    CMX_STATE_STUCK       /* the session's task last ran at since_ms; no data passes */
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
    /* The session's key exchange, such as "curve25519-sha256"; static; NULL while there is none. */
    const char *key_exchange;
    size_t session_id_len; /* 0: not known */
    uint64_t since_ms;     /* cmx_port_now_ms when state was entered */
    uint64_t retry_at_ms;  /* in CMX_STATE_WAITING: the time of the next attempt */
    uint64_t relays_total;
    uint64_t relays_refused;
    uint64_t last_refusal_ms;
    uint64_t bytes_in; /* bytes from the gateway to the device */
    uint64_t bytes_out;
    uint64_t last_error_ms; /* 0: never */
    char name[CMX_PROXY_NAME_MAX];
    char session[CMX_PROXY_NAME_MAX];
    char last_error_text[CMX_PROXY_ERROR_MAX];
    uint8_t host_key[CMX_SHA256_LEN];             /* while authenticated: SHA-256 of the gateway's host key */
    uint8_t session_id[CMX_PROXY_SESSION_ID_MAX]; /* RFC 4253 section 7.2 */
};

/* Returns libssh's version: "0.10.6/openssl/zlib". Static. */
const char *cmx_proxy_library(void);

CMX_C_END
