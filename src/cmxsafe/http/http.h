/* http.h - what an HTTP service of the device is. No server in here: port/linux serves it with libmicrohttpd, port/esp
 * with esp_http_server. A service listens on the device's loopback; reaching it from outside is a proxy's work.
 *
 * A request is pushed to its route: begin once the head is there, body for each piece, end after the last. Any of them
 * may answer; an answer before end makes the server drain or close. All calls of one request come from one thread,
 * which may block; calls of different requests may come from different threads. */
#ifndef CMX_HTTP_HTTP_H
#define CMX_HTTP_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CMX_HTTP_URI_MAX 2048  /* longer request targets get 414 */
#define CMX_HTTP_HEADERS_MAX 4 /* headers of an answer besides Content-Type */

struct cmx_http_request; /* the server's */

struct cmx_http_header {
    const char *name;
    const char *value;
};

/* Fills at most cap bytes of a streamed answer. *len 0: the end. An error ends the connection without the proper end of
 * the body, so that the client notices. May block. */
typedef cmx_err (*cmx_http_next_fn)(void *state, uint8_t *out, size_t cap, size_t *len);
typedef void (*cmx_http_done_fn)(void *state);

struct cmx_http_route {
    const char *method; /* "GET"; HEAD is served from GET by the server */
    const char *path;   /* exact and raw, without the query: "/%61" is not "/a" */

    /* *state: the route's own, handed to the others; NULL before. An error answers 500 if nothing was answered. */
    cmx_err (*begin)(struct cmx_http_request *r, void *ctx, void **state);
    cmx_err (*body)(struct cmx_http_request *r, void *ctx, void *state, const uint8_t *data,
                    size_t len);                                        /* may be NULL */
    cmx_err (*end)(struct cmx_http_request *r, void *ctx, void *state); /* the whole body was there; may be NULL */
    /* Always last, once for each begin, also when the client vanished: releases state. complete: the whole request was
     * there and the whole answer left. May be NULL. */
    void (*done)(void *ctx, void *state, bool complete);
};

struct cmx_http_service {
    const char *name;
    const char *address;      /* NULL: 127.0.0.1 */
    uint16_t port;            /* 0: one that the platform picks (cmx_http_port) */
    unsigned max_connections; /* 0: 8 */
    /* 0: 30; a connection with no byte either way for that long is ended. A byte now and then holds no place: on Linux a
     * head has that long, and four times that a body that nobody wants; on an ESP32 a head has 10 seconds. */
    unsigned idle_timeout_s;
    const struct cmx_http_route *routes;
    size_t n_routes;
    void *ctx; /* handed to each call */
};

struct cmx_http_server;

/* Serves until stopped. Borrows *service for that long. CMX_EBUSY: the port is taken. CMX_ENOMEM, CMX_EPERM. */
CMX_MUST_USE cmx_err cmx_http_serve(const struct cmx_http_service *service, struct cmx_http_server **out);

/* The port that it listens on. Any thread. */
uint16_t cmx_http_port(const struct cmx_http_server *server);

/* Ends every connection, waits until no route is running and each done was called. Not from a route. NULL is fine. */
void cmx_http_stop(struct cmx_http_server *server);

/* ---- for routes ---- */

/* The raw query after '?', not decoded; "" where there is none. Borrowed until done. */
const char *cmx_http_query(const struct cmx_http_request *r);

/* The first parameter `name` of a raw query: points into it, not decoded. CMX_ENOENT: not there; CMX_EEXIST: there more
 * than once. Pure (http.c). */
CMX_MUST_USE cmx_err cmx_http_param(const char *query, const char *name, const char **value, size_t *len);

/* A request header by name, case-insensitive, or NULL. Borrowed until done. */
const char *cmx_http_header_get(const struct cmx_http_request *r, const char *name);

/* Content-Length, or -1 where the request has none (chunked). */
int64_t cmx_http_content_length(const struct cmx_http_request *r);

/* Has the client closed its side, with nothing left to read? Then nobody waits for the answer. Does not block. */
bool cmx_http_client_gone(const struct cmx_http_request *r);

/* Answers once; CMX_EEXIST the second time. The body is copied. headers: at most CMX_HTTP_HEADERS_MAX, strings copied.
 */
CMX_MUST_USE cmx_err cmx_http_reply(struct cmx_http_request *r, int status, const char *content_type, const void *body,
                                    size_t len, const struct cmx_http_header *headers, size_t n_headers);

/* The same, for a body that lives as long as the program (a page in flash): nothing of it is copied. */
CMX_MUST_USE cmx_err cmx_http_reply_static(struct cmx_http_request *r, int status, const char *content_type,
                                           const void *body, size_t len, const struct cmx_http_header *headers,
                                           size_t n_headers);

/* Answers with text/plain, cut to 511 bytes (http.c). */
CMX_MUST_USE cmx_err cmx_http_reply_text(struct cmx_http_request *r, int status, const char *fmt, ...) CMX_PRINTF(3, 4);

/* Answers with a stream of unknown length: next is called until it ends (not at all for HEAD); done once, always, also
 * when this call fails. */
CMX_MUST_USE cmx_err cmx_http_reply_stream(struct cmx_http_request *r, int status, const char *content_type,
                                           cmx_http_next_fn next, cmx_http_done_fn done, void *state);

#ifdef __cplusplus
}
#endif
#endif
