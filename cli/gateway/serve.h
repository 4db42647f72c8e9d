/* serve.h - the running gateway. It accepts connections in the host's network, gives each to a stock `sshd -i` in the
 * fleet's network namespace, and reads what that sshd logs. It is on no data path: the socket is sshd's own. It knows
 * who is connected, ends sessions whose key lost its rights, and those that no longer answer when their device comes
 * back. One thread, one epoll. */
#ifndef CLI_GW_SERVE_H
#define CLI_GW_SERVE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "cli/gateway/gw.h"
#include "gateway/registry/limits.h"

#define GW_LISTENERS_MAX 8
#define GW_LOG_LINE_MAX 1024 /* longer ones are cut */
#define GW_SLOTS_PER_CPU 32  /* logins under way at once; others wait in the kernel's queue, unharmed */
#define GW_SLOTS_MIN 64
#define GW_PRESSED_LOGIN_MS 10000  /* with all slots taken, a login older than that is ended */
#define GW_REGISTRY_POLL_MS 1000   /* how soon a change is seen that nobody told us of */
#define GW_PROBE_MIN_MS 600        /* an old session has that long to answer when its device logs in anew, */
#define GW_PROBE_MAX_MS 2500       /* and on slow links up to that long (four round trips) */
#define GW_PROBE_PAUSE_MS 250      /* between probes of one device: a login asks twice */
#define GW_SESSIONS_PER_KEY 64     /* a device has one a context at most; a platform's programs share that many */
#define GW_TAKEOVERS_PER_MINUTE 6  /* of one device; more are refused and logged */
#define GW_SESSION_FORWARDS_MAX 40 /* listeners of one session that are looked at */

typedef enum { GW_WATCH_LISTENER, GW_WATCH_SIGNAL, GW_WATCH_CONTROL, GW_WATCH_CLIENT, GW_WATCH_LOG } gw_watch_kind;

/* What an epoll event points to; the first member of whatever is watched. */
struct gw_watch {
    gw_watch_kind kind;
    int fd;
};

struct gw_client;

struct gw_session {
    struct gw_watch watch; /* sshd's stderr */
    struct gw_session *next;
    int tcp;     /* a second handle of the connection: to read its counters, and to cut it */
    pid_t pid;   /* sshd, leader of its process group */
    pid_t child; /* the process that holds the forwards; 0 until logged */
    bool up;     /* authenticated */
    bool ending;
    bool failed;   /* a credential of it was refused */
    char from[64]; /* "[2001:db8::7]:50412" */
    uint8_t source[16];
    char name[GW_NAME_MAX]; /* device or platform */
    char fingerprint[GW_FINGERPRINT_MAX];
    uint64_t rights; /* digest of its authorized_keys line at login */
    uint64_t started_ms;
    int64_t since;   /* Unix time of the login */
    uint64_t denied; /* forwards asked for and refused */
    char line[GW_LOG_LINE_MAX];
};

struct gw_counters {
    uint64_t accepted, refused_penalty, refused_pressed, logins, failed, ended_revoked, takeovers, takeovers_refused,
        denied, in_use, trouble;
};

/* How often a device was taken over lately. */
struct gw_history {
    struct gw_history *next;
    char name[GW_NAME_MAX];
    uint64_t probed_ms;
    uint64_t window_ms; /* start of the minute that is counted */
    unsigned takeovers;
};

struct gw_server {
    struct gw *g;
    int epoll;
    struct gw_watch listeners[GW_LISTENERS_MAX];
    size_t n_listeners;
    bool listening;
    struct gw_watch control;
    struct gw_watch signals;
    struct gw_session *sessions;
    struct gw_client *clients;
    struct gw_history *history;
    struct gw_limits limits;
    struct gw_counters counters;
    size_t n_sessions;
    size_t n_greeting; /* sessions that are not up yet */
    size_t slots;
    uint64_t registry_checked_ms;
    struct timespec registry_mtime;
    int64_t registry_inode;
    char trouble[300]; /* the last thing that kept everybody out; "" none */
    bool stopping;
};

/* Runs until SIGTERM or SIGINT. listeners: listening TCP sockets, given away. Called as the account, in the fleet's
 * network namespace. Returns CLI_*. */
int gw_server_run(struct gw *g, const int *listeners, size_t n);

/* ---- session.c ---- */
void gw_session_start(struct gw_server *s, int tcp);
void gw_session_readable(struct gw_server *s, struct gw_session *x);
/* Cuts and kills it; it is freed when sshd has been reaped. why is logged. */
void gw_session_end(struct gw_server *s, struct gw_session *x, const char *why);
void gw_sessions_reap(struct gw_server *s);
/* Ends every session whose key lost its rights, or has others now. */
void gw_sessions_recheck(struct gw_server *s);
/* All that can be known of one, as JSON. */
void gw_session_json(FILE *f, const struct gw_session *x);
/* What the registry says of a key: digest of its line and whose it is. CMX_ENOENT: nobody's. */
CMX_MUST_USE cmx_err gw_rights(struct gw_server *s, const char *fingerprint, uint64_t *digest, char *name,
                               struct gw_error *e);

/* ---- forwards.c ---- */
struct gw_forward {
    char address[GW_ADDRESS_MAX];
    uint16_t port;
};
/* Listeners that the session holds, from /proc. */
size_t gw_session_forwards(const struct gw_session *x, struct gw_forward *out, size_t cap);
/* Bytes from and to the peer, and the round trip in microseconds. False: the socket can't tell. */
bool gw_session_counters(const struct gw_session *x, uint64_t *in, uint64_t *out, uint32_t *rtt_us);

/* ---- control.c and takeover.c ---- */
bool gw_control_open(struct gw_server *s);
void gw_control_accept(struct gw_server *s);
void gw_client_readable(struct gw_server *s, struct gw_client *c);
/* Probes under way: moves them on; returns ms until it wants to be called again, -1: none. */
int gw_takeover_tick(struct gw_server *s);
/* A device logs in: answers the client when its ports are as free as they may become. True: answer at once. */
bool gw_takeover_begin(struct gw_server *s, struct gw_client *c, const char *fingerprint);

struct gw_probe {
    struct gw_session *session; /* NULL: decided */
    int fd;
    uint64_t received; /* bytes before the probe */
    uint64_t deadline_ms;
};

struct gw_client {
    struct gw_watch watch;
    struct gw_client *next;
    size_t len;
    char request[512];
    char name[GW_NAME_MAX]; /* whose sessions are probed */
    struct gw_probe probes[GW_SESSION_FORWARDS_MAX];
    size_t n_probes;
    bool follows; /* waits for the probes of another login of the same device */
    bool closing;
};
/* No probe looks at x from now on. */
void gw_takeover_forget(struct gw_server *s, const struct gw_session *x);
void gw_client_close(struct gw_server *s, struct gw_client *c);

/* Writes a line to the journal: "cmxsafe: gateway: ...". */
void gw_note(const char *fmt, ...) CMX_PRINTF(1, 2);
bool gw_watch_add(struct gw_server *s, struct gw_watch *w);

/* ---- ns.c: namespaces ---- */

/* --user mode: starts this program again inside new namespaces and waits for it. Returns its exit code. */
int gw_ns_user(struct gw *g, const int *listeners, size_t n);
/* Second half, inside: root folder, network, then the server as the account. */
int gw_ns_inside(struct gw *g, const int *listeners, size_t n);
/* Becomes the account for good. */
bool gw_become_account(uid_t uid, gid_t gid);
/* Route, sysctls and rules of the fleet's network namespace, which the caller is in. */
CMX_MUST_USE cmx_err gw_net_configure(struct gw *g, struct gw_error *e);

#endif
