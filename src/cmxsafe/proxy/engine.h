/* engine.h - what the parts of the engine share. Private to src/cmxsafe/proxy.
 *
 *   proxy.c    creates, changes and ends sessions; gives status
 *   session.c  one task: logs in, serves, waits, for ever
 *   login.c    from a name to an authenticated session
 *   serve.c    the event loop of a live session
 *   request.c  forwards asked for and cancelled, keepalives: one global request at a time
 *   relay.c    the life of one connection
 *   flow.c     its bytes
 *   event.c    what became of it, told to the hook
 *   probe.c    does the gateway's listener still lead here?
 *
 * Who may touch what: a session's task owns everything of its session. Other tasks read `shared` of a context and set
 * `stop`, `removed`, `arrivals` under the proxy's lock; the session's task links and unlinks contexts under it. */
#ifndef CMX_PROXY_ENGINE_H
#define CMX_PROXY_ENGINE_H

#include <netinet/in.h>
#include <sys/poll.h>
#include <sys/socket.h>

#include "cmxsafe/core/backoff.h"
#include "cmxsafe/port/port.h"
#include "cmxsafe/proxy/config.h"
#include "cmxsafe/proxy/limits.h"
#include "cmxsafe/proxy/proxy.h"
#include "cmxsafe/proxy/ssh.h"

struct session;
struct addrinfo;

/* A socket as isolation knows it: what socket_open was told is told again to socket_close. */
struct tracked_socket {
    bool told;
    cmx_socket_kind kind;
    struct sockaddr_storage local;
    struct sockaddr_storage peer; /* ss_family 0: a listener */
};

typedef enum { PROBE_OFF, PROBE_WAITING, PROBE_OPENING, PROBE_SENT } probe_state;

struct probe {
    probe_state state;
    struct cmx_ssh_channel *channel;
    uint64_t next_ms;  /* waiting: when the next one starts; else: when this one has failed */
    unsigned failures; /* in a row */
    bool seen;         /* the token came back */
    bool gone;         /* the channel closed */
    uint8_t token[CMX_PROBE_TOKEN_LEN];
};

/* A context at run time. What is long stands last, here and below: the fields before it are then within reach of a
 * small device's short instructions. */
struct run {
    struct run *next;
    struct session *session;
    size_t order; /* place in the configuration, for status */
    int listener; /* direct: or -1 */
    int poll_index;
    unsigned places;        /* relays, also those that only wait for the peer's close: at most twice max_connections */
    bool pressed;           /* the last connection found no place, for those that wait for the peer's close have them */
    bool removed;           /* under the lock: the configuration does not have it any more */
    bool dirty;             /* live is newer than shared */
    bool retired;           /* the task has seen `removed` */
    bool listening;         /* the gateway granted the forward, or the local listener is open */
    bool cancelling;        /* a cancel is due before anything else */
    uint64_t retry_ms;      /* not before that: to listen, or to accept */
    struct cmx_context cfg; /* owned copy */
    struct cmx_context_status live; /* the session task's */
    struct probe probe;
    struct tracked_socket listener_socket;
    struct cmx_context_status shared; /* under the lock */
};

typedef enum {
    RELAY_TENTATIVE,  /* accepted while a probe is out: its first bytes tell */
    RELAY_CONNECTING, /* the local service */
    RELAY_OPENING,    /* the gateway's side of a direct one */
    RELAY_OPEN,
    RELAY_CLOSING, /* local side done; the peer's close is awaited */
    RELAY_DEAD
} relay_state;

/* Invariants: OPEN has fd >= 0 and channel; CLOSING has fd < 0 and channel; DEAD has neither. open is set only while
 * CONNECTING and then channel is not. spill and backlog are both empty when local_blocked is false. */
struct relay {
    struct relay *next;
    struct run *run;
    relay_state state;
    int fd;
    int poll_index;
    struct cmx_ssh_open *open;
    struct cmx_ssh_channel *channel;
    struct addrinfo *addresses; /* connecting: all of them, and the one under way */
    struct addrinfo *address;
    cmx_err failed; /* the local socket broke, no memory, or an opening one is not wanted any more */
    size_t backlog; /* bytes that wait inside libssh */
    uint8_t *spill; /* bytes taken out of libssh that the local side does not take yet */
    size_t spill_len, spill_off;
    uint8_t *held; /* bytes read from the local side that the gateway does not take yet */
    size_t held_len, held_off;
    uint64_t deadline_ms; /* tentative, connecting, closing */
    uint64_t active_ms;   /* last byte either way */
    bool local_blocked;   /* the local side takes nothing: wait until it is writable */
    bool local_eof, eof_sent;
    bool remote_eof, local_shut;
    bool remote_closed;
    bool counted;       /* in relays_open */
    bool overflow;      /* the gateway ignores its window */
    bool settled_probe; /* the token was this connection's first bytes */
    uint64_t number;    /* 0: it never was open, or its end has been told */
    uint64_t opened_ms;
    uint64_t bytes_in, bytes_out;
    struct tracked_socket socket;
    char from[46]; /* who connected, for reverse as the gateway says; cut to an address's length */
};

typedef enum { REQUEST_NONE, REQUEST_LISTEN, REQUEST_CANCEL, REQUEST_KEEPALIVE } request_kind;

struct session {
    struct session *next;
    struct cmx_proxy *proxy;
    const struct cmx_proxy_config *config; /* gateway and pins; outlives the session */
    struct run *runs;
    struct run *arrivals; /* under the lock: to be taken into runs */
    struct cmx_ssh *ssh;
    struct relay *relays;
    size_t n_relays;
    struct pollfd *polls;
    size_t n_polls, polls_cap;
    uint8_t *scratch; /* the one buffer between local sockets and libssh */
    size_t scratch_len;
    request_kind request;
    struct run *request_run;
    unsigned tried_types; /* host key types of which the gateway has no pinned key */
    unsigned last_type;   /* the one shown, or those found missing, in this attempt, as a mask; 0: none */
    size_t stack_bytes;   /* of its task; 0: the platform's default */
    size_t id_len;
    uint64_t now_ms;      /* when this turn of the event loop began */
    uint64_t request_ms;  /* when it was sent */
    uint64_t received;    /* cmx_ssh_received at the last look */
    uint64_t received_ms; /* and when it last grew */
    bool stop;            /* under the lock */
    bool finished;        /* under the lock: the task has ended */
    bool no_key;          /* the gateway has no key at all of the types asked for in this attempt */
    bool authenticated;
    bool announced_up;
    struct cmx_backoff backoff, slow;
    char name[CMX_PROXY_NAME_MAX];
    char text[96]; /* what to say of the attempt that failed */
    struct tracked_socket socket;
    struct tracked_socket pair; /* while logging in, on a platform without socketpair */
    char shown[51];             /* the fingerprint of the last key without a pin, while tried_types is not 0 */
    uint8_t host_key[32];       /* digest of the key that the gateway showed last */
    uint8_t id[CMX_PROXY_SESSION_ID_MAX]; /* while authenticated */
};

struct cmx_proxy {
    struct cmx_mutex lock;
    struct cmx_proxy_config *config; /* the sessions borrow it */
    size_t n_contexts;
    struct cmx_proxy_hooks hooks;
    struct session *sessions;
    size_t stack_bytes;
    bool started;
};

/* ---- proxy.c: starts s's task ---- */
CMX_MUST_USE cmx_err cmx_session_start(struct session *s);

/* ---- session.c ---- */
void cmx_session_task(void *arg);
bool cmx_session_stopping(struct session *s);
/* So many seconds after this turn of the event loop began. */
uint64_t cmx_session_in(const struct session *s, unsigned seconds);
/* That time has come. */
bool cmx_session_past(const struct session *s, uint64_t at);
/* The one setter of a context's state: logs the transition, notes the error and its text (may be NULL), publishes. */
void cmx_run_set_state(struct run *r, cmx_context_state state, cmx_err err, const char *text);
void cmx_session_set_state(struct session *s, cmx_context_state state, cmx_err err, const char *text);
void cmx_run_publish(struct run *r);
void cmx_run_free(struct run *r);
/* Tells the hook of a new socket; remembers what it was told. */
CMX_MUST_USE cmx_err cmx_socket_tell_open(struct cmx_proxy *p, struct tracked_socket *t, cmx_socket_kind kind,
                                          const char *context, const struct sockaddr_storage *local,
                                          const struct sockaddr *peer);
void cmx_socket_tell_close(struct cmx_proxy *p, struct tracked_socket *t, const char *context);

/* ---- pair.c: for cmx_ssh_set_pair; arg: the session ---- */
CMX_MUST_USE cmx_err cmx_session_pair(void *arg, int fd[2]);

/* ---- login.c: fills s->ssh, and s->text on a failure ---- */
/* The next attempt would need a larger stack: of the host key types that are left only Ed25519 may have a pin. */
bool cmx_session_lacks_stack(const struct session *s);
/* After an attempt that failed with err: is there another type to ask for, at once? */
bool cmx_session_types_left(struct session *s, cmx_err err);
CMX_MUST_USE cmx_err cmx_session_login(struct session *s);
/* What to say of this attempt: one text behind the other. */
void cmx_session_say(struct session *s, const char *what, const char *why);

/* ---- serve.c: returns when the session has ended, CMX_OK when asked to stop ---- */
CMX_MUST_USE cmx_err cmx_session_serve(struct session *s);
/* Contexts that were removed and have let go leave, new ones come. */
void cmx_session_update_runs(struct session *s);
void cmx_session_drop_relays(struct session *s, cmx_err cause);

/* ---- request.c ---- */
CMX_MUST_USE cmx_err cmx_session_requests(struct session *s);
/* When the next request or keepalive is due. */
uint64_t cmx_session_requests_due(const struct session *s);

/* ---- relay.c ---- */
/* Takes o: connects to the local service, or refuses. */
void cmx_relay_reverse(struct session *s, struct run *r, struct cmx_ssh_open *o);
/* Takes fd, which a direct context's listener accepted from peer. */
void cmx_relay_direct(struct session *s, struct run *r, int fd, const struct sockaddr_storage *peer);
/* Events to wait for; 0: none. */
short cmx_relay_events(const struct relay *r, const struct session *s);
CMX_MUST_USE cmx_err cmx_relay_ready(struct relay *r, struct session *s, short revents);
/* Does what can be done without waiting. An error ends the session. */
CMX_MUST_USE cmx_err cmx_relay_settle(struct relay *r, struct session *s);
/* When settle has something to do by time alone; UINT64_MAX: never. */
uint64_t cmx_relay_due(const struct relay *r);
/* Ends both sides at once, the local one with a reset. cause: for the hook. */
void cmx_relay_abort(struct relay *r, struct session *s, cmx_err cause);
void cmx_relay_free(struct relay *r);

/* ---- flow.c ---- */
extern const struct cmx_ssh_handlers cmx_relay_handlers; /* arg: the relay */
/* The local socket takes bytes again: what waits goes to it. */
void cmx_relay_drain(struct relay *r);
/* One chunk from the local socket to the gateway. An error ends the session. */
CMX_MUST_USE cmx_err cmx_relay_pump(struct relay *r, struct session *s);
/* What the gateway did not take before. An error ends the session. */
CMX_MUST_USE cmx_err cmx_relay_send_held(struct relay *r);
/* Forgets what waits. */
void cmx_relay_drop_bytes(struct relay *r);

/* ---- event.c: tells the hook, if there is one ---- */
void cmx_relay_tell_opened(struct relay *r, struct session *s);
/* Nothing if it never was open, or has been told of. */
void cmx_relay_tell_closed(struct relay *r, struct session *s, cmx_err cause);
/* Counts it too. r may be NULL: no context has the port. */
void cmx_relay_tell_refused(struct session *s, struct run *r, const char *from, cmx_err cause);

/* ---- probe.c ---- */
CMX_MUST_USE cmx_err cmx_probe_step(struct session *s, struct run *r);
uint64_t cmx_probe_due(const struct run *r);
bool cmx_probe_is_out(const struct run *r);
void cmx_probe_reset(struct run *r);

#endif
