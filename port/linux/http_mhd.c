/* http_mhd.c - implements http.h with libmicrohttpd. Each connection has a thread, so routes may block. This file
 * implements routing, HEAD, 404, 405, 414 and deadlines; the library implements the protocol.
 *
 * libmicrohttpd accepts an answer only before the first piece of a body or after its last (MHD_queue_response). An
 * answer given in between is kept and the rest of the body is drained, so that a client that is still sending reads the
 * answer instead of a reset. */
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "cmxsafe/core/log.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/http/http.h"
#include "cmxsafe/port/port.h"
#include "cmxsafe/proxy/net.h"
#include "cmxsafe/proxy/peer.h"
#include "port/linux/http_peers.h"
#include "port/linux/http_route.h"
#include "port/linux/library.h"
#include "port/linux/linux_http.h"

#define CONNECTIONS_DEFAULT 8
#define IDLE_TIMEOUT_DEFAULT_S 30
#define CONNECTION_MEMORY (32 * 1024)
#define CONNECTION_STACK (512 * 1024) /* glibc, OpenSSL and sanitizers need more stack than a device */
#define STREAM_BLOCK (16 * 1024)
#define DRAIN_MAX (64u * 1024 * 1024) /* maximum number of bytes to drain; a longer body closes the connection */
#define DRAIN_TIMEOUTS 4              /* time limit for draining, counted in idle timeouts */
/* Time limit for an answer, and for each STREAM_BLOCK bytes of a stream, counted in idle timeouts. */
#define ANSWER_TIMEOUTS 2
#define ROOM_MS 50 /* time between attempts to make room for a connection */
/* cmx_linux_http_feed limits the connections. The library's own limit is higher by this number, so that connections
 * that are still closing do not use up the library's limit: at this limit the library resets new connections and, up to
 * version 1.0.1, does not release a lock. */
#define LIBRARY_SLACK 1024

#define FUNCTIONS(X)                                                                                                   \
    X(MHD_add_connection)                                                                                              \
    X(MHD_add_response_header)                                                                                         \
    X(MHD_create_response_from_buffer)                                                                                 \
    X(MHD_create_response_from_callback)                                                                               \
    X(MHD_destroy_response)                                                                                            \
    X(MHD_get_connection_info)                                                                                         \
    X(MHD_lookup_connection_value)                                                                                     \
    X(MHD_queue_response)                                                                                              \
    X(MHD_start_daemon)                                                                                                \
    X(MHD_stop_daemon)

CMX_LIBRARY(library, lib, MHD, FUNCTIONS);

struct cmx_http_server {
    const struct cmx_http_service *service;
    struct MHD_Daemon *daemon;
    const struct cmx_linux_http_listener *listener;
    void *listening; /* state of the listener */
    uint16_t port;
    pthread_mutex_t lock; /* protects room, open and stopping */
    pthread_cond_t room;
    unsigned open; /* open connections; at most max_connections */
    bool stopping;
    struct http_peers peers; /* has its own lock */
};

/* Invariants: `route` is set before its `begin` is called, and while `route` is set, its `done` has not been called.
 * `response` is NULL or owned here; queued: the library has the response too. */
struct cmx_http_request {
    struct cmx_http_server *server;
    struct MHD_Connection *connection;
    const struct cmx_http_route *route;
    void *state;
    bool started; /* the head has been read */
    bool failed;  /* there was an error; only the route's `done` may still be called */
    bool whole;   /* the whole request has been read */
    bool queued;
    unsigned status;
    struct MHD_Response *response;
    uint64_t drained;
    size_t path_len;
    char *query; /* raw, without the '?'; points into target, or to "" */
    bool target_too_long;
    char target[]; /* path and query as received; the path is the first path_len bytes */
};

/* ---- deadlines ---- */

static struct http_peer *peer_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info = lib.MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

    return info ? info->socket_context : NULL;
}

/* Sets the deadline n idle timeouts from now; n 0: no deadline. */
static void set_deadline(const struct cmx_http_request *r, unsigned n)
{
    http_peer_set(&r->server->peers, peer_of(r->connection), n);
}

bool cmx_linux_http_sweep(struct cmx_http_server *server)
{
    bool any;

    http_peers_sweep(&server->peers);
    pthread_mutex_lock(&server->lock);
    any = server->open > 0;
    pthread_mutex_unlock(&server->lock);
    return any;
}

/* ---- the request as its route sees it ---- */

const char *cmx_http_query(const struct cmx_http_request *r)
{
    return r->query;
}

const char *cmx_http_header_get(const struct cmx_http_request *r, const char *name)
{
    return lib.MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, name);
}

bool cmx_http_content_length(const struct cmx_http_request *r, uint32_t *len)
{
    const char *value = cmx_http_header_get(r, MHD_HTTP_HEADER_CONTENT_LENGTH);
    uint64_t n;

    /* RFC 9112 section 6.3: Transfer-Encoding overrides Content-Length. */
    if (!value || cmx_http_header_get(r, MHD_HTTP_HEADER_TRANSFER_ENCODING) ||
        cmx_text_u64(value, 0, UINT64_MAX, &n) != CMX_OK)
        return false;
    *len = n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
    return true;
}

bool cmx_http_client_gone(const struct cmx_http_request *r)
{
    const union MHD_ConnectionInfo *info =
        lib.MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    char byte;
    ssize_t n = info ? recv(info->connect_fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) : 1;

    return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

void cmx_http_client(const struct cmx_http_request *r, char out[CMX_IP_TEXT_MAX])
{
    const union MHD_ConnectionInfo *i = lib.MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *client = i ? i->client_addr : NULL;
    struct cmx_ip ip;
    uint32_t port;

    out[0] = 0;
    if (cmx_net_ip(client, &ip, &port) && !cmx_ip_is_any(&ip))
        cmx_ip_text(&ip, out);
}

static cmx_err answer(struct cmx_http_request *r, int status, struct MHD_Response *response, const char *content_type)
{
    if (!response)
        return CMX_ENOMEM;
    if (r->response || (content_type &&
                        lib.MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type) != MHD_YES)) {
        cmx_err err = r->response ? CMX_EEXIST : CMX_ENOMEM;

        lib.MHD_destroy_response(response);
        return err;
    }
    r->response = response;
    r->status = (unsigned)status;
    return CMX_OK;
}

cmx_err cmx_http_reply(struct cmx_http_request *r, int status, const char *content_type, const void *body, size_t len,
                       const struct cmx_http_header *headers, size_t n_headers)
{
    struct MHD_Response *response;

    if (n_headers > CMX_HTTP_HEADERS_MAX)
        return CMX_EINVAL;
    response = lib.MHD_create_response_from_buffer(len, (void *)(uintptr_t)body, MHD_RESPMEM_MUST_COPY);
    for (size_t i = 0; response && i < n_headers; i++)
        if (lib.MHD_add_response_header(response, headers[i].name, headers[i].value) != MHD_YES) {
            lib.MHD_destroy_response(response);
            return CMX_EINVAL;
        }
    return answer(r, status, response, content_type);
}

struct stream {
    struct cmx_http_request *request;
    cmx_http_next_fn next;
    cmx_http_done_fn done;
    void *state;
};

static ssize_t stream_read(void *arg, uint64_t pos, char *out, size_t cap)
{
    struct stream *s = arg;
    size_t len = 0;
    cmx_err err;

    (void)pos;
    set_deadline(s->request, 0);
    err = s->next(s->state, (uint8_t *)out, cap, &len);
    set_deadline(s->request, ANSWER_TIMEOUTS);
    if (err || len > cap)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    return len ? (ssize_t)len : MHD_CONTENT_READER_END_OF_STREAM;
}

static void stream_free(void *arg)
{
    struct stream *s = arg;

    if (s->done)
        s->done(s->state);
    cmx_mem_free(s);
}

cmx_err cmx_http_reply_stream(struct cmx_http_request *r, int status, const char *content_type, cmx_http_next_fn next,
                              cmx_http_done_fn done, void *state)
{
    struct stream *s = cmx_mem_alloc(sizeof *s);
    struct MHD_Response *response;

    if (!s) {
        if (done)
            done(state);
        return CMX_ENOMEM;
    }
    *s = (struct stream){.request = r, .next = next, .done = done, .state = state};
    response = lib.MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK, stream_read, s, stream_free);
    if (!response)
        stream_free(s);
    return answer(r, status, response, content_type);
}

/* ---- routing ---- */

static cmx_err refuse(struct cmx_http_request *r)
{
    char allow[64];
    struct cmx_http_header header = {MHD_HTTP_HEADER_ALLOW, allow};

    if (r->target_too_long)
        return cmx_http_reply_text(r, MHD_HTTP_URI_TOO_LONG, "request target longer than %d bytes\n", CMX_HTTP_URI_MAX);
    http_route_methods(r->server->service, r->target, r->path_len, allow, sizeof allow);
    if (!allow[0])
        return cmx_http_reply_text(r, MHD_HTTP_NOT_FOUND, "not found\n");
    return cmx_http_reply(r, MHD_HTTP_METHOD_NOT_ALLOWED, "text/plain", "method not allowed\n", 19, &header, 1);
}

/* Call this with the result of each of the route's functions. After an error, call none of them except `done`. If the
 * route has not answered yet, this sends 500. False: out of memory for the answer. */
static bool settle(struct cmx_http_request *r, cmx_err err)
{
    if (err == CMX_OK)
        return true;
    r->failed = true;
    return r->response || cmx_http_reply_text(r, MHD_HTTP_INTERNAL_SERVER_ERROR, "%s\n", cmx_err_text(err)) == CMX_OK;
}

static enum MHD_Result queue(struct cmx_http_request *r)
{
    r->queued = true;
    if (http_peer_old(&r->server->peers, peer_of(r->connection)))
        (void)lib.MHD_add_response_header(r->response, MHD_HTTP_HEADER_CONNECTION, "close");
    set_deadline(r, ANSWER_TIMEOUTS);
    return lib.MHD_queue_response(r->connection, r->status, r->response);
}

/* True if the answer must not wait for the end of the request: the client awaits "100 Continue" before it sends the
 * body (RFC 9110 section 10.1.1), or the body is too large to drain. The library then closes the connection. */
static bool answer_at_once(const struct cmx_http_request *r)
{
    uint32_t len;

    return cmx_http_header_get(r, MHD_HTTP_HEADER_EXPECT) || (cmx_http_content_length(r, &len) && len > DRAIN_MAX);
}

static enum MHD_Result on_head(struct cmx_http_request *r, const char *method)
{
    const struct cmx_http_route *route =
        r->target_too_long ? NULL : http_route_find(r->server->service, r->target, r->path_len, method);
    cmx_err err;

    if (route) {
        r->route = route;
        err = route->begin ? route->begin(r, r->server->service->ctx, &r->state) : CMX_OK;
    } else {
        err = refuse(r);
    }
    if (!settle(r, err))
        return MHD_NO;
    if (r->response && answer_at_once(r))
        return queue(r);
    set_deadline(r, r->response ? DRAIN_TIMEOUTS : 0);
    return MHD_YES;
}

static enum MHD_Result on_body(struct cmx_http_request *r, const char *data, size_t len)
{
    const struct cmx_http_route *route = r->route;

    if (!r->response && !r->failed && route) {
        if (route->body && !settle(r, route->body(r, r->server->service->ctx, r->state, (const uint8_t *)data, len)))
            return MHD_NO;
        if (r->response)
            set_deadline(r, DRAIN_TIMEOUTS);
        return MHD_YES;
    }
    r->drained += len;
    return r->drained <= DRAIN_MAX ? MHD_YES : MHD_NO;
}

static enum MHD_Result on_end(struct cmx_http_request *r)
{
    const struct cmx_http_route *route = r->route;

    r->whole = true;
    set_deadline(r, 0);
    if (!r->response && !r->failed && route && route->end &&
        !settle(r, route->end(r, r->server->service->ctx, r->state)))
        return MHD_NO;
    if (!r->response && !settle(r, CMX_EINTERNAL))
        return MHD_NO;
    return queue(r);
}

/* ---- the library's callbacks ---- */

static void *on_target(void *arg, const char *uri, struct MHD_Connection *connection)
{
    size_t len = strlen(uri);
    bool too_long = len > CMX_HTTP_URI_MAX;
    struct cmx_http_request *r = cmx_mem_alloc(sizeof *r + (too_long ? 0 : len) + 1);
    char *query;

    if (!r)
        return NULL;
    r->server = arg;
    r->connection = connection;
    r->target_too_long = too_long;
    if (!too_long)
        memcpy(r->target, uri, len);
    query = strchr(r->target, '?');
    r->path_len = query ? (size_t)(query - r->target) : strlen(r->target);
    r->query = query ? query + 1 : r->target + strlen(r->target);
    return r;
}

static enum MHD_Result on_access(void *arg, struct MHD_Connection *connection, const char *url, const char *method,
                                 const char *version, const char *data, size_t *len, void **own)
{
    struct cmx_http_request *r = *own;

    (void)arg;
    (void)connection;
    (void)url;
    (void)version;
    if (!r)
        return MHD_NO;
    if (!r->started) {
        r->started = true;
        return on_head(r, method);
    }
    if (*len > 0) {
        size_t n = *len;

        *len = 0;
        return on_body(r, data, n);
    }
    return r->queued ? MHD_YES : on_end(r);
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **own, enum MHD_RequestTerminationCode why)
{
    struct cmx_http_server *server = arg;
    struct cmx_http_request *r = *own;

    http_peer_head(&server->peers, peer_of(connection));
    if (!r)
        return;
    *own = NULL;
    if (r->response)
        lib.MHD_destroy_response(r->response);
    if (r->route && r->route->done)
        r->route->done(r->server->service->ctx, r->state,
                       r->whole && r->queued && why == MHD_REQUEST_TERMINATED_COMPLETED_OK);
    cmx_mem_free(r);
}

CMX_PRINTF(2, 0) static void on_log(void *arg, const char *fmt, va_list ap)
{
    struct cmx_http_server *server = arg;
    char line[160];
    size_t len;

    vsnprintf(line, sizeof line, fmt, ap);
    len = strlen(line);
    if (len && line[len - 1] == '\n')
        line[len - 1] = '\0';
    cmx_log(CMX_LOG_DEBUG, "http", "%s: %s", server->service->name, line);
}

/* Frees p, which may be NULL, and makes room for another connection. */
static void peer_remove(struct cmx_http_server *server, struct http_peer *p)
{
    http_peer_free(&server->peers, p);
    pthread_mutex_lock(&server->lock);
    server->open--;
    pthread_cond_signal(&server->room);
    pthread_mutex_unlock(&server->lock);
}

static void on_connection(void *arg, struct MHD_Connection *connection, void **own,
                          enum MHD_ConnectionNotificationCode what)
{
    struct cmx_http_server *server = arg;
    const union MHD_ConnectionInfo *info = lib.MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);

    if (what == MHD_CONNECTION_NOTIFY_CLOSED)
        peer_remove(server, *own);
    else
        *own = info ? http_peer_new(&server->peers, info->connect_fd) : NULL;
}

/* ---- the listener ---- */

static const struct cmx_linux_http_listener *listener = &cmx_linux_http_kernel;

void cmx_linux_http_set_listener(const struct cmx_linux_http_listener *l)
{
    listener = l ? l : &cmx_linux_http_kernel;
}

void cmx_linux_http_set_port(struct cmx_http_server *server, uint16_t port)
{
    server->port = port;
}

/* ---- the server ---- */

/* The library's poll loop drops milliseconds and spins through the last second before a timeout. Its select loop does
 * neither, but cannot handle descriptors from FD_SETSIZE on, so it is used only if the limit of open files permits no
 * such descriptors. */
static unsigned poll_flags(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur <= FD_SETSIZE)
        return MHD_USE_INTERNAL_POLLING_THREAD;
    return MHD_USE_POLL_INTERNAL_THREAD;
}

static unsigned bound(const struct cmx_http_service *s)
{
    return s->max_connections ? s->max_connections : CONNECTIONS_DEFAULT;
}

static struct MHD_Daemon *daemon_start(struct cmx_http_server *server)
{
    const struct cmx_http_service *s = server->service;
    const unsigned flags = MHD_USE_THREAD_PER_CONNECTION | MHD_USE_ERROR_LOG | MHD_USE_ITC | MHD_USE_NO_LISTEN_SOCKET;

    return lib.MHD_start_daemon(
        flags | poll_flags(), 0, NULL, NULL, on_access, server, MHD_OPTION_EXTERNAL_LOGGER, on_log, server,
        MHD_OPTION_URI_LOG_CALLBACK, on_target, server, MHD_OPTION_NOTIFY_COMPLETED, on_completed, server,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, server, MHD_OPTION_CONNECTION_LIMIT, bound(s) + LIBRARY_SLACK,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)(server->peers.idle_ms / 1000), MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)CONNECTION_MEMORY, MHD_OPTION_THREAD_STACK_SIZE, (size_t)CONNECTION_STACK, MHD_OPTION_END);
}

static void server_free(struct cmx_http_server *server)
{
    if (server->daemon)
        lib.MHD_stop_daemon(server->daemon);
    pthread_cond_destroy(&server->room);
    pthread_mutex_destroy(&server->lock);
    http_peers_destroy(&server->peers);
    cmx_mem_free(server);
}

cmx_err cmx_linux_http_load(struct cmx_why *why)
{
    return cmx_library_load(&library, "an HTTP service", why);
}

cmx_err cmx_http_serve(const struct cmx_http_service *service, struct cmx_http_server **out)
{
    struct cmx_http_server *server;
    pthread_condattr_t attr;
    struct cmx_why why = {""};
    cmx_err err = cmx_linux_http_load(&why);

    if (err) {
        cmx_log(CMX_LOG_ERROR, "http", "%s: %s", service->name, why.text);
        return err;
    }
    server = cmx_mem_alloc(sizeof *server);
    if (!server)
        return CMX_ENOMEM;
    server->service = service;
    server->listener = listener;
    server->port = service->port;
    http_peers_init(&server->peers,
                    (service->idle_timeout_s ? service->idle_timeout_s : IDLE_TIMEOUT_DEFAULT_S) * 1000ull);
    pthread_mutex_init(&server->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&server->room, &attr);
    pthread_condattr_destroy(&attr);
    server->daemon = daemon_start(server);
    err = server->daemon ? server->listener->start(service, server, &server->listening) : CMX_ENOMEM;
    if (err != CMX_OK) {
        server_free(server);
        return err;
    }
    *out = server;
    return CMX_OK;
}

/* Shuts connections down to make room, then waits at most ROOM_MS until one has closed. Call with the lock held. */
static void wait_for_room(struct cmx_http_server *server)
{
    struct timespec until;

    http_peers_sweep(&server->peers);
    http_peers_evict(&server->peers);
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += ROOM_MS * 1000000l;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    (void)pthread_cond_timedwait(&server->room, &server->lock, &until);
}

/* Writes the client's address, which the library stores with the connection: the address that cmx_peer finds for the
 * accepted socket, or the unspecified address if it finds none. Returns the length of *out. */
static socklen_t client_address(int accepted, struct sockaddr_storage *out)
{
    *out = (struct sockaddr_storage){.ss_family = AF_INET};
    if (cmx_peer(accepted, out) == CMX_OK && out->ss_family == AF_INET6)
        return sizeof(struct sockaddr_in6);
    return sizeof(struct sockaddr_in);
}

cmx_err cmx_linux_http_feed(struct cmx_http_server *server, int fd, int accepted)
{
    struct sockaddr_storage client;
    const socklen_t client_len = client_address(accepted, &client);
    bool stopping;

    pthread_mutex_lock(&server->lock);
    while (server->open >= bound(server->service) && !server->stopping)
        wait_for_room(server);
    stopping = server->stopping;
    server->open += !stopping;
    pthread_mutex_unlock(&server->lock);
    if (stopping) {
        close(fd);
        return CMX_ECLOSED;
    }
    if (lib.MHD_add_connection(server->daemon, fd, (const struct sockaddr *)&client, client_len) != MHD_YES)
        peer_remove(server, NULL); /* the library has closed fd without calling on_connection */
    return CMX_OK;
}

uint16_t cmx_http_port(const struct cmx_http_server *server)
{
    return server->port;
}

void cmx_http_stop(struct cmx_http_server *server)
{
    if (!server)
        return;
    pthread_mutex_lock(&server->lock);
    server->stopping = true;
    pthread_cond_broadcast(&server->room);
    pthread_mutex_unlock(&server->lock);
    server->listener->stop(server->listening);
    server_free(server);
}
