/* loadgen.c - generates the traffic of the benchmarks: a TCP service and its clients. PORT is a port on loopback,
 * or ADDRESS:PORT with an IPv4 address. Percentiles are in microseconds.
 *
 *   loadgen serve PORT                      serves each connection in a thread; its first byte is the mode:
 *                                           S: reads to the end, then sends a byte; G: reads a count (u64 in host
 *                                           byte order), then sends that many bytes; other: echoes all bytes
 *   loadgen bulk PORT to|from BYTES CONNS   prints MB/s over all connections
 *   loadgen echo PORT N [CLIENTS]           N round trips of 64 bytes per client, each client with its own
 *                                           connection: prints median and 99th percentile
 *   loadgen conn PORT N                     opens N connections: prints median and 99th percentile of the time from
 *                                           connect to the first byte
 *   loadgen hold PORT[,PORT]... COUNT       opens COUNT connections to each port, prints "held", and keeps them until
 *                                           standard input has a byte or ends
 *   loadgen reach PORT SECONDS              connects again and again until an echo arrives, for at most SECONDS;
 *                                           prints how many milliseconds that took
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BLOCK (256 * 1024)
#define SERVED (64 * 1024) /* bytes that the service reads in one call */

static char block[BLOCK];

static void die(const char *what)
{
    fprintf(stderr, "loadgen: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void write_all(int fd, const void *data, size_t len)
{
    const char *p = data;

    while (len > 0) {
        ssize_t n = write(fd, p, len);

        if (n <= 0)
            die("write");
        p += n;
        len -= (size_t)n;
    }
}

static void read_all(int fd, void *data, size_t len)
{
    char *p = data;

    while (len > 0) {
        ssize_t n = read(fd, p, len);

        if (n <= 0)
            die("read");
        p += n;
        len -= (size_t)n;
    }
}

static void nodelay(int fd)
{
    int one = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static struct sockaddr_in endpoint(const char *text)
{
    const char *colon = strchr(text, ':');
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(colon ? colon + 1 : text))};
    char address[INET_ADDRSTRLEN] = "127.0.0.1";

    if (colon)
        snprintf(address, sizeof address, "%.*s", (int)(colon - text), text);
    if (inet_pton(AF_INET, address, &a.sin_addr) != 1)
        die(text);
    return a;
}

static int dial(const char *port)
{
    struct sockaddr_in a = endpoint(port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    nodelay(fd);
    if (connect(fd, (struct sockaddr *)&a, sizeof a) != 0)
        die("connect");
    return fd;
}

/* Opens a connection, waits until it has echoed one byte, and returns it. */
static int dial_echo(const char *port)
{
    int fd = dial(port);
    char byte;

    write_all(fd, "E", 1);
    read_all(fd, &byte, 1);
    return fd;
}

static void *serve_one(void *arg)
{
    int fd = (int)(intptr_t)arg;
    char data[SERVED];
    uint64_t left;
    ssize_t n;
    char mode;

    nodelay(fd);
    if (read(fd, &mode, 1) != 1) {
        /* The client disconnected at once. */
    } else if (mode == 'S') {
        while (read(fd, data, sizeof data) > 0)
            ;
        (void)!write(fd, "D", 1);
    } else if (mode == 'G' && read(fd, &left, sizeof left) == sizeof left) {
        for (n = 1; left > 0 && n > 0; left -= (uint64_t)n)
            n = write(fd, block, (size_t)(left < BLOCK ? left : BLOCK));
    } else if (write(fd, &mode, 1) == 1) {
        while ((n = read(fd, data, sizeof data)) > 0)
            if (write(fd, data, (size_t)n) != n)
                break;
    }
    close(fd);
    return NULL;
}

static _Noreturn void serve(const char *port)
{
    struct sockaddr_in a = endpoint(port);
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    pthread_attr_t detached;

    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&a, sizeof a) != 0 || listen(listener, 1024) != 0)
        die("listen");
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        pthread_t thread;

        if (fd >= 0 && pthread_create(&thread, &detached, serve_one, (void *)(intptr_t)fd) != 0)
            close(fd);
    }
}

static void bulk_one(const char *port, const char *direction, uint64_t bytes)
{
    int fd = dial(port);

    if (strcmp(direction, "to") == 0) {
        write_all(fd, "S", 1);
        for (uint64_t left = bytes; left > 0; left -= left < BLOCK ? left : BLOCK)
            write_all(fd, block, (size_t)(left < BLOCK ? left : BLOCK));
        shutdown(fd, SHUT_WR);
        read_all(fd, block, 1);
        return;
    }
    write_all(fd, "G", 1);
    write_all(fd, &bytes, sizeof bytes);
    while (bytes > 0) {
        ssize_t n = read(fd, block, BLOCK);

        if (n <= 0)
            die("read");
        bytes -= (uint64_t)n;
    }
}

static int bulk(char **argv)
{
    uint64_t bytes = strtoull(argv[4], NULL, 0);
    int conns = atoi(argv[5]), failed = 0, status;
    double start = now_us();

    for (int i = 0; i < conns; i++)
        if (fork() == 0) {
            bulk_one(argv[2], argv[3], bytes / (uint64_t)conns);
            _exit(0);
        }
    for (int i = 0; i < conns; i++)
        failed |= wait(&status) < 0 || status != 0;
    printf("%.1f\n", (double)bytes / (now_us() - start));
    return failed;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void print_percentiles(double *samples, size_t n)
{
    qsort(samples, n, sizeof *samples, by_value);
    printf("%.1f %.1f\n", samples[n / 2], samples[n * 99 / 100]);
}

/* One client. It measures n samples, each over a new connection (each_connects) or all over one connection. */
struct client {
    const char *port;
    size_t n;
    int each_connects;
    double *samples;
    pthread_t thread;
};

static void *run_client(void *arg)
{
    struct client *c = arg;
    int fd = c->each_connects ? -1 : dial_echo(c->port);
    char data[64] = "E";

    for (size_t i = 0; i < c->n; i++) {
        double start = now_us();

        if (c->each_connects) {
            fd = dial_echo(c->port);
        } else {
            write_all(fd, data, sizeof data);
            read_all(fd, data, sizeof data);
        }
        c->samples[i] = now_us() - start;
        if (c->each_connects)
            close(fd);
    }
    return NULL;
}

static int latency(const char *port, const char *count, size_t clients, int each_connects)
{
    size_t n = strtoul(count, NULL, 0);
    double *samples = calloc(n * clients, sizeof *samples);
    struct client *c = calloc(clients, sizeof *c);

    if (!samples || !c || n == 0 || clients == 0)
        die("latency");
    for (size_t i = 0; i < clients; i++) {
        c[i] = (struct client){port, n, each_connects, samples + i * n, 0};
        if (pthread_create(&c[i].thread, NULL, run_client, &c[i]) != 0)
            die("thread");
    }
    for (size_t i = 0; i < clients; i++)
        pthread_join(c[i].thread, NULL);
    print_percentiles(samples, n * clients);
    free(samples);
    free(c);
    return 0;
}

static int hold(const char *port, const char *count)
{
    char byte;

    while (port) {
        const char *comma = strchr(port, ',');

        for (long i = strtol(count, NULL, 0); i > 0; i--)
            dial_echo(port);
        port = comma ? comma + 1 : NULL;
    }
    printf("held\n");
    fflush(stdout);
    return read(STDIN_FILENO, &byte, 1) < 0;
}

/* Connects and requests one echo. Waits at most a second to send and a second to receive: a tunnel that has just broken
 * may accept a connection and stay silent. */
static int try_echo(const char *port)
{
    struct sockaddr_in a = endpoint(port);
    struct timeval second = {.tv_sec = 1};
    int fd = socket(AF_INET, SOCK_STREAM, 0), good;
    char byte = 'E';

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof second);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &second, sizeof second);
    good = connect(fd, (struct sockaddr *)&a, sizeof a) == 0 && write(fd, &byte, 1) == 1 && read(fd, &byte, 1) == 1;
    close(fd);
    return good;
}

static int reach(const char *port, const char *seconds)
{
    double start = now_us(), limit = strtod(seconds, NULL) * 1e6;

    while (!try_echo(port)) {
        if (now_us() - start > limit)
            return 1;
        usleep(20 * 1000);
    }
    printf("%.0f\n", (now_us() - start) / 1000);
    return 0;
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    if (argc == 3 && !strcmp(argv[1], "serve"))
        serve(argv[2]);
    if (argc == 6 && !strcmp(argv[1], "bulk"))
        return bulk(argv);
    if ((argc == 4 || argc == 5) && !strcmp(argv[1], "echo"))
        return latency(argv[2], argv[3], argc == 5 ? strtoul(argv[4], NULL, 0) : 1, 0);
    if (argc == 4 && !strcmp(argv[1], "conn"))
        return latency(argv[2], argv[3], 1, 1);
    if (argc == 4 && !strcmp(argv[1], "hold"))
        return hold(argv[2], argv[3]);
    if (argc == 4 && !strcmp(argv[1], "reach"))
        return reach(argv[2], argv[3]);
    fprintf(stderr, "usage: see the head of loadgen.c\n");
    return 2;
}
