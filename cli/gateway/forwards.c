/* Which listeners a session holds, and what its connection has carried: from /proc and TCP_INFO, since a stock sshd
 * tells neither. */
#include <arpa/inet.h>
#include <dirent.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/gateway/serve.h"
#include "cmxsafe/core/text.h"

#define SOCKETS_MAX 256 /* of one sshd: its listeners come first, relays after */
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

static bool has_inode(const struct inode_set *set, unsigned long inode)
{
    for (size_t i = 0; i < set->n; i++)
        if (set->inode[i] == inode)
            return true;
    return false;
}

/* An address of /proc/net/tcp6: four (or one) 32-bit words in the host's byte order, as hex. */
static bool parse_address(const char *hex, struct gw_forward *out)
{
    uint8_t raw[16];
    size_t len = strlen(hex) / 2;

    if ((len != 4 && len != 16) || cmx_hex_decode(raw, len, hex))
        return false;
    for (size_t i = 0; i < len; i += 4) {
        uint32_t word = (uint32_t)raw[i] << 24 | (uint32_t)raw[i + 1] << 16 | (uint32_t)raw[i + 2] << 8 | raw[i + 3];
        memcpy(raw + i, &word, 4);
    }
    return inet_ntop(len == 4 ? AF_INET : AF_INET6, raw, out->address, sizeof out->address) != NULL;
}

static size_t scan_table(const char *path, const struct inode_set *set, struct gw_forward *out, size_t cap)
{
    FILE *f = fopen(path, "re");
    char line[512];
    size_t n = 0;

    while (f && n < cap && fgets(line, sizeof line, f)) {
        char hex[40];
        unsigned port;
        unsigned state;
        unsigned long inode;

        if (sscanf(line, " %*d: %39[0-9A-F]:%X %*[0-9A-F]:%*X %X %*s %*s %*s %*s %*s %lu", hex, &port, &state,
                   &inode) == 4 &&
            state == TCP_LISTEN_STATE && has_inode(set, inode) && parse_address(hex, &out[n])) {
            out[n].port = (uint16_t)port;
            n++;
        }
    }
    if (f)
        fclose(f);
    return n;
}

size_t gw_session_forwards(const struct gw_session *x, struct gw_forward *out, size_t cap)
{
    struct inode_set set;
    size_t n;

    if (!x->up || x->ending)
        return 0;
    read_inodes(x->child ? x->child : x->pid, &set);
    n = scan_table("/proc/net/tcp6", &set, out, cap);
    return n + scan_table("/proc/net/tcp", &set, out + n, cap - n);
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
