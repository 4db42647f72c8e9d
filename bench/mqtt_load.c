/* mqtt_load.c - a publisher and a subscriber in one process, MQTT 3.1.1 (OASIS standard, sections 2 and 3) over TCP or
 * over TLS 1.3, so that one clock measures both sending and receiving. QoS 0, 64-byte messages, TCP_NODELAY.
 *
 *   mqtt_load PUBLISH_PORT SUBSCRIBE_PORT CA.pem|- each|spaced|kept N [IPV4-ADDRESS, default 127.0.0.1]
 *
 *   each    the publisher connects, sends CONNECT, publishes and disconnects for every message
 *   spaced  like each, but pauses for PAUSE_US after each message, as a sensor does; meanwhile it is not connected
 *   kept    the publisher stays connected; N messages one at a time give the latency, then 4 N messages with at most
 *           WINDOW in flight give the rate
 *
 * Prints the median and the 99th percentile of the latency in us, and the number of messages a second. With kept, the
 * latency is measured from publish; otherwise it also includes the publisher's connect. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WINDOW 32
#define PAUSE_US 100000
#define PAYLOAD 64
#define TOPIC "cmx/bench"
#define TOPIC_LEN (sizeof TOPIC - 1)

struct peer {
    int fd;
    SSL *tls;
};

static SSL_CTX *context;
static const char *host = "127.0.0.1";

static _Noreturn void die(const char *what)
{
    perror(what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

static double now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void put(struct peer *p, const void *data, size_t len)
{
    if (p->tls ? SSL_write(p->tls, data, (int)len) != (int)len : write(p->fd, data, len) != (ssize_t)len)
        die("write");
}

static void get(struct peer *p, unsigned char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = p->tls ? SSL_read(p->tls, data, (int)len) : read(p->fd, data, len);

        if (n <= 0)
            die("read");
        data += n;
        len -= (size_t)n;
    }
}

/* Reads one packet, whose first byte must be type and whose remaining length must be less than 128. */
static void expect(struct peer *p, unsigned type)
{
    unsigned char packet[130];

    get(p, packet, 2);
    if (packet[0] != type || packet[1] >= 128)
        die("unexpected packet");
    get(p, packet + 2, packet[1]);
}

static struct peer dial(const char *port, const char *id)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(port))};
    unsigned char connect_packet[32] = {0x10, 12, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 60, 0, 2};
    struct peer p = {socket(AF_INET, SOCK_STREAM, 0), NULL};
    int one = 1;

    if (inet_pton(AF_INET, host, &a.sin_addr) != 1)
        die("address");
    setsockopt(p.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    connect_packet[1] = 14;
    memcpy(connect_packet + 14, id, 2);
    if (connect(p.fd, (struct sockaddr *)&a, sizeof a) != 0)
        die("connect");
    if (context) {
        p.tls = SSL_new(context);
        if (!p.tls || !SSL_set_fd(p.tls, p.fd) || !SSL_set1_host(p.tls, "localhost") || SSL_connect(p.tls) != 1)
            die("TLS");
    }
    put(&p, connect_packet, 16);
    expect(&p, 0x20);
    return p;
}

static void hang_up(struct peer *p)
{
    put(p, "\xe0\0", 2);
    if (p->tls)
        SSL_shutdown(p->tls);
    SSL_free(p->tls);
    close(p->fd);
}

static void subscribe(struct peer *p)
{
    unsigned char packet[5 + TOPIC_LEN + 2] = {0x82, (unsigned char)(2 + 2 + TOPIC_LEN + 1), 0, 1, 0, TOPIC_LEN};

    memcpy(packet + 6, TOPIC, TOPIC_LEN); /* the packet's last byte, 0, is the requested QoS */
    put(p, packet, sizeof packet);
    expect(p, 0x90);
}

static void publish(struct peer *p)
{
    unsigned char packet[2 + 2 + TOPIC_LEN + PAYLOAD] = {0x30, (unsigned char)(2 + TOPIC_LEN + PAYLOAD), 0, TOPIC_LEN};

    memcpy(packet + 4, TOPIC, TOPIC_LEN);
    put(p, packet, sizeof packet);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double kept_rate(struct peer *publisher, struct peer *subscriber, int n)
{
    double start = now_us();
    int sent = 0;

    for (int got = 0; got < n; got++) {
        while (sent < n && sent - got < WINDOW) {
            publish(publisher);
            sent++;
        }
        expect(subscriber, 0x30);
    }
    return n / (now_us() - start) * 1e6;
}

static void start_tls(const char *ca)
{
    context = SSL_CTX_new(TLS_client_method());
    if (!context || !SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) ||
        !SSL_CTX_load_verify_locations(context, ca, NULL))
        die("TLS");
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
}

int main(int argc, char **argv)
{
    int spaced = argc >= 6 && !strcmp(argv[4], "spaced");
    int each = spaced || (argc >= 6 && !strcmp(argv[4], "each"));
    int n = argc >= 6 ? atoi(argv[5]) : 0;
    struct peer publisher = {-1, NULL}, subscriber;
    double *latency, start, begin;

    if (n < 1)
        return 2;
    if (argc > 6)
        host = argv[6];
    if (strcmp(argv[3], "-") != 0)
        start_tls(argv[3]);
    latency = calloc((size_t)n, sizeof *latency);
    subscriber = dial(argv[2], "su");
    subscribe(&subscriber);
    if (!each)
        publisher = dial(argv[1], "pu");
    begin = now_us();
    for (int i = 0; i < n; i++) {
        start = now_us();
        if (each)
            publisher = dial(argv[1], "pu");
        publish(&publisher);
        expect(&subscriber, 0x30);
        latency[i] = now_us() - start;
        if (each)
            hang_up(&publisher);
        if (spaced)
            usleep(PAUSE_US);
    }
    start = each ? n / (now_us() - begin) * 1e6 : kept_rate(&publisher, &subscriber, 4 * n);
    qsort(latency, (size_t)n, sizeof *latency, by_value);
    printf("%.1f %.1f %.1f\n", latency[n / 2], latency[n * 99 / 100], start);
    return 0;
}
