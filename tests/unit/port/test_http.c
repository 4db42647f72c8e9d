/* Tests the HTTP server on Linux (http_mhd.c) with raw sockets: connections to its own listener, and connections that
 * the caller passes to it. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/http/http.h"
#include "cmxsafe/port/port.h"
#include "port/linux/linux_http.h"

/* ---- a service whose answers show which requests reach a route ---- */

struct counts {
    pthread_mutex_t lock;
    int begun, done, complete, streams_done;
};

static struct counts counts = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void count(int *what)
{
    pthread_mutex_lock(&counts.lock);
    (*what)++;
    pthread_mutex_unlock(&counts.lock);
}

static int counted(const int *what)
{
    int n;

    pthread_mutex_lock(&counts.lock);
    n = *what;
    pthread_mutex_unlock(&counts.lock);
    return n;
}

struct echo {
    size_t len;
    uint32_t sum;
};

static cmx_err echo_begin(struct cmx_http_request *r, void *ctx, void **state)
{
    (void)r;
    (void)ctx;
    count(&counts.begun);
    *state = cmx_mem_alloc(sizeof(struct echo));
    return *state ? CMX_OK : CMX_ENOMEM;
}

static cmx_err echo_body(struct cmx_http_request *r, void *ctx, void *state, const uint8_t *data, size_t len)
{
    struct echo *e = state;

    (void)r;
    (void)ctx;
    assert_true(len > 0);
    e->len += len;
    for (size_t i = 0; i < len; i++)
        e->sum = e->sum * 31 + data[i];
    return CMX_OK;
}

static cmx_err echo_end(struct cmx_http_request *r, void *ctx, void *state)
{
    struct echo *e = state;
    struct cmx_http_header header = {"X-Shown", "yes"};
    char text[128];
    uint32_t len = 0;
    const long long sent = cmx_http_content_length(r, &len) ? (long long)len : -1;
    int n = snprintf(text, sizeof text, "%zu %08x cl=%lld q=%.40s", e->len, e->sum, sent, cmx_http_query(r));

    (void)ctx;
    return cmx_http_reply(r, 200, "text/plain", text, (size_t)n, &header, 1);
}

static void echo_done(void *ctx, void *state, bool complete)
{
    (void)ctx;
    cmx_mem_free(state);
    count(&counts.done);
    if (complete)
        count(&counts.complete);
}

static cmx_err get_begin(struct cmx_http_request *r, void *ctx, void **state)
{
    const char *agent = cmx_http_header_get(r, "user-AGENT");

    (void)ctx;
    (void)state;
    count(&counts.begun);
    return cmx_http_reply_text(r, 200, "get %s %s", cmx_http_query(r), agent ? agent : "-");
}

static cmx_err refuse_begin(struct cmx_http_request *r, void *ctx, void **state)
{
    (void)ctx;
    (void)state;
    count(&counts.begun);
    return cmx_http_reply_text(r, 403, "no");
}

static cmx_err refuse_body(struct cmx_http_request *r, void *ctx, void *state, const uint8_t *data, size_t len)
{
    (void)r;
    (void)ctx;
    (void)state;
    (void)data;
    (void)len;
    fail_msg("body after an answer");
    return CMX_OK;
}

static cmx_err midway_body(struct cmx_http_request *r, void *ctx, void *state, const uint8_t *data, size_t len)
{
    (void)ctx;
    (void)state;
    (void)data;
    (void)len;
    return cmx_http_reply_text(r, 413, "enough");
}

static cmx_err fail_end(struct cmx_http_request *r, void *ctx, void *state)
{
    (void)r;
    (void)ctx;
    (void)state;
    return CMX_EIO;
}

struct stream {
    int left;
    bool fails;
};

static cmx_err stream_next(void *arg, uint8_t *out, size_t cap, size_t *len)
{
    struct stream *s = arg;

    if (s->left == 0)
        return s->fails ? CMX_EIO : CMX_OK;
    s->left--;
    *len = cap < 1000 ? cap : 1000;
    memset(out, 'x', *len);
    return CMX_OK;
}

static void stream_done(void *arg)
{
    cmx_mem_free(arg);
    count(&counts.streams_done);
}

static cmx_err stream_begin(struct cmx_http_request *r, void *ctx, void **state)
{
    struct stream *s = cmx_mem_alloc(sizeof *s);

    (void)ctx;
    (void)state;
    count(&counts.begun);
    if (!s)
        return CMX_ENOMEM;
    s->left = strcmp(cmx_http_query(r), "endless") == 0 ? -1 : 50;
    s->fails = strcmp(cmx_http_query(r), "fails") == 0;
    return cmx_http_reply_stream(r, 200, "application/octet-stream", stream_next, stream_done, s);
}

static cmx_err twice_begin(struct cmx_http_request *r, void *ctx, void **state)
{
    (void)ctx;
    (void)state;
    count(&counts.begun);
    assert_int_equal(cmx_http_reply_text(r, 200, "first"), CMX_OK);
    assert_int_equal(cmx_http_reply_text(r, 500, "second"), CMX_EEXIST);
    return CMX_OK;
}

static cmx_err silent_begin(struct cmx_http_request *r, void *ctx, void **state)
{
    (void)r;
    (void)ctx;
    (void)state;
    count(&counts.begun);
    return CMX_OK;
}

static const struct cmx_http_route routes[] = {
    {.method = "POST", .path = "/echo", .begin = echo_begin, .body = echo_body, .end = echo_end, .done = echo_done},
    {.method = "GET", .path = "/get", .begin = get_begin, .done = echo_done},
    {.method = "POST", .path = "/get", .begin = get_begin, .done = echo_done},
    {.method = "POST", .path = "/refuse", .begin = refuse_begin, .body = refuse_body, .done = echo_done},
    {.method = "POST", .path = "/midway", .begin = silent_begin, .body = midway_body, .done = echo_done},
    {.method = "POST", .path = "/fail", .begin = silent_begin, .end = fail_end, .done = echo_done},
    {.method = "GET", .path = "/stream", .begin = stream_begin, .done = echo_done},
    {.method = "GET", .path = "/twice", .begin = twice_begin, .done = echo_done},
    {.method = "GET", .path = "/silent", .begin = silent_begin, .done = echo_done},
};

static const struct cmx_http_service service = {
    .name = "test",
    .max_connections = 4,
    .idle_timeout_s = 1,
    .routes = routes,
    .n_routes = sizeof routes / sizeof routes[0],
};

static struct cmx_http_server *server;
static bool fed; /* connections are passed to the server, as on the board's lwIP */

/* ---- a client that sends raw bytes ---- */

static int dial_pair(void)
{
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(cmx_linux_http_feed(server, fds[1], fds[1]), CMX_OK);
    return fds[0];
}

static int dial(void)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {.tv_sec = 30};
    int fd;

    if (fed) {
        fd = dial_pair();
    } else {
        fd = socket(AF_INET, SOCK_STREAM, 0);
        addr.sin_port = htons(cmx_http_port(server));
        assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return fd;
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Reads until the server closes the connection, then closes fd. Returns `out`. */
static char *hear(int fd, char *out, size_t cap)
{
    size_t used = 0;
    ssize_t n;

    while (used + 1 < cap && (n = recv(fd, out + used, cap - used - 1, 0)) > 0)
        used += (size_t)n;
    out[used] = '\0';
    close(fd);
    return out;
}

static char *ask(const char *request, char *out, size_t cap)
{
    int fd = dial();

    say(fd, request);
    return hear(fd, out, cap);
}

#define END "Host: d\r\nConnection: close\r\n\r\n"

static void assert_has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("no '%s' in: %s", part, text);
}

/* Returns true if no request is in progress (each `begin` was followed by a `done`) and no connection is open. */
static bool quiet(void)
{
    return counted(&counts.begun) == counted(&counts.done) && !cmx_linux_http_sweep(server);
}

/* Waits until no route has a request and no connection is open. */
static void settle(void)
{
    for (int i = 0; i < 3000 && !quiet(); i++)
        cmx_port_sleep_ms(10);
    assert_true(quiet());
}

/* ---- tests ---- */

static void test_get(void **state)
{
    char out[2048];

    (void)state;
    ask("GET /get?a=%20b&c HTTP/1.1\r\nUser-Agent: me\r\n" END, out, sizeof out);
    assert_has(out, "HTTP/1.1 200");
    assert_has(out, "get a=%20b&c me");
    ask("GET /get HTTP/1.1\r\n" END, out, sizeof out);
    assert_has(out, "get  -");
}

static void test_head_is_get_without_body(void **state)
{
    char out[2048];

    (void)state;
    ask("HEAD /get HTTP/1.1\r\n" END, out, sizeof out);
    assert_has(out, "HTTP/1.1 200");
    assert_has(out, "Content-Length: 6");
    assert_null(strstr(out, "get  -"));
    ask("HEAD /stream?endless HTTP/1.1\r\n" END, out, sizeof out);
    assert_has(out, "HTTP/1.1 200");
    assert_null(strstr(out, "xx"));
}

static void test_not_there(void **state)
{
    char out[4096];

    (void)state;
    assert_has(ask("GET /none HTTP/1.1\r\n" END, out, sizeof out), "HTTP/1.1 404");
    assert_has(ask("GET /%67et HTTP/1.1\r\n" END, out, sizeof out), "HTTP/1.1 404");
    assert_has(ask("GET /get/ HTTP/1.1\r\n" END, out, sizeof out), "HTTP/1.1 404");
    assert_has(ask("GET /get%00x HTTP/1.1\r\n" END, out, sizeof out),
               "HTTP/1.1 40"); /* 404, or 400 since libmicrohttpd 1.0.3 */
    ask("PUT /get HTTP/1.1\r\n" END, out, sizeof out);
    assert_has(out, "HTTP/1.1 405");
    assert_has(out, "Allow: GET, HEAD, POST");
    ask("GET /echo HTTP/1.1\r\n" END, out, sizeof out);
    assert_has(out, "HTTP/1.1 405");
    assert_has(out, "Allow: POST\r\n");
}

static void test_target_bound(void **state)
{
    char request[CMX_HTTP_URI_MAX + 128];
    char out[4096];
    char *p;

    (void)state;
    for (int extra = 0; extra < 2; extra++) {
        p = request + sprintf(request, "GET /get?");
        memset(p, 'q', CMX_HTTP_URI_MAX - 5 + extra);
        strcpy(p + CMX_HTTP_URI_MAX - 5 + extra, " HTTP/1.1\r\n" END);
        assert_has(ask(request, out, sizeof out), extra ? "HTTP/1.1 414" : "HTTP/1.1 200");
    }
}

static void test_body_split_at_every_byte(void **state)
{
    const char *request = "POST /echo?x=1 HTTP/1.1\r\nContent-Length: 5\r\n" END "abcde";
    char out[2048];

    (void)state;
    for (size_t cut = 1; cut < strlen(request); cut++) {
        int fd = dial();

        assert_int_equal(send(fd, request, cut, MSG_NOSIGNAL), cut);
        sched_yield();
        say(fd, request + cut);
        hear(fd, out, sizeof out);
        assert_has(out, "5 0584f463 cl=5 q=x=1");
        assert_has(out, "X-Shown: yes");
    }
}

static void test_chunked_body(void **state)
{
    char out[2048];

    (void)state;
    ask("POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" END "2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n", out,
        sizeof out);
    assert_has(out, "5 0584f463 cl=-1");
    /* If a request has both Content-Length and chunks, the server uses the chunks or refuses the request. It never uses
     * Content-Length. */
    ask("POST /echo HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n" END "5\r\nabcde\r\n0\r\n\r\n", out,
        sizeof out);
    assert_true(strstr(out, "5 0584f463 cl=-1") || strstr(out, "HTTP/1.1 400"));
    ask("POST /echo HTTP/1.1\r\nContent-Length: x\r\n" END, out, sizeof out);
    assert_has(out, "HTTP/1.1 400");
}

static void test_empty_body(void **state)
{
    char out[2048];

    (void)state;
    assert_has(ask("POST /echo HTTP/1.1\r\nContent-Length: 0\r\n" END, out, sizeof out), "0 00000000 cl=0");
}

static void test_expect_continue(void **state)
{
    char out[2048] = "";
    int fd = dial();

    (void)state;
    say(fd, "POST /echo HTTP/1.1\r\nContent-Length: 5\r\nExpect: 100-continue\r\n" END);
    assert_true(recv(fd, out, 25, MSG_WAITALL) == 25);
    assert_has(out, "HTTP/1.1 100 Continue");
    say(fd, "abcde");
    assert_has(hear(fd, out, sizeof out), "5 0584f463");

    /* The request is refused before the body is sent. */
    ask("POST /refuse HTTP/1.1\r\nContent-Length: 5000000\r\nExpect: 100-continue\r\n" END, out, sizeof out);
    assert_has(out, "HTTP/1.1 403");
    assert_null(strstr(out, "100 Continue"));
}

/* Sends a head and `len` bytes of body. Stores the answer in `out` and returns `out`. */
static char *upload(const char *head, size_t len, char *out, size_t cap)
{
    static const char block[8192];
    int fd = dial();

    say(fd, head);
    while (len > 0) {
        size_t n = len < sizeof block ? len : sizeof block;

        assert_int_equal(send(fd, block, n, MSG_NOSIGNAL), n);
        len -= n;
    }
    return hear(fd, out, cap);
}

static void test_answer_before_the_end_is_read(void **state)
{
    char out[2048];

    (void)state;
    upload("POST /refuse HTTP/1.1\r\nContent-Length: 3000000\r\n" END, 3000000, out, sizeof out);
    assert_has(out, "HTTP/1.1 403");
    upload("POST /midway HTTP/1.1\r\nContent-Length: 3000000\r\n" END, 3000000, out, sizeof out);
    assert_has(out, "HTTP/1.1 413");
    upload("POST /none HTTP/1.1\r\nContent-Length: 3000000\r\n" END, 3000000, out, sizeof out);
    assert_has(out, "HTTP/1.1 404");
}

static void test_failures_answer_500(void **state)
{
    char out[2048];

    (void)state;
    assert_has(ask("POST /fail HTTP/1.1\r\nContent-Length: 2\r\n" END "ab", out, sizeof out), "HTTP/1.1 500");
    assert_has(ask("GET /silent HTTP/1.1\r\n" END, out, sizeof out), "HTTP/1.1 500");
    assert_has(ask("GET /twice HTTP/1.1\r\n" END, out, sizeof out), "first");
}

static void test_stream(void **state)
{
    static char out[80000];
    int before = counted(&counts.streams_done);

    (void)state;
    ask("GET /stream HTTP/1.1\r\n" END, out, sizeof out);
    assert_has(out, "HTTP/1.1 200");
    assert_true(strlen(out) > 50000);
    assert_has(out, "\r\n0\r\n\r\n"); /* the last chunk: the body is complete */
    ask("GET /stream?fails HTTP/1.1\r\n" END, out, sizeof out);
    assert_null(strstr(out, "\r\n0\r\n\r\n"));
    for (int i = 0; i < 1000 && counted(&counts.streams_done) < before + 2; i++)
        cmx_port_sleep_ms(10);
    assert_int_equal(counted(&counts.streams_done), before + 2);
}

static void test_stream_ends_with_its_client(void **state)
{
    int before = counted(&counts.streams_done);
    char some[3000];
    int fd = dial();

    (void)state;
    say(fd, "GET /stream?endless HTTP/1.1\r\nHost: d\r\n\r\n");
    assert_true(recv(fd, some, sizeof some, MSG_WAITALL) == sizeof some);
    close(fd);
    for (int i = 0; i < 1000 && counted(&counts.streams_done) == before; i++)
        cmx_port_sleep_ms(10);
    assert_int_equal(counted(&counts.streams_done), before + 1);
}

static void test_pipelining(void **state)
{
    char out[4096];
    char *second;

    (void)state;
    ask("GET /get?one HTTP/1.1\r\nHost: d\r\n\r\nPOST /echo HTTP/1.1\r\nHost: d\r\nContent-Length: 5\r\n\r\nabcde"
        "GET /get?two HTTP/1.1\r\n" END,
        out, sizeof out);
    assert_has(out, "get one");
    second = strstr(out, "5 0584f463");
    assert_non_null(second);
    assert_has(second, "get two");
}

static void test_complete_says_whether_all_went_well(void **state)
{
    char out[2048];
    int complete;
    int fd;

    (void)state;
    settle();
    complete = counted(&counts.complete);
    ask("POST /echo HTTP/1.1\r\nContent-Length: 5\r\n" END "abcde", out, sizeof out);
    settle();
    assert_int_equal(counted(&counts.complete), complete + 1);

    fd = dial(); /* the client vanishes in the middle of the body */
    say(fd, "POST /echo HTTP/1.1\r\nHost: d\r\nContent-Length: 500\r\n\r\nabc");
    while (counted(&counts.begun) == counted(&counts.done))
        cmx_port_sleep_ms(5);
    close(fd);
    settle();
    assert_int_equal(counted(&counts.complete), complete + 1);
}

static void test_abrupt_ends_leak_nothing(void **state)
{
    const char *request = "POST /echo HTTP/1.1\r\nHost: d\r\nContent-Length: 5\r\n\r\nabcd";
    struct linger reset = {.l_onoff = 1, .l_linger = 0};

    (void)state;
    for (size_t cut = 0; cut <= strlen(request); cut += 3) {
        int fd = dial();

        assert_int_equal(send(fd, request, cut, MSG_NOSIGNAL), cut);
        if (cut % 2)
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        close(fd);
    }
    settle();
}

static void test_idle_connections_end(void **state)
{
    char out[256];
    uint64_t start = cmx_port_now_ms();

    (void)state;
    ask("GET /get HT", out, sizeof out);
    assert_null(strstr(out, "200"));
    assert_true(cmx_port_now_ms() - start < 20000);
    /* A slow client that keeps sending is not disconnected after the idle timeout. */
    {
        const char *slow = "POST /echo HTTP/1.1\r\nContent-Length: 40\r\n" END;
        int fd = dial();

        say(fd, slow);
        for (size_t i = 0; i < 40; i++) {
            assert_int_equal(send(fd, "x", 1, MSG_NOSIGNAL), 1);
            cmx_port_sleep_ms(30);
        }
        assert_has(hear(fd, out, sizeof out), "HTTP/1.1 200");
    }
}

/* Sends a byte every 200 ms until the server answers or disconnects, for limit_ms at most. Returns the duration in ms.
 */
static uint64_t drip(int fd, const char *text, uint64_t limit_ms)
{
    const uint64_t start = cmx_port_now_ms();
    struct pollfd p = {.fd = fd, .events = POLLIN};

    while (cmx_port_now_ms() - start < limit_ms && poll(&p, 1, 200) == 0) {
        if (fed)
            (void)cmx_linux_http_sweep(server); /* a server with a listener does this in its own thread */
        if (send(fd, *text ? text++ : "x", 1, MSG_NOSIGNAL) != 1)
            break;
    }
    return cmx_port_now_ms() - start;
}

/* A client that sends only a byte now and then is disconnected. This applies to the head of a request, and to a body
 * that the client still sends after the answer. */
static void test_dripping_connections_end(void **state)
{
    char out[2048];
    int fd[4], refused = -1;

    (void)state;
    settle();
    refused = dial();
    say(refused, "POST /refuse HTTP/1.1\r\nContent-Length: 100000\r\n" END);
    assert_true(drip(refused, "", 60000) < 60000);
    close(refused);
    for (int i = 0; i < 4; i++) { /* these four occupy all connections of the service */
        fd[i] = dial();
        say(fd[i], "GET /get HTTP/1.1\r\nX: ");
    }
    assert_true(drip(fd[0], "", 60000) < 60000);
    assert_has(ask("GET /get HTTP/1.1\r\n" END, out, sizeof out), "HTTP/1.1 200");
    for (int i = 0; i < 4; i++)
        close(fd[i]);
    settle();
}

/* Connections whose request head never ends do not block an honest client: the server closes the oldest of them. */
static void test_slow_heads_starve_nobody(void **state)
{
    enum { SLOW = 200 };
    static int slow[SLOW];
    char out[2048];

    (void)state;
    settle();
    for (int i = 0; i < SLOW; i++) {
        slow[i] = dial();
        say(slow[i], "GET /get HTTP/1.1\r\nX: ");
    }
    assert_has(ask("GET /get HTTP/1.1\r\n" END, out, sizeof out), "HTTP/1.1 200"); /* fails if the client times out */
    for (int i = 0; i < SLOW; i++)
        close(slow[i]);
    settle();
}

/* A connection serves requests for a limited time. */
static void test_a_busy_connection_ends(void **state)
{
    static const char request[] = "GET /get HTTP/1.1\r\nHost: d\r\n\r\n";
    const uint64_t start = cmx_port_now_ms();
    char out[2048];
    ssize_t n = 1;
    int fd;

    (void)state;
    settle();
    fd = dial();
    while (n > 0 && cmx_port_now_ms() - start < 60000) {
        if (send(fd, request, sizeof request - 1, MSG_NOSIGNAL) != sizeof request - 1)
            break;
        n = recv(fd, out, sizeof out, 0);
        cmx_port_sleep_ms(200);
    }
    assert_true(cmx_port_now_ms() - start < 60000);
    close(fd);
    settle();
}

/* A client that has sent a second request but does not read the first answer is disconnected. */
static void test_an_answer_that_is_not_read_ends(void **state)
{
    const uint64_t start = cmx_port_now_ms();
    int begun, fd;

    (void)state;
    settle();
    begun = counted(&counts.begun);
    fd = dial();
    say(fd, "GET /stream?endless HTTP/1.1\r\nHost: d\r\n\r\nGET /get HTTP/1.1\r\nHost: d\r\n\r\n");
    while (cmx_port_now_ms() - start < 60000 && (counted(&counts.begun) == begun || !quiet())) {
        char some;

        (void)!recv(fd, &some, 1, MSG_DONTWAIT);
        cmx_port_sleep_ms(100);
    }
    assert_true(quiet());
    close(fd);
}

static void *one_more(void *arg)
{
    ask("GET /get HTTP/1.1\r\n" END, arg, 2048);
    return NULL;
}

static void test_above_the_bound_a_connection_waits(void **state)
{
    char last[2048] = "";
    char out[2048];
    int held[4];
    pthread_t thread;

    (void)state;
    settle();
    for (int i = 0; i < 4; i++) {
        held[i] = dial();
        say(held[i], "POST /echo HTTP/1.1\r\nContent-Length: 5\r\n" END "ab");
    }
    while (counted(&counts.begun) != counted(&counts.done) + 4)
        cmx_port_sleep_ms(5);
    assert_int_equal(pthread_create(&thread, NULL, one_more, last), 0);
    cmx_port_sleep_ms(100);
    assert_int_equal(counted(&counts.begun), counted(&counts.done) + 4); /* the fifth request has not begun */
    for (int i = 0; i < 4; i++) {
        say(held[i], "cde");
        assert_has(hear(held[i], out, sizeof out), "HTTP/1.1 200");
    }
    pthread_join(thread, NULL);
    assert_has(last, "HTTP/1.1 200");
}

static void test_a_thousand_requests(void **state)
{
    struct cmx_mem_stats before, after;
    char out[2048];

    (void)state;
    settle();
    cmx_mem_stats(&before);
    for (int i = 0; i < 1000; i++) {
        char request[128];

        sprintf(request, "GET /get?%d HTTP/1.1\r\n" END, i);
        ask(request, out, sizeof out);
        sprintf(request, "get %d -", i);
        assert_has(out, request);
    }
    settle();
    cmx_mem_stats(&after);
    assert_int_equal(after.live_blocks, before.live_blocks);
    assert_int_equal(after.live_bytes, before.live_bytes);
}

static void test_allocation_failures(void **state)
{
    (void)state;
    for (size_t n = 1; n <= 6; n++) {
        char out[4096];

        settle();
        cmx_mem_fail_at(n);
        ask("POST /echo HTTP/1.1\r\nContent-Length: 5\r\n" END "abcde", out, sizeof out);
        assert_true(out[0] == '\0' || strstr(out, "HTTP/1.1 500") || strstr(out, "5 0584f463"));
        ask("GET /stream HTTP/1.1\r\n" END, out, sizeof out);
        cmx_mem_fail_at(0);
        ask("GET /get HTTP/1.1\r\n" END, out, sizeof out);
        assert_has(out, "HTTP/1.1 200");
    }
    settle();
}

static void test_serve_errors(void **state)
{
    struct cmx_http_service taken = service;
    struct cmx_http_server *second = NULL;

    (void)state;
    if (fed)
        skip();
    taken.port = cmx_http_port(server);
    assert_int_equal(cmx_http_serve(&taken, &second), CMX_EBUSY);
    taken.address = "nowhere";
    assert_int_equal(cmx_http_serve(&taken, &second), CMX_EINVAL);
    taken.address = "203.0.113.1";
    assert_int_equal(cmx_http_serve(&taken, &second), CMX_EINVAL);
    taken = service; /* with the offset the port exceeds 65535 */
    taken.port = 8989;
    cmx_linux_http_set_port_offset(60000);
    assert_int_equal(cmx_http_serve(&taken, &second), CMX_EINVAL);
    cmx_linux_http_set_port_offset(0);
    assert_null(second);
    cmx_http_stop(NULL);
}

static void test_stop_ends_what_is_open(void **state)
{
    int fd;

    (void)state;
    settle();
    fd = dial();
    say(fd, "POST /echo HTTP/1.1\r\nHost: d\r\nContent-Length: 500\r\n\r\nabc");
    while (counted(&counts.begun) == counted(&counts.done))
        cmx_port_sleep_ms(5);
    cmx_http_stop(server);
    assert_int_equal(counted(&counts.begun), counted(&counts.done));
    close(fd);
    assert_int_equal(cmx_http_serve(&service, &server), CMX_OK);
}

/* ---- set-up for both kinds of connections ---- */

static cmx_err feed_start(const struct cmx_http_service *s, struct cmx_http_server *srv, void **listening)
{
    (void)s;
    (void)srv;
    *listening = NULL;
    return CMX_OK;
}

static void feed_stop(void *listening)
{
    (void)listening;
}

static const struct cmx_linux_http_listener feeder = {feed_start, feed_stop};

static int start(void **state)
{
    (void)state;
    cmx_linux_http_set_listener(fed ? &feeder : NULL);
    return cmx_http_serve(&service, &server) == CMX_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    cmx_http_stop(server);
    return counts.begun == counts.done ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get),
        cmocka_unit_test(test_head_is_get_without_body),
        cmocka_unit_test(test_not_there),
        cmocka_unit_test(test_target_bound),
        cmocka_unit_test(test_body_split_at_every_byte),
        cmocka_unit_test(test_chunked_body),
        cmocka_unit_test(test_empty_body),
        cmocka_unit_test(test_expect_continue),
        cmocka_unit_test(test_answer_before_the_end_is_read),
        cmocka_unit_test(test_failures_answer_500),
        cmocka_unit_test(test_stream),
        cmocka_unit_test(test_stream_ends_with_its_client),
        cmocka_unit_test(test_pipelining),
        cmocka_unit_test(test_complete_says_whether_all_went_well),
        cmocka_unit_test(test_abrupt_ends_leak_nothing),
        cmocka_unit_test(test_idle_connections_end),
        cmocka_unit_test(test_dripping_connections_end),
        cmocka_unit_test(test_slow_heads_starve_nobody),
        cmocka_unit_test(test_a_busy_connection_ends),
        cmocka_unit_test(test_an_answer_that_is_not_read_ends),
        cmocka_unit_test(test_above_the_bound_a_connection_waits),
        cmocka_unit_test(test_a_thousand_requests),
        cmocka_unit_test(test_allocation_failures),
        cmocka_unit_test(test_serve_errors),
        cmocka_unit_test(test_stop_ends_what_is_open),
    };
    int failed = cmocka_run_group_tests_name("own listener", tests, start, teardown);

    fed = true;
    return failed + cmocka_run_group_tests_name("connections fed in", tests, start, teardown);
}
