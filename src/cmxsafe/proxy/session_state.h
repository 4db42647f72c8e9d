/* session_state.h - defines a session and its contexts, and the functions that change their state. Private to the
 * engine. proxy.h describes the files and which task may use which data.
 *
 * Large members come last, so that RISC-V compressed loads (offset < 128) reach the others. */
#pragma once

#include <netinet/in.h>
#include <stdatomic.h>

#include "cmxsafe/core/backoff.h"
#include "cmxsafe/core/base64.h"
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
    probe_state state; /* only probe_set_state in probe.c sets it */
    struct cmx_ssh_channel *channel;
    uint64_t next_ms;  /* PROBE_WAITING: when the next probe starts; OPENING, SENT: when this step times out */
    unsigned failures; /* failed probes in a row */
    bool seen;         /* the token arrived, or a connection arrived that could not be accepted */
    bool gone;         /* the gateway closed the probe's channel */
    uint8_t token[CMX_PROBE_TOKEN_LEN];
};

/* A context at run time. */
struct run {
    struct run *next;
    struct session *session;
    size_t order; /* protected by the lock: index in the configuration, for status */
    int listener; /* direct: the local listener's descriptor; otherwise -1 */
    int poll_index;
    unsigned places;           /* number of relays, those that wait for CLOSE included; has_place limits it (relay.c) */
    bool pressed;              /* the last connection was refused: too many relays wait for the gateway's CLOSE */
    bool removed;              /* protected by the lock: the context is no longer in the configuration */
    bool dirty;                /* `live` has changed since it was copied to `shared` */
    bool retired;              /* the task has seen `removed` */
    bool listening;            /* the gateway granted the forward, or the local listener is open */
    bool cancelling;           /* the forward must be cancelled before any other request is sent */
    uint64_t retry_ms;         /* do not try to listen or accept before this time */
    struct cmx_lookup *lookup; /* look-up of the local service's name, shared by the relays; NULL: none yet */
    struct cmx_context cfg;    /* own copy of the context's configuration */
    struct cmx_context_status live; /* the current status; only the session's task uses it */
    struct probe probe;
    struct tracked_socket listener_socket;
    char address[CMX_PROXY_ADDRESS_MAX]; /* derived from fleet prefix and login key; "": not derived, or no prefix */
    struct cmx_context_status shared;    /* protected by the lock: copy of live */
};

typedef enum { REQUEST_NONE, REQUEST_LISTEN, REQUEST_CANCEL, REQUEST_KEEPALIVE } request_kind;

/* The state that all sessions of an engine share. */
struct engine {
    struct cmx_mutex lock;
    struct cmx_proxy_hooks hooks; /* constant after the start */
    atomic_bool updating;         /* set by cmx_proxy_set_updating */
    atomic_uint bulk;             /* sum of the member `bulk` of all sessions */
    struct session *sessions;     /* change this list only with the lock held */
    /* All sessions connect to the same gateway: in a fleet, only one gateway at a time holds the device's identity. The
     * lock guards `turn` and `n_up`. `turn` changes only while no session is up, or when a session logs in to another
     * gateway than turn.at. */
    struct cmx_gateway_turn turn;
    /* Number of authenticated sessions. A session on a gateway other than turn.at must end. */
    unsigned n_up;
};

struct session {
    struct session *next;
    struct engine *engine;
    const struct cmx_proxy_config *config; /* the gateway and its pins; outlives the session */
    struct run *runs;
    struct run *arrivals; /* protected by the lock: new contexts, to be moved to runs */
    struct cmx_ssh *ssh;
    struct cmx_lookup *lookup; /* look-up of the gateway's name; NULL: none */
    struct relay *relays;
    size_t n_relays; /* number of relays in `relays` and in `resting` */
    unsigned bulk;   /* number of relays of high_bw contexts that are younger than CMX_RELAY_BULK_MS */
    struct pollfd *polls;
    size_t n_polls, polls_cap;
    uint8_t *scratch; /* one chunk on its way from a local socket to libssh; NULL: not allocated */
    size_t scratch_len;
    request_kind request;
    struct run *request_run;
    unsigned tried_types; /* host key types for which the gateway showed no pinned key in this round */
    unsigned wrong_types; /* the same, in this attempt; added to tried_types at its end */
    size_t stack_bytes;   /* stack of the session's task; 0: the platform's default */
    uint64_t now_ms;      /* when this turn of the event loop began */
    uint64_t due_ms;      /* when the next turn must begin even without an event */
    uint64_t request_ms;  /* when the pending request was sent */
    uint64_t received;    /* cmx_ssh_received at the last check */
    uint64_t received_ms; /* when `received` last grew */
    /* Low 32 bits of the time of the last cmx_session_alive, or of the end of the wait that cmx_session_rests
     * announced. */
    atomic_uint alive;
    int wake;            /* descriptor of cmx_port_wake_open, open as long as the session exists */
    int fd;              /* protected by the lock: the SSH socket, for cmx_proxy_watch; -1: none */
    bool hold;           /* protected by the lock: the task must not begin yet */
    bool stop;           /* protected by the lock: the task must end */
    bool finished;       /* protected by the lock: the task has ended, or never started */
    bool broken;         /* protected by the lock: cmx_proxy_watch has broken the connection */
    uint8_t gateway;     /* index of this attempt's gateway, in the gateway list */
    uint8_t shut_out;    /* attempts in a row that failed on a gateway where other sessions are up */
    uint8_t search_from; /* the gateway on which the attempts failed before the search */
    struct cmx_gateway_turn search;
    bool searches;       /* this session is trying the other gateways, in the order of `search` */
    bool logged_in;      /* the login of this attempt has succeeded */
    uint8_t address;     /* index, in the look-up's list, of the current or the next attempt's address */
    bool more_addresses; /* the look-up found more addresses after `address` */
    bool revoked;        /* the key that the gateway showed is revoked */
    bool authenticated;
    bool announced_up;
    bool proven;           /* the session of this attempt lasted long enough to count as a success */
    unsigned last_relay;   /* number of the newest relay, for the log */
    int rest_set;          /* descriptor of cmx_port_set_open; -1: no relay has rested yet */
    struct relay *resting; /* resting relays (relay_rest.h), which are not in `relays` */
    struct relay *stirred; /* those relays of `resting` that must be served again */
    struct cmx_backoff backoff, slow;
    char name[CMX_PROXY_NAME_MAX];
    char text[CMX_PROXY_ERROR_MAX]; /* why the last attempt failed */
    struct tracked_socket socket;
    struct tracked_socket pair;       /* the sockets of session_pair.c, on a platform without socketpair */
    char shown[CMX_FINGERPRINT_LEN];  /* fingerprint of the last host key without a pin; "": none in this round */
    uint8_t host_key[CMX_SHA256_LEN]; /* digest of the host key that the gateway last showed */
    const char *key_exchange;         /* key exchange of the current or last session; static */
    size_t id_len;
    uint8_t id[CMX_PROXY_SESSION_ID_MAX]; /* session identifier, while authenticated */
};

/* ---- contexts ---- */

/* The only function that sets a context's state: logs the transition, records err and text (may be NULL), and publishes
 * the status. */
void cmx_session_set_context(struct run *r, cmx_context_state state, cmx_err err, const char *text);
/* Records why r is not listening, and schedules the next attempt after about CMX_PROXY_FORWARD_RETRY_MS. */
void cmx_session_forward_failed(struct run *r, cmx_err err, const char *fmt, ...) CMX_PRINTF(3, 4);
/* Returns the listen address for the forward request of a reverse context. */
const char *cmx_session_listen_address(const struct run *r);
/* Copies r->live to r->shared. */
void cmx_session_publish(struct run *r);
/* True if fewer than `least` bytes of heap are free. If so, logs the outcome for a connection of r: "refused" or
 * "closed". */
bool cmx_session_lacks_heap(const struct run *r, size_t least, const char *outcome);
/* Frees r, which must not be in a list. NULL is fine. */
void cmx_session_free_context(struct run *r);

/* ---- the session ---- */

/* Sets the state of all contexts of s. */
void cmx_session_set_state(struct session *s, cmx_context_state state, cmx_err err, const char *text);
/* Reports to the session hook that s is now up, or down because of err. Does nothing if that was reported before. */
void cmx_session_announce(struct session *s, bool up, cmx_err err);
/* Records in s->text why this attempt fails: the text `what`, followed by the text `why`. */
void cmx_session_say(struct session *s, const char *what, const char *why);
/* Returns the gateway that this attempt uses. */
const struct cmx_gateway_host *cmx_session_gateway(const struct session *s);
bool cmx_session_stopping(struct session *s);
/* Records for cmx_proxy_watch and the platform's watchdog that the task is running. */
void cmx_session_alive(struct session *s);
/* Like cmx_session_alive, but announces that the task may now wait for up to ms milliseconds. */
void cmx_session_rests(struct session *s, uint32_t ms);
/* Wakes the session's task, so that it checks for work at once. Any task. */
void cmx_session_wake(struct session *s);
/* Returns how many milliseconds have passed since the task last called cmx_session_alive, or since the end of a wait
 * that it announced with cmx_session_rests. Any task. */
uint32_t cmx_session_silent_ms(struct session *s);
/* Sets the SSH socket for cmx_proxy_watch; -1: it is about to be closed. */
void cmx_session_set_fd(struct session *s, int fd);
/* Returns 32 random bits, or `otherwise` if the platform has none. */
uint32_t cmx_session_random(uint32_t otherwise);
/* Waits until fd is ready. CMX_ETIMEOUT: the deadline has passed; CMX_ECLOSED: the session must stop. */
CMX_MUST_USE cmx_err cmx_session_wait_ready(struct session *s, int fd, short events, uint64_t deadline);

/* ---- timers: the event loop runs again at each time that was set or checked in this turn ---- */

/* Returns the time `ms` milliseconds after the beginning of this turn, and makes the loop run again then. */
uint64_t cmx_session_in(struct session *s, uint32_t ms);
/* True if `at` is not later than the beginning of this turn. Otherwise makes the loop run again at `at`. */
bool cmx_session_past(struct session *s, uint64_t at);
