/* Reports a session's listeners and the bytes of its connection. An unmodified sshd reports neither, so the listeners
 * are read from /proc, and the bytes from TCP_INFO. */
#include <arpa/inet.h>
#include <dirent.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/text.h"
#include "gateway/registry/list.h"
#include "gateway/registry/registry_device.h"
#include "gateway/server/gw_access_log.h"
#include "gateway/server/gw_server.h"

/* At most this many sockets are read for one sshd, from the lowest descriptor upwards: its listeners usually have low
 * descriptors. */
#define SOCKETS_MAX 256
#define TCP_LISTEN_STATE 10

struct inode_set {
    unsigned long inode[SOCKETS_MAX];
    size_t n;
};

static void read_inodes(pid_t pid, struct inode_set *set)
{
    char path[64];
    char link[64];
    struct dirent *entry;
    DIR *dir;

    set->n = 0;
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    dir = opendir(path);
    while (dir && (entry = readdir(dir)) != NULL && set->n < SOCKETS_MAX) {
        ssize_t len = readlinkat(dirfd(dir), entry->d_name, link, sizeof link - 1);
        if (len <= 0)
            continue;
        link[len] = '\0';
        if (strncmp(link, "socket:[", 8) == 0)
            set->inode[set->n++] = strtoul(link + 8, NULL, 10);
    }
    if (dir)
        closedir(dir);
}

/* Parses a hex address from /proc/net/tcp6 (four 32-bit words) or /proc/net/tcp (one), in the host's byte order. */
static bool parse_address(const char *hex, struct gw_forward *out)
{
    uint8_t raw[CMX_IPV6_LEN];
    size_t len = strlen(hex) / 2;

    if ((len != 4 && len != 16) || cmx_text_hex_decode(raw, len, hex))
        return false;
    for (size_t i = 0; i < len; i += 4) {
        uint32_t word = (uint32_t)raw[i] << 24 | (uint32_t)raw[i + 1] << 16 | (uint32_t)raw[i + 2] << 8 | raw[i + 3];
        memcpy(raw + i, &word, 4);
    }
    return inet_ntop(len == 4 ? AF_INET : AF_INET6, raw, out->address, sizeof out->address) != NULL;
}

static int by_inode(const void *a, const void *b)
{
    const struct gw_listener *x = a;
    const struct gw_listener *y = b;

    return (x->inode > y->inode) - (x->inode < y->inode);
}

static void read_table(const char *path, struct gw_listeners *l)
{
    FILE *f = fopen(path, "re");
    char line[512];
    bool room = true;

    while (f && room && fgets(line, sizeof line, f)) {
        struct gw_listener one;
        char hex[40];
        unsigned port;
        unsigned state;

        if (sscanf(line, " %*d: %39[0-9A-F]:%X %*[0-9A-F]:%*X %X %*s %*s %*s %*s %*s %lu", hex, &port, &state,
                   &one.inode) == 4 &&
            state == TCP_LISTEN_STATE && parse_address(hex, &one.at)) {
            one.at.port = (uint16_t)port;
            room = gw_list_add(&l->list, &l->n, &l->cap, &one, sizeof one) == CMX_OK;
        }
    }
    if (f)
        fclose(f);
}

void gw_listeners_read(struct gw_listeners *l)
{
    memset(l, 0, sizeof *l);
    read_table("/proc/net/tcp6", l);
    read_table("/proc/net/tcp", l);
    if (l->n)
        qsort(l->list, l->n, sizeof *l->list, by_inode);
}

void gw_listeners_free(struct gw_listeners *l)
{
    cmx_mem_free(l->list);
    memset(l, 0, sizeof *l);
}

size_t gw_session_forwards(const struct gw_session *x, const struct gw_listeners *l, struct gw_forward *out, size_t cap)
{
    struct inode_set set;
    size_t n = 0;

    if (!x->up || x->ending || !l->n)
        return 0;
    read_inodes(x->child ? x->child : x->pid, &set);
    for (size_t i = 0; i < set.n && n < cap; i++) {
        const struct gw_listener key = {.inode = set.inode[i]};
        const struct gw_listener *found = bsearch(&key, l->list, l->n, sizeof *l->list, by_inode);

        if (found)
            out[n++] = found->at;
    }
    return n;
}

bool gw_session_counters(const struct gw_session *x, uint64_t *in, uint64_t *out, uint32_t *rtt_us)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof info;

    if (getsockopt(x->tcp, IPPROTO_TCP, TCP_INFO, &info, &len) != 0)
        return false;
    *in = info.tcpi_bytes_received;
    *out = info.tcpi_bytes_acked;
    *rtt_us = info.tcpi_rtt;
    return true;
}

bool gw_session_silence(const struct gw_session *x, uint64_t *silent_ms)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof info;

    if (getsockopt(x->tcp, IPPROTO_TCP, TCP_INFO, &info, &len) != 0)
        return false;
    *silent_ms = info.tcpi_last_data_recv;
    return true;
}

void gw_forwards_session_json(struct cmx_json *j, const struct gw_session *x, const struct gw_listeners *l)
{
    struct gw_forward forwards[GW_SESSION_FORWARDS_MAX];
    size_t n = gw_session_forwards(x, l, forwards, GW_COUNT(forwards));
    uint64_t in = 0;
    uint64_t out = 0;
    uint32_t rtt = 0;
    char serial[24];

    (void)gw_session_counters(x, &in, &out, &rtt); /* the counters stay 0 if the kernel can't report them */
    cmx_json_object(j, NULL);
    cmx_json_str(j, "name", x->name);
    cmx_json_str(j, "identity", x->address);
    cmx_json_str(j, "from", x->from);
    cmx_json_str(j, "key", x->fingerprint);
    cmx_json_str(j, "client", x->client);
    if (x->certificate.text) {
        cmx_json_str(j, "ca", x->certificate.authority);
        cmx_json_str(j, "certificate", x->certificate.id);
        snprintf(serial, sizeof serial, "%llu", (unsigned long long)x->certificate.serial);
        cmx_json_str(j, "serial", serial); /* a string, because many JSON readers keep only 53 bits of a number */
        cmx_json_i64(j, "certificate_ends", x->certificate.ends);
    }
    cmx_json_i64(j, "since", x->since);
    cmx_json_i64(j, "pid", x->pid);
    cmx_json_u64(j, "bytes_in", in);
    cmx_json_u64(j, "bytes_out", out);
    cmx_json_u64(j, "rtt_us", rtt);
    cmx_json_u64(j, "refused", x->denied);
    cmx_json_array(j, "forwards");
    for (size_t i = 0; i < n; i++) {
        char text[GW_ADDRESS_MAX + 12];
        snprintf(text, sizeof text, strchr(forwards[i].address, ':') ? "[%.45s]:%u" : "%.45s:%u", forwards[i].address,
                 forwards[i].port);
        cmx_json_str(j, NULL, text);
    }
    cmx_json_end(j);
    cmx_json_end(j);
}

/* ---- refused forwards ---- */

/* Maximum number of log lines about one session's refused forwards: a peer must not fill the journal. */
#define NOTED_MAX 5

/* Writes into the access log that sshd refused a connection to a device. The packet filter did not see this
 * connection. */
static void log_refusal(struct gw_server *s, const struct gw_session *x, const char *host, unsigned port)
{
    char path[GW_PATH_MAX];
    char line[2 * GW_ADDRESS_MAX + 24];
    struct gw_registry r;
    struct gw_device d;

    if (!s->access || !x->address[0] || gw_registry_open(&r, gw_path(s->g, "registry.db", path), false, NULL))
        return;
    if (gw_device_find_host(&r, host, &d) == CMX_OK) {
        snprintf(line, sizeof line, "%s %s %u 1", x->address, d.address, port);
        gw_access_denied(s->access, line);
    }
    gw_registry_close(&r);
}

void gw_forwards_denied(struct gw_server *s, struct gw_session *x, const char *detail)
{
    char host[GW_NAME_MAX];
    unsigned port;

    s->counters.denied++;
    if (x->history)
        x->history->refused++;
    if (x->denied++ >= NOTED_MAX)
        return;
    gw_note("%s from %s: refused %s", x->name, x->from, detail);
    if (sscanf(detail, "connect to host %63s port %u", host, &port) == 2) {
        gw_journal_add_refusal(&s->journal, x->name, host, port);
        log_refusal(s, x, host, port);
    }
}

void gw_forwards_in_use(struct gw_server *s, struct gw_session *x, unsigned long port)
{
    s->counters.in_use++;
    if (x->denied++ >= NOTED_MAX)
        return;
    gw_journal_add(&s->journal, GW_JOURNAL_CONFLICT, x->name, x->from);
    gw_note("%s from %s: refused port %lu: a live session holds it; is the same key installed on two devices?", x->name,
            x->from, port);
}
