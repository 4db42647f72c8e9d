#include "gateway/server/gw_access_log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cmxsafe/core/json.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/port/port.h"
#include "gateway/server/gw_access_read.h"
#include "gateway/server/gw_idsock.h"
#include "gateway/server/gw_note.h"

#define OPEN_MAX_ENTRIES 16384 /* maximum number of open connections that the log can track; others are not logged */
#define DENIED_LINES_PER_MINUTE 120

struct open_entry {
    uint64_t cookie; /* 0: free */
    int64_t since_ms;
    uint8_t consumer[CMX_IPV6_LEN];
    uint8_t target[CMX_IPV6_LEN];
    uint16_t port;
    bool active;
    bool ended; /* the connection has ended, but that could not be logged */
};

struct gw_access_log {
    const struct gw *g;
    uint8_t own[CMX_IPV6_LEN]; /* the gateway's identity, whose connections are not logged */
    int fd;
    bool failing;   /* the last write failed, and the failure was logged */
    bool any_ended; /* an entry is `ended` */
    uint64_t lost;  /* number of lost events (gw_idsock_events) that the log has already reported */
    uint64_t denied_window_ms;
    unsigned denied_lines;
    uint64_t denied_more; /* refusals in the current minute without a line: they exceeded DENIED_LINES_PER_MINUTE, or
                             the line could not be written */
    struct open_entry open[OPEN_MAX_ENTRIES];
};

static int64_t unix_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool open_file(struct gw_access_log *l)
{
    char path[GW_PATH_MAX];
    char last = '\n';
    off_t size;

    snprintf(path, sizeof path, "%s/run/access", l->g->dir);
    (void)mkdir(path, 0750); /* usually fails, because it exists; open reports other failures */
    l->fd = open(gw_access_path(l->g, 0, path), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (l->fd < 0)
        return false;
    size = lseek(l->fd, 0, SEEK_END);
    if (size > 0 && pread(l->fd, &last, 1, size - 1) == 1 && last != '\n')
        (void)!write(l->fd, "\n", 1); /* ends a line that a power cut left incomplete; write_line reports failures */
    return true;
}

/* Another program, such as logrotate, may have renamed or removed the open file. Lines in that file would be lost. */
static bool is_in_place(const struct gw_access_log *l)
{
    char path[GW_PATH_MAX];
    struct stat file;
    struct stat named;

    return fstat(l->fd, &file) == 0 && stat(gw_access_path(l->g, 0, path), &named) == 0 &&
           file.st_ino == named.st_ino && file.st_dev == named.st_dev;
}

static void rotate(struct gw_access_log *l)
{
    char from[GW_PATH_MAX];
    char to[GW_PATH_MAX];

    close(l->fd);
    for (unsigned n = GW_ACCESS_FILES - 1; n > 0; n--)
        /* Ignores errors, because a file may be missing. */
        (void)rename(gw_access_path(l->g, n - 1, from), gw_access_path(l->g, n, to));
    (void)open_file(l); /* if this fails, write_line tries again, and reports it */
}

/* Returns true if the line was written. */
static bool write_line(struct gw_access_log *l, struct cmx_json *j, struct cmx_buf *b)
{
    struct stat st;
    ssize_t n = -1;
    bool fails;

    if (cmx_json_finish(j) || cmx_buf_put_str(b, "\n"))
        return false; /* can't happen: a line is far shorter than the buffer */
    if (l->fd >= 0 && !is_in_place(l)) {
        close(l->fd);
        l->fd = -1;
    }
    if (l->fd >= 0 || open_file(l))
        n = write(l->fd, cmx_buf_data(b), cmx_buf_len(b));
    fails = n != (ssize_t)cmx_buf_len(b);
    if (fails && !l->failing)
        gw_note("the access log can't be written: %s", n < 0 ? strerror(errno) : "the disk is full");
    l->failing = fails;
    if (l->fd < 0 || fstat(l->fd, &st) != 0)
        return !fails;
    if (fails && n > 0)
        /* Remove the incomplete line; otherwise the next line would be appended to it. */
        (void)!ftruncate(l->fd, st.st_size - n);
    else if (st.st_size > GW_ACCESS_FILE_MAX)
        rotate(l);
    return !fails;
}

static void put_address(struct cmx_json *j, const char *key, const uint8_t address[CMX_IPV6_LEN])
{
    char text[GW_ADDRESS_MAX] = "";

    inet_ntop(AF_INET6, address, text, sizeof text);
    cmx_json_str(j, key, text);
}

static void begin_line(struct cmx_json *j, struct cmx_buf *b, uint8_t *memory, size_t cap, const char *event)
{
    cmx_buf_init(b, memory, cap);
    cmx_json_init(j, b);
    cmx_json_object(j, NULL);
    cmx_json_str(j, "event", event);
    cmx_json_i64(j, "at", unix_ms());
}

/* in: bytes to the target. out: bytes from the target. */
static bool write_connection(struct gw_access_log *l, const struct open_entry *o, const char *event, uint64_t in,
                             uint64_t out)
{
    uint8_t memory[512];
    struct cmx_buf b;
    struct cmx_json j;

    begin_line(&j, &b, memory, sizeof memory, event);
    cmx_json_u64(&j, "id", o->cookie);
    cmx_json_i64(&j, "since", o->since_ms);
    put_address(&j, "consumer", o->consumer);
    put_address(&j, "target", o->target);
    cmx_json_u64(&j, "port", o->port);
    cmx_json_u64(&j, "bytes_in", in);
    cmx_json_u64(&j, "bytes_out", out);
    cmx_json_end(&j);
    return write_line(l, &j, &b);
}

static bool write_note(struct gw_access_log *l, const char *event, const char *key, uint64_t value)
{
    uint8_t memory[256];
    struct cmx_buf b;
    struct cmx_json j;

    begin_line(&j, &b, memory, sizeof memory, event);
    cmx_json_u64(&j, key, value);
    cmx_json_end(&j);
    return write_line(l, &j, &b);
}

/* Returns the connection's entry or, if it has none, a free one or that of a connection that has ended. NULL: other
 * connections use every entry that may hold this cookie, so the connection is not logged. */
static struct open_entry *entry_of(struct gw_access_log *l, uint64_t cookie)
{
    struct open_entry *unused = NULL;
    struct open_entry *ended = NULL;

    for (size_t i = 0; i < 64; i++) { /* linear probing from the cookie's slot */
        struct open_entry *o = &l->open[((cookie * 0x9e3779b97f4a7c15u >> 50) + i) % OPEN_MAX_ENTRIES];
        if (o->cookie == cookie)
            return o;
        if (!o->cookie && !unused)
            unused = o;
        if (o->ended)
            ended = o;
    }
    return unused ? unused : ended;
}

/* ---- connections whose end was not logged ---- */

/* Logs connections as "cut" whose end could not be logged. all: also those that have not ended. */
static void write_cut(struct gw_access_log *l, bool all)
{
    l->any_ended = false;
    for (size_t i = 0; i < OPEN_MAX_ENTRIES; i++) {
        struct open_entry *o = &l->open[i];

        if (!o->cookie || !(o->ended || all))
            continue;
        l->any_ended = !write_connection(l, o, "cut", 0, 0);
        if (l->any_ended)
            return; /* gw_access_take or the next server tries again */
        *o = (struct open_entry){0};
    }
}

/* The formats of the lines that write_note and write_connection write: for strncmp and sscanf. */
#define START_LINE "{\"event\":\"start\","
#define CONNECTION_LINE CONNECTION_NUMBERS CONNECTION_PARTIES
#define CONNECTION_NUMBERS "{\"event\":\"%7[a-z]\",\"at\":%*d,\"id\":%" SCNu64 ",\"since\":%" SCNd64
#define CONNECTION_PARTIES ",\"consumer\":\"%45[^\"]\",\"target\":\"%45[^\"]\",\"port\":%" SCNu16

static void take_back_line(struct gw_access_log *l, const char *line)
{
    char event[8];
    char consumer[GW_ADDRESS_MAX];
    char target[GW_ADDRESS_MAX];
    struct open_entry x = {.ended = true};
    struct open_entry *o;

    if (strncmp(line, START_LINE, strlen(START_LINE)) == 0)
        memset(l->open, 0, sizeof l->open);
    if (sscanf(line, CONNECTION_LINE, event, &x.cookie, &x.since_ms, consumer, target, &x.port) != 6)
        return; /* not the beginning or the end of a connection */
    o = entry_of(l, x.cookie);
    if (!o)
        return;
    if (strcmp(event, "open") == 0 && inet_pton(AF_INET6, consumer, x.consumer) == 1 &&
        inet_pton(AF_INET6, target, x.target) == 1)
        *o = x;
    else
        *o = (struct open_entry){0};
}

/* Fills l->open with the connections that an earlier process opened and did not close. */
static void take_back_open(struct gw_access_log *l)
{
    char line[GW_ACCESS_LINE_MAX];
    struct gw_access_reader r;

    gw_access_read_begin(&r, l->g);
    while (gw_access_read_line(&r, line))
        take_back_line(l, line);
    gw_access_read_end(&r);
}

struct gw_access_log *gw_access_open(const struct gw *g, const char *own)
{
    struct gw_access_log *l = cmx_mem_alloc(sizeof *l);

    if (!l)
        return NULL;
    l->g = g;
    inet_pton(AF_INET6, own, l->own);
    if (!open_file(l)) {
        gw_note("the access log in %s/run/access can't be written: %s", g->dir, strerror(errno));
        cmx_mem_free(l);
        return NULL;
    }
    take_back_open(l);
    write_cut(l, false);
    /* This line means that the connections of an earlier process have ended. */
    (void)write_note(l, "start", "pid", (uint64_t)getpid()); /* write_line reports a failure */
    return l;
}

/* Writes how many refusals of the last minute have no line of their own. */
static void write_denied_more(struct gw_access_log *l)
{
    if (l->denied_more && write_note(l, "denied-more", "count", l->denied_more))
        l->denied_more = 0;
}

static bool in_fleet(const struct gw *g, const uint8_t address[CMX_IPV6_LEN])
{
    return memcmp(address, g->fleet.prefix, g->fleet.bits / 8) == 0;
}

/* A connection between two sessions is reported by both sessions. The log uses only the report of the session that
 * accepted it. */
static bool is_logged(const struct gw_access_log *l, const struct idsock_event *e)
{
    if (memcmp(e->remote, l->own, CMX_IPV6_LEN) == 0)
        return false;
    return e->active ? !in_fleet(l->g, e->remote) : in_fleet(l->g, e->remote);
}

static void take_event(void *arg, const struct idsock_event *e)
{
    struct gw_access_log *l = arg;
    struct open_entry *o = entry_of(l, e->cookie);

    if (!o || (e->closed ? o->cookie != e->cookie : !is_logged(l, e)))
        return;
    if (e->closed) {
        /* If the disk is full, the entry stays, and the connection is logged as "cut" later. */
        o->ended =
            !write_connection(l, o, "close", o->active ? e->sent : e->received, o->active ? e->received : e->sent);
        l->any_ended |= o->ended;
        if (!o->ended)
            o->cookie = 0;
        return;
    }
    o->ended = false;
    o->cookie = e->cookie;
    o->since_ms = unix_ms();
    o->active = e->active;
    memcpy(o->consumer, e->active ? e->local : e->remote, CMX_IPV6_LEN);
    memcpy(o->target, e->active ? e->remote : e->local, CMX_IPV6_LEN);
    o->port = e->active ? e->remote_port : e->local_port;
    (void)write_connection(l, o, "open", 0, 0); /* without this line, the one of its end suffices */
}

void gw_access_take(struct gw_access_log *l, struct gw_idsock *idsock)
{
    uint64_t lost = gw_idsock_events(idsock, take_event, l);

    if (lost > l->lost && write_note(l, "lost", "count", lost - l->lost))
        l->lost = lost;
    if (l->any_ended && !l->failing)
        write_cut(l, false);
}

void gw_access_close(struct gw_access_log *l)
{
    if (!l)
        return;
    write_cut(l, true);
    write_denied_more(l);
    if (l->fd >= 0)
        close(l->fd);
    cmx_mem_free(l);
}

void gw_access_denied(struct gw_access_log *l, const char *text)
{
    char source[GW_ADDRESS_MAX];
    char target[GW_ADDRESS_MAX];
    unsigned port;
    unsigned long long count;
    uint64_t now = cmx_port_now_ms();
    uint8_t memory[512];
    struct cmx_buf b;
    struct cmx_json j;

    if (sscanf(text, "%45s %45s %u %llu", source, target, &port, &count) != 4)
        return;
    if (now - l->denied_window_ms > 60000) {
        write_denied_more(l);
        l->denied_window_ms = now;
        l->denied_lines = 0;
    }
    if (++l->denied_lines > DENIED_LINES_PER_MINUTE) {
        l->denied_more += count;
        return;
    }
    begin_line(&j, &b, memory, sizeof memory, "denied");
    cmx_json_str(&j, "consumer", source);
    cmx_json_str(&j, "target", target);
    cmx_json_u64(&j, "port", port);
    cmx_json_u64(&j, "count", count);
    cmx_json_end(&j);
    if (!write_line(l, &j, &b))
        l->denied_more += count;
}
