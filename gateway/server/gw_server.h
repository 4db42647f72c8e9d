/* gw_server.h - the running gateway. It accepts connections in the host's network, passes each to a stock `sshd -i` in
 * the fleet's network namespace, and reads what that sshd logs. It is not on the data path, because sshd itself uses
 * the socket. It keeps the list of sessions, and ends sessions whose key lost its rights. When a device logs in again,
 * the gateway ends the device's older sessions that no longer answer. One thread, one epoll. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "cmxsafe/core/hash_len.h"
#include "gateway/folder/gw_folder.h"
#include "gateway/folder/gw_json.h"
#include "gateway/registry/certificate.h"
#include "gateway/registry/control_socket.h"
#include "gateway/registry/login_limits.h"
#include "gateway/registry/node.h"
#include "gateway/server/gw_claims.h"
#include "gateway/server/gw_journal.h"
#include "gateway/server/gw_note.h"
#include "gateway/server/gw_pending.h"
#include "gateway/server/gw_watch.h"

#define GW_LISTENERS_MAX 8
#define GW_LOG_LINE_MAX 1024 /* longer lines are cut */
#define GW_JUDGE_TEXT_MAX 200
#define GW_TROUBLE_MAX 300
#define GW_SLOTS_PER_CPU 32 /* maximum number of concurrent logins; further connections wait in the kernel's queue */
#define GW_SLOTS_MIN 64
/* A login needs two look-ups of a key in the registry. sshd counts no failure if a client only asks whether a key that
 * it does not have may log in, and runs its helper up to 1,023 times for one connection. */
#define GW_LOOKUPS_MAX 16
#define GW_PRESSED_LOGIN_MS 10000 /* if all slots are taken, a login older than this is ended */
#define GW_REGISTRY_POLL_MS 1000  /* interval of checks for changes of the registry that no command reported */
#define GW_RECHECK_MS 3000        /* interval of checks of the sessions while the registry can't be read */
#define GW_UNREAD_MAX_MS 60000    /* if the registry can't be read for this long, sessions and connections end */
#define ACCEPTS_AT_ONCE 16
#define ACCEPT_PAUSE_MS 200       /* after an accept has failed, no connection is accepted for this time */
#define GW_PROBE_MIN_MS 600       /* a probed session has four round trips to answer, but at least this long */
#define GW_PROBE_MAX_MS 2500      /* a probed session has at most this long to answer */
#define GW_PROBE_PAUSE_MS 250     /* shortest interval between probes of one device: each login requests them twice */
#define GW_SESSIONS_PER_KEY 64    /* a device needs at most one per context; a platform's programs share the limit */
#define GW_TAKEOVERS_PER_MINUTE 6 /* takeovers of one device's sessions; more are refused and logged */
#define GW_HELD_MAX 256           /* maximum number of slowed connections that wait for their login */
#define GW_SILENCE_CHECK_MS 2000
#define GW_TIDY_MS 500         /* interval of checks of the eBPF programs, and of removals of ended sessions' cgroups */
#define GW_JUDGE_STALE_MS 5000 /* after this long without a guard's report, the rules count as unwatched */
#define GW_WORKER_STALE_MS 30000
#define GW_TRAFFIC_MINUTES 60
#define GW_SILENCE_MAX_MS 32000    /* sshd sends two keepalives in 30 s; a peer that answers none is dead */
#define GW_FATALS_PER_MINUTE 20    /* maximum log lines about failures of sshd and refused keys, over all clients */
#define GW_PEER_REPORTS_MAX 4      /* maximum number of concurrent answers to operators of other gateways */
#define GW_PEER_FOLLOWS_MAX 16     /* maximum number of operators of other gateways who read the access log at a time */
#define GW_SESSION_FORWARDS_MAX 40 /* maximum number of listeners that are reported for one session */

struct gw_client;
struct gw_idsock;
struct gw_access_log;
struct gw_hold;

/* The certificate that a session logged in with, if it did not use an enrolled key. */
struct gw_session_certificate {
    char *text; /* "TYPE BASE64", owned; NULL: none */
    char authority[GW_NAME_MAX];
    char id[GW_CERTIFICATE_ID_MAX];
    uint64_t serial;
    int64_t ends;    /* Unix time; 0: never */
    uint64_t end_ms; /* `ends` on the clock of cmx_port_now_ms, which is never set back; 0: never */
};

/* Digests of a key's authorized_keys line, to detect changes. */
struct gw_rights {
    uint64_t line;   /* digest of the whole line */
    uint64_t fixed;  /* digest of everything except the destinations */
    uint64_t *opens; /* digests of the destinations that the key may open, sorted; owned */
    size_t n;
};

struct gw_session {
    struct gw_watch watch; /* watches sshd's stderr, its log */
    struct gw_session *next;
    int tcp;     /* the connection, of which sshd has a duplicate; used to read its counters and to end it */
    pid_t pid;   /* sshd, leader of its process group */
    pid_t child; /* the sshd process that holds the forwards; 0 until sshd logs it */
    bool up;     /* sshd has authenticated the peer */
    bool ending;
    bool revoked;        /* the KRL revokes the session's key or certificate */
    uint64_t penalty_ms; /* penalty for its source if it ends without a login; 0: GW_PENALTY_NO_LOGIN_MS */
    /* Source of the connection, such as "[2001:db8::7]:50412". */
    char from[GW_SOURCE_TEXT_MAX];
    uint8_t source[CMX_IPV6_LEN];
    char name[GW_NAME_MAX]; /* name of the device or platform */
    char fingerprint[GW_FINGERPRINT_MAX];
    struct gw_session_certificate certificate;
    char client[GW_CLIENT_MAX]; /* the peer's SSH software */
    struct gw_rights rights;
    uint64_t sshd_line;                 /* digest of the last line that sshd's helper printed; 0: unknown */
    unsigned lookups;                   /* number of requests of sshd's helper before the login */
    uint64_t number;                    /* number of the session and of its cgroup; never 0 and never reused */
    char candidate[GW_FINGERPRINT_MAX]; /* the key whose identity the session has; "": none */
    char address[GW_ADDRESS_MAX];       /* the identity; "": none */
    bool holds;                         /* the session is counted in the claim of its identity (gw_hold.h) */
    char asked[GW_FINGERPRINT_MAX];     /* the key whose identity another gateway was asked about; "": none */
    char lost_to[GW_NAME_MAX];          /* the gateway with a newer claim of the identity; "": none */
    unsigned held_by; /* number of the gateway where a live session holds ports of this identity; 0: none */
    uint64_t started_ms;
    int64_t since;              /* Unix time of the login */
    uint64_t denied;            /* number of forwards that sshd refused */
    struct gw_history *history; /* counters of its party; NULL until the login */
    size_t header_len;          /* length of a load balancer's header, which `line` holds until sshd runs */
    char line[GW_LOG_LINE_MAX];
};

struct gw_counters {
    uint64_t accepted, refused_penalty, refused_pressed, logins, failed, ended_revoked, takeovers, takeovers_refused,
        denied, in_use, trouble, certificates_refused;
};

/* Counters of a party, kept after its sessions have ended. */
struct gw_history {
    struct gw_history *next;
    char name[GW_NAME_MAX];
    char address[GW_ADDRESS_MAX]; /* the party's identity; "": none */
    uint64_t ended_in, ended_out; /* bytes of the sessions that have ended */
    /* As of the last traffic_refresh: the bytes of all sessions, ended and live, and the number of live sessions. */
    uint64_t in, out, sessions;
    uint64_t refused; /* number of forwards that sshd refused because the key does not permit them */
    uint64_t denied;  /* number of packets to this address that the packet filter refused */
    uint64_t takeovers_refused;
    uint64_t probed_ms; /* gw_takeover.c: when its sessions were last probed */
    uint64_t window_ms; /* gw_takeover.c: start of the current minute */
    unsigned takeovers; /* takeovers in that minute */
};

struct gw_minute {
    int64_t at; /* Unix time of the minute's end; a multiple of 60, so that all gateways use the same times */
    uint64_t length_ms;
    uint64_t sessions; /* sessions at the end of the minute */
    uint64_t in, out;  /* bytes from and to the peers in the minute */
    uint64_t denied;   /* packets denied in the minute */
};

struct gw_traffic {
    struct gw_minute minutes[GW_TRAFFIC_MINUTES];
    uint64_t n;     /* samples since the start; the newest is minutes[(n - 1) % GW_TRAFFIC_MINUTES] */
    int64_t minute; /* the minute of the last gw_traffic_tick, counted since 1970; 0: none yet */
    uint64_t sampled_ms;
    uint64_t in, out, denied; /* totals at the last sample */
    uint64_t denied_total;    /* denied packets, including those to targets that are not devices */
};

/* The lengths of the queues of 'cmxsafe gateway worker', as it last reported. */
struct gw_queues {
    uint64_t reported_ms; /* 0: never */
    unsigned long long checks_waiting, checks_running, events_waiting;
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
    struct gw_traffic traffic;
    struct gw_queues queues;
    unsigned lookups; /* look-ups in the registry for refused connections, in this minute */
    struct gw_limits limits;
    struct gw_pending pending;
    struct gw_journal journal;
    struct gw_counters counters;
    size_t n_sessions;
    size_t n_greeting;       /* sessions that are not up yet */
    struct gw_session *held; /* slowed connections, without an sshd yet */
    size_t n_held;
    struct gw_session *headers; /* connections from a load balancer that wait for the rest of their header */
    size_t n_headers;
    struct gw_idsock *idsock;         /* identity sockets; NULL in --user mode and in a small deployment */
    int ruleset;                      /* Landlock ruleset (gw_confine.h); -1: none */
    uint64_t last_number;             /* number of the newest session */
    char own_address[GW_ADDRESS_MAX]; /* the identity of the gateway's own probes; "": none */
    uint64_t tidied_ms;
    struct gw_watch events;       /* watches the events of idsock */
    struct gw_access_log *access; /* NULL if sessions have no identities */
    struct gw_nodes nodes;        /* the gateways of the fleet; empty: there is only this one */
    struct gw_claims claims;
    struct gw_hold *holds;
    void *holds_tree;                      /* the entries of `holds`, as a tree of tsearch(3) */
    unsigned holds_from[GW_NODES_MAX + 1]; /* for each gateway's number: how many entries it added */
    uint64_t hold_changes;
    uint64_t reclaim_ms;    /* when the routes of all claims are set again; 0: not planned */
    struct gw_watch routes; /* watches the routes that other gateways announce */
    struct gw_watch peers;  /* listens for requests from other gateways */
    pid_t reports[GW_PEER_REPORTS_MAX + GW_PEER_FOLLOWS_MAX]; /* child processes that send long answers; 0: unused */
    char judge[GW_JUDGE_TEXT_MAX]; /* what the guard found wrong with the rules, links or routes; "": nothing */
    uint64_t begun_ms;             /* when the server started */
    uint64_t judged_ms;            /* when the guard last reported; 0: never */
    char krl[CMX_SHA256_HEX];      /* digest of the KRL that all sessions were checked with; "": none */
    uint64_t rendered_ms;          /* when the server first found this KRL in the file that sshd reads; 0: not yet */
    uint64_t repairs;              /* how often the guard reported that it restored rules, routes or links */
    uint64_t silence_checked_ms;
    uint64_t locks_checked_ms;
    uint64_t fatal_window_ms;
    unsigned fatals; /* events since fatal_window_ms that count towards GW_FATALS_PER_MINUTE */
    size_t slots;
    size_t max_descriptors; /* maximum number of descriptors that this process may open */
    uint64_t crowded_ms;    /* time of the last log line that says that the sessions use up the descriptors; 0: none */
    uint64_t accept_ms;     /* no connection is accepted before this time */
    bool paused;            /* connections to the control socket and from other gateways wait until accept_ms */
    uint64_t registry_checked_ms;
    uint64_t unchecked_ms;       /* when the last check of the sessions failed; 0: it succeeded */
    uint64_t unchecked_since_ms; /* time of the first failed check since the last successful one; 0: the last check
                                    succeeded */
    struct timespec registry_mtime;
    int64_t registry_inode;
    uint64_t end_ms;  /* cmx_port_now_ms: when the next grant or evidence ends or the copy becomes stale; 0: never */
    int64_t end_wall; /* end_ms on the wall clock, which may be set forward */
    char trouble[GW_TROUBLE_MAX]; /* last failure that blocked all logins; "": none */
    bool stopping;
    bool failed; /* the server stops because of a failure */
};

/* Runs until SIGTERM or SIGINT, or until the identity sockets fail. Takes ownership of listeners (listening TCP
 * sockets), idsock and claims; idsock and claims may be NULL: sessions then have no identities. Call this as the
 * account, in the fleet's network namespace. Returns EXIT_SUCCESS or EXIT_FAILURE. */
int gw_server_run(struct gw *g, struct gw_idsock *idsock, const struct gw_claims *claims, const int *listeners,
                  size_t n);

/* ---- gw_session.c ---- */
/* Creates a session for the accepted connection tcp, and takes ownership of tcp. Does not start sshd. NULL: out of
 * memory; tcp is then closed. */
struct gw_session *gw_session_new(struct gw_server *s, int tcp, const struct sockaddr_storage *peer);
/* Sets the source that the login limits count for x, and its text for log lines: the peer's address or, through a load
 * balancer, the client's address in the balancer's header. */
void gw_session_name_source(struct gw_session *x, const struct sockaddr_storage *peer);
/* Starts x's login at once, or later if its source is slowed. Drops x if its source is refused. */
void gw_session_admit(struct gw_server *s, struct gw_session *x);
/* Closes and frees x, whose sshd was not started. */
void gw_session_discard(struct gw_session *x);
/* Returns the session that a process of sshd belongs to; NULL: none. */
struct gw_session *gw_session_of_process(const struct gw_server *s, pid_t pid);
/* Returns the session with this number; NULL: there is none, or it has ended. */
struct gw_session *gw_session_numbered(const struct gw_server *s, uint64_t number);
void gw_session_readable(struct gw_server *s, struct gw_session *x);
/* Call this first for a request of sshd's helper. If x is not up yet, stores the second line of the request, the digest
 * of the line that the helper will print. False: x was ended, because its client has caused more than GW_LOOKUPS_MAX
 * requests. */
bool gw_session_look_up(struct gw_server *s, struct gw_session *x, const char *request);
/* Closes the connection and kills sshd; x is freed when sshd has been reaped. `why` is logged. */
void gw_session_end(struct gw_server *s, struct gw_session *x, const char *why);
void gw_sessions_reap(struct gw_server *s);
/* Ends each session whose key or certificate was revoked, or whose rights changed (for the exception, see
 * gw_rights_compare). False: the check is incomplete, for example because the registry can't be read now. The loop then
 * repeats the check, so that no revocation is missed. */
bool gw_sessions_recheck(struct gw_server *s);
/* Starts the logins of slowed connections whose delay has ended. When the server stops, drops all slowed
 * connections. */
void gw_sessions_launch_held(struct gw_server *s, uint64_t now_ms);
/* Ends sessions whose peer sent nothing for GW_SILENCE_MAX_MS. */
void gw_sessions_end_silent(struct gw_server *s, uint64_t now_ms);
/* Ends sessions whose certificate has expired. */
void gw_sessions_end_expired(struct gw_server *s, uint64_t now_ms);
/* Call this when sshd's helper has refused a certificate of x. Logs and counts the refusal. */
void gw_session_refused(struct gw_server *s, const struct gw_session *x, const char *reason);

/* ---- gw_forwards.c ---- */
struct gw_forward {
    char address[GW_ADDRESS_MAX];
    uint16_t port;
};
struct gw_listener {
    unsigned long inode;
    struct gw_forward at;
};
/* All TCP listeners of the namespace, sorted by inode. The kernel's table has a line for each connection too, so it is
 * read once for many sessions. */
struct gw_listeners {
    struct gw_listener *list;
    size_t n, cap;
};
/* Reads the listeners. The list is incomplete if memory or /proc is not available. */
void gw_listeners_read(struct gw_listeners *l);
void gw_listeners_free(struct gw_listeners *l);
/* Writes the listeners that the session holds, at most cap. Returns how many it wrote. */
size_t gw_session_forwards(const struct gw_session *x, const struct gw_listeners *l, struct gw_forward *out,
                           size_t cap);
/* Reads how many bytes came from and went to the peer, and the round-trip time. False: the socket can't report them. */
bool gw_session_counters(const struct gw_session *x, uint64_t *in, uint64_t *out, uint32_t *rtt_us);
/* Reads the time since the peer's last byte. False: the socket can't report it. */
bool gw_session_silence(const struct gw_session *x, uint64_t *silent_ms);
/* Adds a JSON object with the session, its listeners and its counters. */
void gw_forwards_session_json(struct cmx_json *j, const struct gw_session *x, const struct gw_listeners *l);
/* Call this when sshd has refused a forward: gw_forwards_denied if the key does not permit it, gw_forwards_in_use if
 * another session holds the port. Both functions count and log the refusal. */
void gw_forwards_denied(struct gw_server *s, struct gw_session *x, const char *detail);
void gw_forwards_in_use(struct gw_server *s, struct gw_session *x, unsigned long port);

/* ---- gw_traffic.c: bytes of each party's sessions since the gateway started, and the last hour minute by minute.
 * Memory holds GW_TRAFFIC_MINUTES samples, and an entry for each device and platform that logged in or was the target
 * of a refused connection. There is at most one entry for each name that the registry has had since the start. ---- */
/* Returns the party's entry; creates it if there is none. NULL: out of memory. */
struct gw_history *gw_traffic_of(struct gw_server *s, const char *name);
/* Adds the session's bytes to its party's entry, before the session is freed. */
void gw_traffic_keep(struct gw_session *x);
/* Counts refused packets. text: "SOURCE TARGET PORT COUNT", the guard's report of packets that the packet filter
 * refused. */
void gw_traffic_denied(struct gw_server *s, const char *text);
/* Takes a sample if a new minute has begun since the last one. Call this about once a second. */
void gw_traffic_tick(struct gw_server *s);
/* Adds the arrays "minutes" and "parties" to the open JSON object. */
void gw_traffic_json(struct cmx_json *j, struct gw_server *s);

/* ---- gw_control.c and gw_takeover.c ---- */
bool gw_control_open(struct gw_server *s);
void gw_control_accept(struct gw_server *s);
void gw_control_readable(struct gw_server *s, struct gw_client *c);
/* Continues the probes and the requests to other gateways. Returns the ms until the next call is needed; -1: no probe
 * and no request is under way. */
int gw_takeover_tick(struct gw_server *s);
/* Begins the takeover for a device that logs in. The client gets its answer once the probes of the device's old
 * sessions and the request to another gateway (gw_peer.h) have ended; if there are none, at once. */
void gw_takeover_begin(struct gw_server *s, struct gw_client *c, const char *fingerprint);

struct gw_probe {
    uint64_t session; /* number of the probed session; 0: the probe has ended */
    int fd;
    uint64_t received; /* bytes received before the probe */
    uint64_t deadline_ms;
};

/* A request to another gateway, which holds the identity of the session that logs in. */
struct gw_question {
    int fd; /* -1: none */
    bool sent;
    uint64_t session; /* number of the session that logs in */
    unsigned node;
    uint64_t deadline_ms;
};

struct gw_client {
    struct gw_watch watch;
    uint64_t session; /* number of the session to which the peer belonged when it connected; 0: none */
    bool root;        /* the peer is root of this user namespace */
    struct gw_client *next;
    size_t len;
    char request[GW_CONTROL_REQUEST_MAX];
    char name[GW_NAME_MAX]; /* the device whose sessions are probed */
    struct gw_probe probes[GW_SESSION_FORWARDS_MAX];
    size_t n_probes;
    struct gw_question question;
    bool node;            /* the request came from another gateway */
    uint64_t deadline_ms; /* the connection is closed at this time at the latest; 0: no limit */
    bool follows;         /* another login of the same device sends the probes; this one waits for their results */
    bool closing;
};

/* Tells systemd that the unit is started (sd_notify(3), Type=notify). Does nothing without systemd. */
void gw_server_tell_ready(void);

/* ---- gw_ns.c: namespaces ---- */

/* --user mode: starts this program again inside new namespaces and waits for it. Returns its exit code. */
int gw_ns_user(struct gw *g, const int *listeners, size_t n);
/* Runs in those namespaces, as their root: sets up the root folder and the network, then runs the server with
 * GW_USER_UID as its user and group id. Returns its exit code. */
int gw_ns_inside(struct gw *g, const int *listeners, size_t n);
