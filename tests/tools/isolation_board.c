/* isolation_board.c - a device on lwIP over a TAP: a proxied service on port 81, other services on 80 (TCP) and 5353
 * (UDP), isolation, and hostile tasks. Reads commands from standard input and prints one line per answer.
 *
 * usage: isolation_board TAP GATEWAY PORT USER KEY_FILE PIN DNS [open|quick|no-memory]
 *
 * open: without isolation; quick: a lost session is detected after 12 seconds; no-memory: isolation is requested while
 * lwIP has no memory for its raw control blocks, and this request must fail
 *
 *   tcp IP PORT                 connects: "connected" or "failed"
 *   udp IP PORT                 sends a datagram: "answered" or "silent"
 *   lookup NAME                 resolves a name: "found" or "nothing"
 *   ping IP                     sends an echo request: "answered" or "silent"
 *   as TASK tcp IP PORT         does the same as tcp, in a task named TASK
 *   as TASK fetch IP PORT       sends an HTTP request in a task named TASK, and prints the last line of the answer, or
 *                               "nothing"
 *   dhcp                        sends discover and request: "bound IP" or "nothing"
 *   renew                       sends a request by unicast to the server of the last `dhcp`: "bound IP" or "nothing"
 *   dhcp6                       sends Solicit and Request: "bound IP" or "nothing"
 *   time IP                     requests the time: "answered" or "silent"
 *   netif TAP IP                adds a second interface and sends a datagram on it at once
 *   isolate                     requests isolation again: "isolated" or "not isolated"
 *   status                      prints one line of JSON
 *   quit
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "board/lwip/stack.h"
#include "board/lwip/tap.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/why.h"
#include "cmxsafe/device/device.h"
#include "cmxsafe/device/device_isolation.h"
#include "cmxsafe/http/http.h"
#include "cmxsafe/port/lwip/filter_lwip.h"
#include "cmxsafe/port/port.h"
#include "lwip/netif.h"
#include "lwip/raw.h"
#include "lwip/tcpip.h"
#include "lwip/udp.h"
#include "port/linux/linux_port.h"
#include "tests/support/frames.h"

#define WAIT_MS 1500
#define DHCP_LEN 300

/* ---- services of the device ---- */

static cmx_err hello(struct cmx_http_request *r, void *ctx, void **state)
{
    (void)state;
    return cmx_http_reply_text(r, 200, "%s\n", (const char *)ctx);
}

static cmx_err zeros(void *state, uint8_t *out, size_t cap, size_t *len)
{
    size_t *left = state;

    *len = *left < cap ? *left : cap;
    memset(out, 0, *len);
    *left -= *len;
    return CMX_OK;
}

/* Sends many bytes, so that the caller can measure the throughput. */
static cmx_err bulk(struct cmx_http_request *r, void *ctx, void **state)
{
    size_t *left = cmx_mem_alloc(sizeof *left);

    (void)ctx;
    (void)state;
    if (!left)
        return CMX_ENOMEM;
    *left = 64u << 20;
    return cmx_http_reply_stream(r, 200, "application/octet-stream", zeros, cmx_mem_free, left);
}

static const struct cmx_http_route routes[] = {{.method = "GET", .path = "/", .begin = hello},
                                               {.method = "GET", .path = "/bulk", .begin = bulk}};
static char words[2][8] = {"hello", "open"};
static struct cmx_http_service services[] = {
    {.name = "proxied", .address = "0.0.0.0", .port = 81, .routes = routes, .n_routes = 2, .ctx = words[0]},
    {.name = "open", .address = "0.0.0.0", .port = 80, .routes = routes, .n_routes = 1, .ctx = words[1]},
};

static void echo(void *arg)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(5353)}, from;
    socklen_t len = sizeof from;
    char d[64];
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    ssize_t n;

    (void)arg;
    if (bind(fd, (struct sockaddr *)&at, sizeof at))
        return;
    while ((n = recvfrom(fd, d, sizeof d, 0, (struct sockaddr *)&from, &len)) >= 0)
        if (sendto(fd, d, (size_t)n, 0, (struct sockaddr *)&from, len) < 0)
            continue;
}

/* ---- tasks ---- */

static socklen_t address(const char *ip, unsigned port, struct sockaddr_storage *out)
{
    struct sockaddr_in *a4 = (void *)out;
    struct sockaddr_in6 *a6 = (void *)out;

    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET, ip, &a4->sin_addr) == 1) {
        a4->sin_family = AF_INET;
        a4->sin_port = htons((uint16_t)port);
        return sizeof *a4;
    }
    inet_pton(AF_INET6, ip, &a6->sin6_addr);
    a6->sin6_family = AF_INET6;
    a6->sin6_port = htons((uint16_t)port);
    return sizeof *a6;
}

static bool becomes(int fd, short events)
{
    struct pollfd p = {.fd = fd, .events = events};

    return poll(&p, 1, WAIT_MS) == 1 && (p.revents & events);
}

static const char *try_tcp(const char *ip, unsigned port)
{
    struct sockaddr_storage to;
    socklen_t len = address(ip, port, &to);
    int fd = socket(to.ss_family, SOCK_STREAM, 0), err = 0;
    socklen_t err_len = sizeof err;
    bool ok;

    fcntl(fd, F_SETFL, O_NONBLOCK);
    ok = connect(fd, (struct sockaddr *)&to, len) == 0 ||
         (errno == EINPROGRESS && becomes(fd, POLLOUT) && getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &err_len) == 0 &&
          err == 0);
    close(fd);
    return ok ? "connected" : "failed";
}

static const char *fetch(const char *ip, unsigned port)
{
    static const char request[] = "GET / HTTP/1.0\r\n\r\n";
    static char answer[2048];
    struct sockaddr_storage to;
    socklen_t len = address(ip, port, &to);
    int fd = socket(to.ss_family, SOCK_STREAM, 0);
    size_t n = 0;
    ssize_t got = 1;
    char *last;

    if (connect(fd, (struct sockaddr *)&to, len) == 0 && send(fd, request, sizeof request - 1, 0) > 0)
        while (got > 0 && n < sizeof answer - 1 && becomes(fd, POLLIN)) {
            got = recv(fd, answer + n, sizeof answer - 1 - n, 0);
            n += got > 0 ? (size_t)got : 0;
        }
    close(fd);
    while (n && answer[n - 1] == '\n')
        n--;
    answer[n] = '\0';
    last = strrchr(answer, '\n');
    return last ? last + 1 : "nothing";
}

static const char *exchange(int fd, const struct sockaddr_storage *to, socklen_t len, const void *data, size_t n)
{
    char answer[1500];
    bool ok = fd >= 0 && sendto(fd, data, n, 0, (const struct sockaddr *)to, len) == (ssize_t)n &&
              becomes(fd, POLLIN) && recv(fd, answer, sizeof answer, 0) >= 0;

    if (fd >= 0)
        close(fd);
    return ok ? "answered" : "silent";
}

static const char *try_udp(const char *ip, unsigned port)
{
    struct sockaddr_storage to;
    socklen_t len = address(ip, port, &to);

    return exchange(socket(to.ss_family, SOCK_DGRAM, 0), &to, len, "ping", 4);
}

static const char *try_ping(const char *ip)
{
    static const uint8_t request[8] = {8, 0, 0xf7, 0xff};
    struct sockaddr_storage to;
    socklen_t len = address(ip, 0, &to);

    return exchange(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP), &to, len, request, sizeof request);
}

static const char *try_lookup(const char *name)
{
    struct addrinfo *found = NULL;
    int rc = getaddrinfo(name, "1", NULL, &found);

    if (found)
        freeaddrinfo(found);
    return rc ? "nothing" : "found";
}

/* ---- a DHCP client, because Debian builds lwIP without lwIP's DHCP client ---- */

static struct cmx_ip dhcp_server, dhcp_address;

static bool dhcp_step(int fd, const struct cmx_ip *to_ip, uint8_t type, uint32_t xid, uint8_t wanted)
{
    static const uint8_t everyone[4] = {255, 255, 255, 255};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(67)};
    uint8_t d[1500];
    ssize_t n;

    memcpy(&to.sin_addr, to_ip ? (const uint8_t *)&to_ip->w[3] : everyone, 4);
    dhcp_message(d, 1, type, xid, netif_default->hwaddr, type == 3 && !to_ip ? &dhcp_server : NULL);
    if (to_ip)
        memcpy(d + 12, &dhcp_address.w[3], 4); /* ciaddr: the address to renew */
    else if (type == 3) {                      /* adds the option "requested address" */
        memcpy(d + 249, (const uint8_t[]){50, 4}, 2);
        memcpy(d + 251, &dhcp_address.w[3], 4);
        d[255] = 255;
    }
    if (sendto(fd, d, DHCP_LEN, 0, (struct sockaddr *)&to, sizeof to) != DHCP_LEN)
        return false;
    while (becomes(fd, POLLIN) && (n = recv(fd, d, sizeof d, 0)) >= 250) {
        if (cmx_packet_u32(d + 4) != xid || d[242] != wanted)
            continue;
        cmx_ip_v4(&dhcp_address, d + 16);
        if (d[243] == 54)
            cmx_ip_v4(&dhcp_server, d + 245);
        return true;
    }
    return false;
}

static int dhcp_socket(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(68)};
    int fd = socket(AF_INET, SOCK_DGRAM, 0), one = 1;

    setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&at, sizeof at))
        fprintf(stderr, "bind 68: %s\n", strerror(errno));
    return fd;
}

static void try_dhcp(bool renew)
{
    int fd = dhcp_socket();
    bool ok = renew ? dhcp_step(fd, &dhcp_server, 3, 0x2222, 5)
                    : dhcp_step(fd, NULL, 1, 0x1111, 2) && dhcp_step(fd, NULL, 3, 0x1111, 5);
    char text[64];

    close(fd);
    inet_ntop(AF_INET, &dhcp_address.w[3], text, sizeof text);
    printf("%s%s\n", ok ? "bound " : "nothing", ok ? text : "");
}

/* ---- a DHCPv6 client (RFC 8415), because Debian builds lwIP without one ---- */

static size_t put_option(uint8_t *d, unsigned code, const void *data, size_t n)
{
    put16(d, code);
    put16(d + 2, (unsigned)n);
    memcpy(d + 4, data, n);
    return 4 + n;
}

static const uint8_t *find_option(const uint8_t *d, size_t len, unsigned code, size_t *n)
{
    for (size_t at = 4; at + 4 <= len; at += 4 + cmx_packet_u16(d + at + 2)) {
        *n = cmx_packet_u16(d + at + 2);
        if (cmx_packet_u16(d + at) == code && *n <= len - at - 4)
            return d + at + 4;
    }
    return NULL;
}

/* Sends a message of this type with the device's identifier and the n bytes of options. Stores the answer in d and
 * returns its length. Returns 0 if no answer of the type `wanted` arrives. */
static size_t dhcp6_step(int fd, uint8_t type, uint8_t wanted, uint8_t *d, const uint8_t *options, size_t n)
{
    static const uint8_t duid[] = {0, 3, 0, 1, 2, 0, 0, 0, 0, 2}, elapsed[2] = {0}, xid[] = {0x33, 0x33, 0x33};
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = htons(547)};
    size_t len = 4;
    ssize_t got;

    inet_pton(AF_INET6, "ff02::1:2", &to.sin6_addr);
    to.sin6_scope_id = (uint32_t)netif_default->num + 1;
    d[0] = type;
    memcpy(d + 1, xid, 3);
    len += put_option(d + len, 1, duid, sizeof duid);
    len += put_option(d + len, 8, elapsed, sizeof elapsed);
    memcpy(d + len, options, n);
    if (sendto(fd, d, len + n, 0, (struct sockaddr *)&to, sizeof to) < 0)
        return 0;
    while (becomes(fd, POLLIN) && (got = recv(fd, d, 1500, 0)) > 4)
        if (d[0] == wanted && memcmp(d + 1, xid, 3) == 0)
            return (size_t)got;
    return 0;
}

static void try_dhcp6(void)
{
    static const uint8_t association[12] = {0, 0, 0, 1};
    struct sockaddr_in6 at = {.sin6_family = AF_INET6, .sin6_port = htons(546)};
    int fd = socket(AF_INET6, SOCK_DGRAM, 0);
    const uint8_t *server = NULL, *lease = NULL;
    size_t n, n_server = 0, n_lease = 0;
    uint8_t d[1500], more[512];
    char text[64];

    if (bind(fd, (struct sockaddr *)&at, sizeof at))
        fprintf(stderr, "bind 546: %s\n", strerror(errno));
    n = dhcp6_step(fd, 1, 2, d, more, put_option(more, 3, association, sizeof association));
    if (n) {
        server = find_option(d, n, 2, &n_server);
        lease = find_option(d, n, 3, &n_lease);
    }
    if (server && lease && n_server + n_lease + 8 <= sizeof more) {
        n = put_option(more, 2, server, n_server);
        n += put_option(more + n, 3, lease, n_lease);
        n = dhcp6_step(fd, 3, 7, d, more, n);
        lease = n ? find_option(d, n, 3, &n_lease) : NULL;
    }
    close(fd);
    if (n && lease && n_lease >= 32 && inet_ntop(AF_INET6, lease + 16, text, sizeof text))
        printf("bound %s\n", text);
    else
        puts("nothing");
}

/* Requests the time by SNTP (RFC 4330). Returns "answered" or "silent". */
static const char *try_time(const char *ip)
{
    static const uint8_t query[48] = {0x23, [40] = 1, 2, 3, 4, 5, 6, 7, 8};
    struct sockaddr_storage to;
    socklen_t len = address(ip, 123, &to);

    return exchange(socket(to.ss_family, SOCK_DGRAM, 0), &to, len, query, sizeof query);
}

/* ---- a second interface ---- */

static struct board_tap second_tap = {.mac = {2, 0, 0, 0, 7, 7}};
static struct netif second;

/* Broadcasts a datagram on the second interface as soon as it exists. The caller holds the stack's lock. */
static void shout(void)
{
    struct udp_pcb *pcb = udp_new();
    struct pbuf *p = pbuf_alloc(PBUF_TRANSPORT, 5, PBUF_RAM);

    if (pcb && p && pbuf_take(p, "shout", 5) == ERR_OK) {
        ip_set_option(pcb, SOF_BROADCAST);
        (void)udp_sendto_if(pcb, p, IP_ADDR_BROADCAST, 4444, &second);
    }
    if (p)
        pbuf_free(p);
    if (pcb)
        udp_remove(pcb);
}

static const char *add_netif(const char *tap, const char *ip)
{
    ip4_addr_t a, mask, none = {0};
    struct cmx_why why = {""};

    if (board_tap_open(&second_tap, tap, &why) != CMX_OK)
        return why.text[0] ? "no tap" : "no";
    inet_pton(AF_INET, ip, &a.addr);
    IP4_ADDR(&mask, 255, 255, 255, 0);
    LOCK_TCPIP_CORE();
    netif_add(&second, &a, &mask, &none, &second_tap, board_tap_init, tcpip_input);
    netif_set_up(&second);
    shout();
    UNLOCK_TCPIP_CORE();
    return board_tap_run(&second_tap) == CMX_OK ? "added" : "no task";
}

/* ---- memory ---- */

static bool no_memory; /* lwIP has no memory for raw control blocks */

struct raw_pcb *__real_raw_new_ip_type(u8_t type, u8_t protocol);
struct raw_pcb *__wrap_raw_new_ip_type(u8_t type, u8_t protocol);

struct raw_pcb *__wrap_raw_new_ip_type(u8_t type, u8_t protocol)
{
    return no_memory ? NULL : __real_raw_new_ip_type(type, protocol);
}

/* ---- requests by a task with another name ---- */

struct errand {
    char what[16], ip[128];
    unsigned port;
    sem_t done;
    const char *answer;
};

static void run_errand(void *arg)
{
    struct errand *e = arg;

    e->answer = strcmp(e->what, "fetch") == 0 ? fetch(e->ip, e->port) : try_tcp(e->ip, e->port);
    sem_post(&e->done);
}

static void as_task(const char *line)
{
    static struct errand e;
    char task[32];

    if (sscanf(line, "as %31s %15s %127s %u", task, e.what, e.ip, &e.port) != 4)
        return;
    sem_init(&e.done, 0, 0);
    if (cmx_port_task_start(task, 0, run_errand, &e) != CMX_OK)
        return;
    sem_wait(&e.done);
    sem_destroy(&e.done);
    puts(e.answer);
}

static unsigned sessions_up, relays_opened; /* counted by the device's hooks */

static void on_session(const char *session, const char *gateway, bool up, cmx_err err)
{
    (void)session;
    (void)gateway;
    (void)err;
    if (up)
        __atomic_add_fetch(&sessions_up, 1, __ATOMIC_RELAXED);
}

static void on_relay(const struct cmx_relay_event *event)
{
    if (event->kind == CMX_RELAY_OPENED)
        __atomic_add_fetch(&relays_opened, 1, __ATOMIC_RELAXED);
}

static void print_status(void)
{
    static char text[8192];
    struct cmx_buf b;
    struct cmx_json j;
    const char *s;

    cmx_buf_init(&b, text, sizeof text);
    cmx_json_init(&j, &b);
    cmx_json_object(&j, NULL);
    cmx_json_bool(&j, "up", cmx_device_reached());
    cmx_json_u64(&j, "sessions_up", __atomic_load_n(&sessions_up, __ATOMIC_RELAXED));
    cmx_json_u64(&j, "relays_opened", __atomic_load_n(&relays_opened, __ATOMIC_RELAXED));
    cmx_device_isolation_json(&j, "isolation");
    cmx_json_end(&j);
    puts(cmx_json_finish(&j) == CMX_OK && cmx_buf_cstr(&b, &s) == CMX_OK ? s : "{}");
}

static void obey(char *line)
{
    char word[16] = "", a[128] = "", b[128] = "";

    if (sscanf(line, "%15s %127s %127s", word, a, b) < 1)
        return;
    if (strcmp(word, "tcp") == 0)
        puts(try_tcp(a, (unsigned)strtoul(b, NULL, 10)));
    else if (strcmp(word, "udp") == 0)
        puts(try_udp(a, (unsigned)strtoul(b, NULL, 10)));
    else if (strcmp(word, "ping") == 0)
        puts(try_ping(a));
    else if (strcmp(word, "lookup") == 0)
        puts(try_lookup(a));
    else if (strcmp(word, "dhcp") == 0 || strcmp(word, "renew") == 0)
        try_dhcp(word[0] == 'r');
    else if (strcmp(word, "dhcp6") == 0)
        try_dhcp6();
    else if (strcmp(word, "time") == 0)
        puts(try_time(a));
    else if (strcmp(word, "as") == 0)
        as_task(line);
    else if (strcmp(word, "netif") == 0)
        puts(add_netif(a, b));
    else if (strcmp(word, "isolate") == 0)
        puts(cmx_device_isolate() == CMX_OK ? "isolated" : "not isolated");
    else
        print_status();
    fflush(stdout);
}

static void start_device(char **argv, const char *how)
{
    static const TaskParameters stream = {
        .local_port = 81, .forward_remote_port = 9081, .high_bw = true, .session = "one"};
    static const TaskParameters broker = {.local_port = 1883,
                                          .forward_remote_port = 8083,
                                          .direction = CMX_TASK_DIRECT,
                                          .remote_host = "127.0.0.1",
                                          .session = "one",
                                          .tasks = "other, mqtt_client_with_a_long_name"};
    static const struct cmx_device_hooks hooks = {.session = on_session, .relay = on_relay};
    static const char *pins[1];
    static struct cmx_settings s;
    struct cmx_http_server *server;

    pins[0] = argv[6];
    s = (struct cmx_settings){.remote_host = argv[2],
                              .remote_port = (int)strtol(argv[3], NULL, 10),
                              .username = argv[4],
                              .client_key_file = argv[5],
                              .host_keys = pins,
                              .n_host_keys = 1,
                              .keepalive_s = strcmp(how, "quick") == 0 ? 3 : 0,
                              .local_host = "127.0.0.1"};
    for (size_t i = 0; i < 2; i++)
        if (cmx_http_serve(&services[i], &server) != CMX_OK)
            exit(1);
    if (cmx_port_task_start("echo", 0, echo, NULL) != CMX_OK || cmx_device_forward(&s, &stream) != CMX_OK ||
        cmx_device_forward(&s, &broker) != CMX_OK)
        exit(1);
    cmx_device_set_hooks(&hooks); /* hooks may be set while the engine is running */
    no_memory = strcmp(how, "no-memory") == 0;
    if (strcmp(how, "open") != 0 && (cmx_device_isolate() == CMX_OK) == no_memory)
        exit(1);
    no_memory = false;
}

int main(int argc, char **argv)
{
    struct board_net net = {.address = "10.77.0.5/24", .gateway = "10.77.0.1", .address6 = "fd77::5/64"};
    struct cmx_device_isolation platform = {.accept_none = false};
    char line[256];
    struct cmx_why why = {""};

    if (argc < 8)
        return 2;
    net.dns = argv[7];
    platform.resolvers[0] = argv[7];
    platform.time_servers[0] = "10.77.0.1";
    platform.time_names[0] = "time.test";
    if (board_lwip_start(argv[1], &net, &why) != CMX_OK) {
        fprintf(stderr, "%s\n", why.text);
        return 1;
    }
    cmx_linux_set_filter(&cmx_lwip_filter);
    cmx_device_set_isolation(&platform);
    start_device(argv, argc < 9 ? "" : argv[8]);
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin) && strncmp(line, "quit", 4) != 0)
        obey(line);
    cmx_device_stop();
    return 0;
}
