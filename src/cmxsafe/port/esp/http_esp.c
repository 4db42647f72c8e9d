/* http_esp.c - implements http.h with esp_http_server. Each service is a server of its own, and each request runs in a
 * task of its own, so that a stream or an upload does not delay the next request (ESP-IDF 5.2 and later; in 5.1 a
 * service serves one request at a time). A connection serves one request, because sockets are few. Chunked requests get
 * 411. */
#ifdef ESP_PLATFORM

#include "cmxsafe/http/http.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "cmxsafe/core/log.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/port/esp/esp_defaults.h"
#include "cmxsafe/port/esp/http_reason.h"
#include "cmxsafe/port/port.h"
#include "cmxsafe/proxy/net.h"
#include "cmxsafe/proxy/peer.h"
#include "esp_http_server.h"
#include "esp_idf_version.h"

#define HAVE_ASYNC (ESP_IDF_VERSION >= ESP_IDF_VERSION_VAL(5, 2, 0))
/* True for the versions of ESP-IDF in which another task can read a request's body. In other versions the server's task
 * reads it. */
#define HAVE_ASYNC_BODIES                                                                                              \
    (ESP_IDF_VERSION >= ESP_IDF_VERSION_VAL(5, 3, 2) ||                                                                \
     (ESP_IDF_VERSION >= ESP_IDF_VERSION_VAL(5, 2, 5) && ESP_IDF_VERSION < ESP_IDF_VERSION_VAL(5, 3, 0)))

#define CHUNK 1400          /* maximum size of one read of a body or one write of a stream, in bytes */
#define DRAIN_IDLES 4       /* after an early answer, the rest of the body must arrive within this many idle timeouts */
#define SERVER_STACK 3584   /* bytes; enough for parsing heads and starting tasks */
#define HELD_MAX 8          /* maximum number of header values that a route may read */
#define STATUS_TEXT_MAX 40  /* status and reason, such as "404 Not Found", NUL included */
#define CONTENT_TYPE_MAX 96 /* NUL included */
#define IDLE_DEFAULT_S 30
/* Time limit for receiving a head. If there is a body, the limit includes its first byte, because the parser reads that
 * byte too. The server's task does nothing else meanwhile. */
#define HEAD_MS 10000
#define HEAD_CROWDED_MS 1000 /* time limit for receiving a head while other connections are open */
#define SEND_SLOWEST 128     /* bytes/s; a client that reads an answer more slowly is disconnected */
#define CONNECTIONS_DEFAULT 8
#define CONNECTIONS_LEAST 2

struct binding {
    struct cmx_http_server *server;
    const struct cmx_http_route *route;
};

struct cmx_http_server {
    httpd_handle_t httpd;
    const struct cmx_http_service *service;
    atomic_uint active; /* requests under way */
    atomic_bool stopping;
    TaskHandle_t task;         /* the server's own task; no other task uses the next three members */
    bool here;                 /* a request is being served in the server's own task */
    int head_fd;               /* the connection whose head is being read; -1: none */
    uint64_t head_since_ms;    /* when reading that head began */
    struct binding bindings[]; /* one binding for each route */
};

struct cmx_http_request {
    httpd_req_t *r;
    struct cmx_http_server *server;
    const struct cmx_http_route *route;
    char *held[HELD_MAX]; /* header values that the route has read; owned */
    size_t n_held;
    bool head;     /* the method is HEAD: no body is sent */
    bool answered; /* the route has answered; a stream may still have to be sent */
    bool sent;     /* the whole answer was sent */
    cmx_http_next_fn next;
    cmx_http_done_fn done;
    void *state;
    char status[STATUS_TEXT_MAX], type[CONTENT_TYPE_MAX];
};

/* ---- answers ---- */

/* Sets status, type and Connection. esp_http_server keeps the pointers, so the strings live in the request. */
static void set_head(struct cmx_http_request *q, int status, const char *content_type)
{
    snprintf(q->status, sizeof q->status, "%d %s", status, http_reason_text(status));
    snprintf(q->type, sizeof q->type, "%s", content_type ? content_type : "text/plain");
    (void)httpd_resp_set_status(q->r, q->status); /* the three calls fail only for NULL */
    (void)httpd_resp_set_type(q->r, q->type);
    (void)httpd_resp_set_hdr(q->r, "Connection", "close");
    q->answered = true;
}

/* Sends the response to a HEAD request, that is, only the status line and the headers. esp_http_server itself would
 * send "Content-Length: 0". framing: the Content-Length or Transfer-Encoding header that the response to GET would have
 * (RFC 9110 section 9.3.2). */
static esp_err_t send_head_only(struct cmx_http_request *q, const char *framing, const struct cmx_http_header *headers,
                                size_t n)
{
    char line[256];
    int used = snprintf(line, sizeof line, "HTTP/1.1 %s\r\nContent-Type: %s\r\n%s\r\nConnection: close\r\n", q->status,
                        q->type, framing);

    if (httpd_send(q->r, line, (size_t)used) != used)
        return ESP_FAIL;
    for (size_t i = 0; i < n; i++) {
        used = snprintf(line, sizeof line, "%s: %s\r\n", headers[i].name, headers[i].value);
        if (used < (int)sizeof line && httpd_send(q->r, line, (size_t)used) != used)
            return ESP_FAIL;
    }
    return httpd_send(q->r, "\r\n", 2) == 2 ? ESP_OK : ESP_FAIL;
}

cmx_err cmx_http_reply(struct cmx_http_request *q, int status, const char *content_type, const void *body, size_t len,
                       const struct cmx_http_header *headers, size_t n_headers)
{
    char length[32];
    esp_err_t rc = ESP_OK;

    if (q->answered)
        return CMX_EEXIST;
    if (n_headers > CMX_HTTP_HEADERS_MAX)
        return CMX_EINVAL;
    set_head(q, status, content_type);
    if (q->head) {
        snprintf(length, sizeof length, "Content-Length: %u", (unsigned)len);
        rc = send_head_only(q, length, headers, n_headers);
    } else {
        for (size_t i = 0; i < n_headers && rc == ESP_OK; i++)
            rc = httpd_resp_set_hdr(q->r, headers[i].name, headers[i].value);
        if (rc == ESP_OK)
            rc = httpd_resp_send(q->r, len ? body : "", (ssize_t)len);
    }
    q->sent = rc == ESP_OK;
    return http_reason_error(rc);
}

cmx_err cmx_http_reply_stream(struct cmx_http_request *q, int status, const char *content_type, cmx_http_next_fn next,
                              cmx_http_done_fn done, void *state)
{
    if (q->answered) {
        if (done)
            done(state);
        return CMX_EEXIST;
    }
    set_head(q, status, content_type);
    q->next = next; /* the stream is sent after the last callback of the route */
    q->done = done;
    q->state = state;
    return CMX_OK;
}

/* Sends the stream until it ends, an error occurs or the server stops. */
static void pump(struct cmx_http_request *q, uint8_t *chunk)
{
    size_t len = 0;
    cmx_err err = CMX_OK;

    while (!q->head && !err && !atomic_load(&q->server->stopping)) {
        len = 0;
        err = q->next(q->state, chunk, CHUNK, &len);
        if (err || !len)
            break;
        err = http_reason_error(httpd_resp_send_chunk(q->r, (const char *)chunk, (ssize_t)len));
    }
    if (q->head)
        q->sent = send_head_only(q, "Transfer-Encoding: chunked", NULL, 0) == ESP_OK;
    else if (!err && !len)
        q->sent = httpd_resp_send_chunk(q->r, NULL, 0) == ESP_OK;
    if (q->done)
        q->done(q->state);
}

/* ---- functions for routes ---- */

const char *cmx_http_query(const struct cmx_http_request *q)
{
    const char *mark = strchr(q->r->uri, '?');

    return mark ? mark + 1 : "";
}

const char *cmx_http_header_get(const struct cmx_http_request *request, const char *name)
{
    struct cmx_http_request *q = (struct cmx_http_request *)(uintptr_t)request; /* not const: held[] changes */
    size_t len = httpd_req_get_hdr_value_len(q->r, name);
    char *value;

    if (!len)
        return NULL;
    value = q->n_held < HELD_MAX ? cmx_mem_alloc(len + 1) : NULL;
    if (!value)
        return "";
    if (httpd_req_get_hdr_value_str(q->r, name, value, len + 1) != ESP_OK) {
        cmx_mem_free(value);
        return "";
    }
    q->held[q->n_held++] = value;
    return value;
}

void cmx_http_client(const struct cmx_http_request *q, char out[CMX_IP_TEXT_MAX])
{
    cmx_peer_text(httpd_req_to_sockfd(q->r), out);
}

bool cmx_http_content_length(const struct cmx_http_request *q, uint32_t *len)
{
    *len = q->r->content_len;
    return true; /* chunked requests are refused before their route is called */
}

bool cmx_http_client_gone(const struct cmx_http_request *q)
{
    char byte;
    int n = recv(httpd_req_to_sockfd(q->r), &byte, 1, MSG_PEEK | MSG_DONTWAIT);

    return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

/* ---- one request ---- */

/* Sends an error. The connection closes afterwards, so a failure to send it changes nothing. */
static void refuse(struct cmx_http_request *q, int status, const char *text)
{
    (void)!cmx_http_reply_text(q, status, "%s\n", text);
}

static unsigned idle_s(const struct cmx_http_service *service)
{
    return service->idle_timeout_s ? service->idle_timeout_s : IDLE_DEFAULT_S;
}

/* Reads the body, and passes it to `route` unless `route` is NULL. Once the route has answered or failed, drops the
 * rest for at most DRAIN_IDLES idle timeouts, so that the client reads the answer. True if the whole body was read. */
static bool read_body(struct cmx_http_request *q, const struct cmx_http_route *route, void *state, uint8_t *chunk)
{
    const struct cmx_http_service *service = q->server->service;
    size_t left = q->r->content_len;
    uint64_t end = UINT64_MAX; /* when dropping ends */

    while (left && !atomic_load(&q->server->stopping)) {
        int n = httpd_req_recv(q->r, (char *)chunk, left < CHUNK ? left : CHUNK);

        if (n <= 0) {
            if (n == HTTPD_SOCK_ERR_TIMEOUT && !q->answered)
                refuse(q, 408, "nothing received for too long");
            return false;
        }
        left -= (size_t)n;
        cmx_port_watchdog_feed(0);
        if (route && route->body && !q->answered && route->body(q, service->ctx, state, chunk, (size_t)n) != CMX_OK)
            route = NULL;
        if (end == UINT64_MAX && (!route || q->answered))
            end = cmx_port_now_ms() + idle_s(service) * 1000ull * DRAIN_IDLES;
        if (cmx_port_now_ms() >= end)
            return false;
    }
    return left == 0;
}

static void expect(struct cmx_http_request *q)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    const char *value = cmx_http_header_get(q, "Expect");

    if (value && strcasecmp(value, "100-continue") == 0)
        (void)httpd_send(q->r, go_on, sizeof go_on - 1); /* the next read reports a closed connection */
}

static void answer(struct cmx_http_request *q, uint8_t *chunk)
{
    const struct cmx_http_service *service = q->server->service;
    const struct cmx_http_route *route = q->route;
    void *state = NULL;
    cmx_err err = route->begin(q, service->ctx, &state);
    bool whole = q->r->content_len == 0;

    if (!whole && !err && !q->answered)
        expect(q);
    if (!whole)
        whole = read_body(q, err ? NULL : route, state, chunk);
    if (!err && !q->answered && whole && route->end)
        err = route->end(q, service->ctx, state);
    if (!q->answered && (err || whole))
        refuse(q, 500, cmx_err_text(err));
    if (q->next)
        pump(q, chunk);
    if (route->done)
        route->done(service->ctx, state, whole && q->sent);
}

static void handle(struct cmx_http_request *q)
{
    uint8_t *chunk = cmx_mem_alloc(CHUNK);

    if (!chunk)
        refuse(q, 503, "out of memory");
    else if (httpd_req_get_hdr_value_len(q->r, "Transfer-Encoding") > 0)
        refuse(q, 411, "send a Content-Length");
    else
        answer(q, chunk);
    cmx_mem_free(chunk);
    for (size_t i = 0; i < q->n_held; i++)
        cmx_mem_free(q->held[i]);
}

static struct cmx_http_request *new_request(httpd_req_t *r)
{
    struct binding *b = r->user_ctx;
    struct cmx_http_request *q = cmx_mem_alloc(sizeof *q);

    if (!q)
        return NULL;
    q->r = r;
    q->server = b->server;
    q->route = b->route;
    q->head = r->method == HTTP_HEAD;
    atomic_fetch_add(&b->server->active, 1);
    return q;
}

static void end_request(struct cmx_http_request *q)
{
    struct cmx_http_server *s = q->server;

    cmx_mem_free(q);
    atomic_fetch_sub(&s->active, 1);
}

/* Serves the request in the server's own task, which serves nothing else meanwhile. */
static esp_err_t serve_here(httpd_req_t *r)
{
    struct cmx_http_request *q = new_request(r);

    if (!q)
        return ESP_FAIL;
    q->server->here = true;
    handle(q);
    q->server->here = false;
    end_request(q);
    return ESP_FAIL; /* closes the connection */
}

static void wait_at_most(int fd, unsigned ms)
{
    const struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
}

/* The head is complete; the idle timeout applies from now on. */
static void head_over(httpd_req_t *r)
{
    const struct binding *b = r->user_ctx;

    b->server->head_fd = -1;
    wait_at_most(httpd_req_to_sockfd(r), idle_s(b->server->service) * 1000);
}

static void nothing(void *arg)
{
    (void)arg;
}

#if HAVE_ASYNC
static void request_task(void *arg)
{
    struct cmx_http_request *q = arg;
    httpd_handle_t httpd = q->r->handle;

    handle(q);
    /* The server closes the socket when the client has closed its side, or when another connection needs the socket.
     * Closing the descriptor here could close a newer connection that has got the same descriptor. */
    (void)shutdown(httpd_req_to_sockfd(q->r), SHUT_WR);
    (void)httpd_req_async_handler_complete(q->r); /* frees r in any case */
    (void)httpd_queue_work(httpd, nothing, NULL); /* wakes the server's task, which then polls the socket again */
    end_request(q);
}

static esp_err_t on_request(httpd_req_t *r)
{
    httpd_req_t *own = NULL;
    struct cmx_http_request *q = NULL;

    head_over(r);
    if (r->content_len && !HAVE_ASYNC_BODIES)
        return serve_here(r);
    if (httpd_req_async_handler_begin(r, &own) == ESP_OK)
        q = new_request(own);
    if (q && cmx_port_task_start(q->route->path, CONFIG_CMX_HTTP_STACK, request_task, q) == CMX_OK)
        return ESP_OK;
    if (q)
        end_request(q);
    if (own)
        (void)httpd_req_async_handler_complete(own);
    (void)httpd_resp_send_err(r, HTTPD_500_INTERNAL_SERVER_ERROR, "out of memory");
    return ESP_FAIL; /* closes the connection */
}
#else
static esp_err_t on_request(httpd_req_t *r)
{
    head_over(r);
    return serve_here(r);
}
#endif

/* ---- the server ---- */

static bool crowded(const struct cmx_http_server *s)
{
    int fds[CONFIG_LWIP_MAX_SOCKETS];
    size_t n = CONFIG_LWIP_MAX_SOCKETS;

    return httpd_get_client_list(s->httpd, &n, fds) != ESP_OK || n > 1;
}

/* False when the head that arrives on fd has taken too long. Without this limit, a client that sends a byte now and
 * then would block the server for hours. */
static bool head_in_time(struct cmx_http_server *s, int fd)
{
    const uint64_t now = cmx_port_now_ms(), limit = crowded(s) ? HEAD_CROWDED_MS : HEAD_MS;
    uint64_t took;

    if (s->head_fd != fd) {
        s->head_fd = fd;
        s->head_since_ms = now;
    }
    took = now - s->head_since_ms;
    if (took < limit)
        wait_at_most(fd, (unsigned)(limit - took));
    return took < limit;
}

static int receive(httpd_handle_t httpd, int fd, char *out, size_t cap, int flags)
{
    struct cmx_http_server *s = httpd_get_global_user_ctx(httpd);
    ssize_t n;

    if (xTaskGetCurrentTaskHandle() == s->task && !s->here && !head_in_time(s, fd))
        return HTTPD_SOCK_ERR_TIMEOUT; /* the server then answers 408 */
    n = recv(fd, out, cap, flags);
    if (n >= 0)
        return (int)n;
    return errno == EAGAIN || errno == EINTR ? HTTPD_SOCK_ERR_TIMEOUT : HTTPD_SOCK_ERR_FAIL;
}

/* Sends all of data. The time limit is an idle timeout plus the time that len bytes take at SEND_SLOWEST. */
static int transmit(httpd_handle_t httpd, int fd, const char *data, size_t len, int flags)
{
    const struct cmx_http_server *s = httpd_get_global_user_ctx(httpd);
    const uint64_t end = cmx_port_now_ms() + idle_s(s->service) * 1000ull + len * 1000ull / SEND_SLOWEST;
    size_t sent = 0;

    while (sent < len) {
        ssize_t n = send(fd, data + sent, len - sent, flags);

        if (n < 0 && errno != EINTR)
            return errno == EAGAIN ? HTTPD_SOCK_ERR_TIMEOUT : HTTPD_SOCK_ERR_FAIL;
        sent += n > 0 ? (size_t)n : 0;
        if (sent < len && cmx_port_now_ms() >= end)
            return HTTPD_SOCK_ERR_TIMEOUT;
    }
    return (int)len;
}

/* Before ESP-IDF 6.1 esp_http_server listens on every address. A service on loopback therefore closes a connection to
 * any other address before reading a byte. */
static bool is_local(const struct sockaddr_storage *at)
{
    struct cmx_ip ip;
    uint32_t port;

    return cmx_net_ip((const struct sockaddr *)at, &ip, &port) && cmx_ip_is_loopback(&ip);
}

static esp_err_t on_open(httpd_handle_t httpd, int fd)
{
    struct cmx_http_server *s = httpd_get_global_user_ctx(httpd);
    const char *address = s->service->address;
    struct sockaddr_storage at = {0};
    socklen_t len = sizeof at;

    s->task = xTaskGetCurrentTaskHandle();
    s->head_fd = -1;
    (void)httpd_sess_set_recv_override(httpd, fd, receive); /* the two calls fail only for an unknown fd */
    (void)httpd_sess_set_send_override(httpd, fd, transmit);
    if (address && strcmp(address, "127.0.0.1") != 0 && strcmp(address, "::1") != 0)
        return ESP_OK; /* the application offers the service to the network */
    return getsockname(fd, (struct sockaddr *)&at, &len) == 0 && is_local(&at) ? ESP_OK : ESP_FAIL;
}

static httpd_method_t method_of(const char *name)
{
    static const char *const names[] = {
        [HTTP_DELETE] = "DELETE", [HTTP_GET] = "GET", [HTTP_HEAD] = "HEAD", [HTTP_POST] = "POST", [HTTP_PUT] = "PUT"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(names[i], name) == 0)
            return (httpd_method_t)i;
    return HTTP_GET;
}

static esp_err_t add(struct cmx_http_server *s, struct binding *b, httpd_method_t method)
{
    return httpd_register_uri_handler(
        s->httpd, &(httpd_uri_t){.uri = b->route->path, .method = method, .handler = on_request, .user_ctx = b});
}

static esp_err_t add_routes(struct cmx_http_server *s)
{
    esp_err_t rc = ESP_OK;

    for (size_t i = 0; i < s->service->n_routes && rc == ESP_OK; i++) {
        const httpd_method_t method = method_of(s->service->routes[i].method);

        s->bindings[i] = (struct binding){s, &s->service->routes[i]};
        rc = add(s, &s->bindings[i], method);
        if (rc == ESP_OK && method == HTTP_GET)
            rc = add(s, &s->bindings[i], HTTP_HEAD);
    }
    return rc;
}

static esp_err_t start_httpd(struct cmx_http_server *s)
{
    static atomic_uint servers;
    const struct cmx_http_service *service = s->service;
    httpd_config_t c = HTTPD_DEFAULT_CONFIG();
    unsigned connections = service->max_connections ? service->max_connections : CONNECTIONS_DEFAULT;

    if (connections > CONFIG_LWIP_MAX_SOCKETS - 3) /* esp_http_server uses three sockets itself */
        connections = CONFIG_LWIP_MAX_SOCKETS - 3;
    c.server_port = service->port;
    c.ctrl_port = (uint16_t)(CONFIG_CMX_HTTP_CTRL_PORT + atomic_fetch_add(&servers, 1));
    c.max_open_sockets = (uint16_t)(connections < CONNECTIONS_LEAST ? CONNECTIONS_LEAST : connections);
    c.max_uri_handlers = (uint16_t)(2 * service->n_routes);
    c.lru_purge_enable = true; /* if all sockets are in use, a new connection replaces the one idle for longest */
    c.recv_wait_timeout = (uint16_t)idle_s(service);
    c.send_wait_timeout = c.recv_wait_timeout;
    c.stack_size = HAVE_ASYNC_BODIES ? SERVER_STACK : CONFIG_CMX_HTTP_STACK;
    c.task_priority = CONFIG_CMX_TASK_PRIORITY;
    c.open_fn = on_open;
    c.global_user_ctx = s;
    c.global_user_ctx_free_fn = nothing; /* cmx_http_stop frees s */
    return httpd_start(&s->httpd, &c);
}

cmx_err cmx_http_serve(const struct cmx_http_service *service, struct cmx_http_server **out)
{
    struct cmx_http_server *s;
    esp_err_t rc;

    if (!service->port)
        return CMX_EINVAL; /* esp_http_server would not report which port was chosen */
    s = cmx_mem_alloc(sizeof *s + service->n_routes * sizeof s->bindings[0]);
    if (!s)
        return CMX_ENOMEM;
    s->service = service;
    rc = start_httpd(s);
    if (rc == ESP_OK && add_routes(s) == ESP_OK) {
        *out = s;
        return CMX_OK;
    }
    if (rc == ESP_OK)
        (void)httpd_stop(s->httpd); /* cannot fail for a server that has just started */
    cmx_mem_free(s);
    return rc == ESP_FAIL ? CMX_EBUSY : CMX_ENOMEM; /* httpd_start returns ESP_FAIL if bind or listen failed */
}

uint16_t cmx_http_port(const struct cmx_http_server *s)
{
    return s->service->port;
}

void cmx_http_stop(struct cmx_http_server *s)
{
    if (!s)
        return;
    atomic_store(&s->stopping, true);
    while (atomic_load(&s->active))
        cmx_port_sleep_ms(10);
    (void)httpd_stop(s->httpd); /* fails only for a NULL handle */
    cmx_mem_free(s);
}

#endif
