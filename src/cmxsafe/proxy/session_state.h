/* session_state.h - the state of a session and of its contexts, with one setter each. Private to the engine; proxy.h
 * describes the files and which task may use what.
 *
 * Large members come last, so that RISC-V compressed loads (offset < 128) reach the others. */
#pragma once

#include <netinet/in.h>
#include <stdatomic.h>

#include "cmxsafe/core/backoff.h"
#include "cmxsafe/port/poll.h"
#include "cmxsafe/port/port.h"
#include "cmxsafe/proxy/lookup.h"
#include "cmxsafe/proxy/proxy_config.h"
#include "cmxsafe/proxy/proxy_limits.h"
#include "cmxsafe/proxy/ssh.h"
#include "cmxsafe/proxy/tracked_socket.h"

struct session;
struct relay;

typedef enum { PROBE_OFF, PROBE_WAITING, PROBE_OPENING, PROBE_SENT } probe_state;

struct probe {
    probe_state state; /* set by probe_set_state in probe.c alone */
    struct cmx_ssh_channel *channel;
    uint64_t next_ms;  /* waiting: when the next probe starts; otherwise: when the present probe counts as failed */
    unsigned failures; /* failed probes in a row */
    bool seen;         /* the token came back */
    bool gone;         /* the gateway closed the channel */
    uint8_t token[CMX_PROBE_TOKEN_LEN];
};

/* A context at run time. */
struct run {
    struct run *next;
    struct session *session;
    size_t order; /* under the lock: place in the configuration, for status */
    int listener; /* direct: the local listener's descriptor; otherwise -1 */
    int poll_index;
    unsigned places;   /* relays, those that wait for the gateway's CLOSE included: at most 2 * max_connections */
    bool pressed;      /* the last connection was refused because relays that wait for a CLOSE hold the places */
    bool removed;      /* under the lock: no longer in the configuration */
    bool dirty;        /* live is newer than shared */
    bool retired;      /* the task has seen `removed` */
    bool listening;    /* the gateway granted the forward, or the local listener is open */
    bool cancelling;   /* the forward must be cancelled before anything else */
    uint64_t retry_ms; /* do not try to listen or to accept before this time */
    struct cmx_lookup *lookup;      /* look-up of the local service's name, shared by the relays; NULL: none yet */
    struct cmx_context cfg;         /* owned copy of the configuration */
    struct cmx_context_status live; /* the present status; only the session's task uses it */
    struct probe probe;
    struct tracked_socket listener_socket;
    char address[CMX_PROXY_ADDRESS_MAX]; /* from the fleet's prefix and the login's key; "": none yet, or no prefix */
    struct cmx_context_status shared;    /* copy of live, guarded by the lock */
};

typedef enum { REQUEST_NONE, REQUEST_LISTEN, REQUEST_CANCEL, REQUEST_KEEPALIVE } request_kind;

/* The state that all sessions of an engine share. */
struct engine {
    struct cmx_mutex lock;
    struct cmx_proxy_hooks hooks; /* constant after the start */
    atomic_bool updating;         /* set by cmx_proxy_set_updating */
    struct session *sessions;     /* the list is changed under the lock once a session is started */
    /* All sessions use the same gateway, since at a fleet of gateways the device's identity belongs to one of them.
     * Both members are guarded by the lock. */
    struct cmx_gateway_turn turn; /* changes while no session is up, or when one has logged in to another gateway */
    /* Number of authenticated sessions; sessions at another gateway than turn.at must end. */
    unsigned n_up;
};

struct session {
    struct session *next;
    struct engine *engine;
    const struct cmx_proxy_config *config; /* the gateway and its pins; outlives the session */
    struct run *runs;
    struct run *arrivals; /* under the lock: to be moved into runs */
    struct cmx_ssh *ssh;
    struct cmx_lookup *lookup; /* look-up of the gateway's name, while it runs or is used */
    struct relay *relays;
    size_t n_relays; /* number of relays in `relays` and in `resting` */
    struct pollfd *polls;
    size_t n_polls, polls_cap;
    uint8_t *scratch; /* the one buffer between local sockets and libssh */
    size_t scratch_len;
    request_kind request;
    struct run *request_run;
    unsigned tried_types; /* host key types already tried in this round: the gateway has no pinned key of these types */
    unsigned last_type;   /* host key types that this attempt has tried; 0: none */
    unsigned last_relay;  /* number of the newest relay, for the log */
    size_t stack_bytes;   /* stack of the session's task; 0: the platform's default */
    size_t id_len;
    uint64_t now_ms;      /* when this turn of the event loop began */
    uint64_t up_ms;       /* when the login succeeded */
    uint64_t request_ms;  /* when the pending request was sent */
    uint64_t received;    /* cmx_ssh_received at the last check */
    uint64_t received_ms; /* when `received` last grew */
    atomic_uint alive;    /* low 32 bits of the time of cmx_session_alive */
    int wake;             /* descriptor of cmx_port_wake_open, open as long as the task runs */
    int fd;               /* under the lock: the SSH socket, for cmx_proxy_watch; -1: none */
    bool hold;            /* under the lock: the task must not begin yet */
    bool stop;            /* under the lock: the task must end */
    bool finished;        /* under the lock: the task has ended, or never started */
    bool broken;          /* under the lock: cmx_proxy_watch has broken the connection */
    uint8_t gateway;      /* place in the list of the gateway that this attempt uses */
    uint8_t shut_out;     /* attempts in a row that failed at a gateway where other sessions are up */
    uint8_t search_from;  /* the gateway at which this session's attempts fail */
    struct cmx_gateway_turn search;
    bool searches;       /* this session alone tries the other gateways, in the order of `search` */
    bool logged_in;      /* the login of this attempt has succeeded */
    uint8_t address;     /* place in the look-up's list of the address that is or was used */
    bool more_addresses; /* the gateway's name has more addresses after `address` */
    bool no_key;         /* the gateway has no host key of the requested types in this attempt */
    bool revoked;        /* the key that the gateway showed is revoked */
    bool authenticated;
    bool announced_up;
    bool proven;                /* the session of this attempt has worked long enough to count as a success */
    int wake_index, rest_index; /* places in polls; -1: not polled */
    int rest_set;               /* descriptor of cmx_port_set_open, from the first relay at rest on; -1: none */
    struct relay *resting;      /* relays at rest (relay_rest.h), which are not in `relays` */
    struct relay *stirred;      /* relays in `resting` that must be served again */
    struct cmx_backoff backoff, slow;
    char name[CMX_PROXY_NAME_MAX];
    char text[96]; /* why the last attempt failed */
    struct tracked_socket socket;
    struct tracked_socket pair; /* the pair used while logging in, on a platform without socketpair */
    char shown[51];             /* fingerprint of the last host key without a pin, while tried_types is not 0 */
    uint8_t host_key[32];       /* digest of the key that the gateway showed last */
    const char *key_exchange;   /* the key exchange of the present or last session; static */
    uint8_t id[CMX_PROXY_SESSION_ID_MAX]; /* session identifier, while authenticated */
};

/* ---- contexts ---- */

/* The only setter of a context's state: logs the transition, records err and text (may be NULL), publishes. */
void cmx_session_set_context(struct run *r, cmx_context_state state, cmx_err err, const char *text);
/* Returns the address on which the gateway listens for a reverse context, for the forward request. */
const char *cmx_session_listen_address(const struct run *r);
/* Copies live to shared. */
void cmx_session_publish(struct run *r);
/* Releases r, which is in no list. NULL is fine. */
void cmx_session_free_context(struct run *r);

/* ---- the session ---- */

/* Sets the state of all contexts of s. */
void cmx_session_set_state(struct session *s, cmx_context_state state, cmx_err err, const char *text);
/* Records why this attempt fails: both texts, joined. */
void cmx_session_say(struct session *s, const char *what, const char *why);
/* Returns the gateway that this attempt uses. */
const struct cmx_gateway_host *cmx_session_gateway(const struct session *s);
bool cmx_session_stopping(struct session *s);
/* Records that the task runs, for cmx_proxy_watch and the platform's watchdog. */
void cmx_session_alive(struct session *s);
/* Like cmx_session_alive, for a task that may wait for up to ms before its next call. */
void cmx_session_rests(struct session *s, uint32_t ms);
/* Wakes the session's task, so that it checks for work at once. Any task. */
void cmx_session_wake(struct session *s);
/* Returns for how many ms the task has been overdue: since its last cmx_session_alive, or since the end of the wait
 * that it announced by cmx_session_rests. Any task. */
uint32_t cmx_session_silent_ms(struct session *s);
/* Sets the SSH socket for cmx_proxy_watch; -1: it is about to be closed. */
void cmx_session_set_fd(struct session *s, int fd);
/* Returns the time that is `seconds` after the beginning of this turn of the event loop. */
uint64_t cmx_session_in(const struct session *s, unsigned seconds);
/* True once that time has come. */
bool cmx_session_past(const struct session *s, uint64_t at);
