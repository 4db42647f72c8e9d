/* http.h - the interface between an HTTP service of the device and a server: libmicrohttpd on Linux (http_mhd.c),
 * esp_http_server on an ESP32 (http_esp.c). A service listens on the device's loopback; the proxy makes it reachable.
 *
 * The server calls the route of a request: `begin` after the request's head, `body` for each piece of the body, and
 * `end` after the last piece. Any of these may answer. If a route answers before `end`, the server reads and drops the
 * rest of the body, or closes the connection. All calls for one request come from one thread and may block. Calls for
 * different requests may come from different threads. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"
#include "cmxsafe/core/ip.h"

CMX_C_BEGIN

#define CMX_HTTP_URI_MAX 2048  /* longer request targets get 414 */
#define CMX_HTTP_HEADERS_MAX 4 /* maximum number of an answer's headers besides Content-Type */

struct cmx_http_request; /* defined by the server */

struct cmx_http_header {
    const char *name;
    const char *value;
};

/* Writes at most cap bytes of a streamed answer to `out`, and their number to *len, which is 0 before the call. If *len
 * is still 0 after the call, the stream ends. On an error the server closes the connection without the final chunk, so
 * that the client detects the error. May block. */
typedef cmx_err (*cmx_http_next_fn)(void *state, uint8_t *out, size_t cap, size_t *len);
typedef void (*cmx_http_done_fn)(void *state);

struct cmx_http_route {
    const char *method; /* a route for "GET" also serves HEAD; the server then sends no body */
    const char *path;   /* compared without decoding and without the query: "/%61" is not "/a" */

    /* *state is NULL when `begin` is called; the other functions get what `begin` stores in it. If a function returns
     * an error without having answered, the server answers 500. */
    cmx_err (*begin)(struct cmx_http_request *r, void *ctx, void **state);
    cmx_err (*body)(struct cmx_http_request *r, void *ctx, void *state, const uint8_t *data,
                    size_t len);                                        /* may be NULL */
    cmx_err (*end)(struct cmx_http_request *r, void *ctx, void *state); /* called after the whole body; may be NULL */
    /* Called last, once for each `begin`, even if the connection was lost. Must free `state`. complete: the whole
     * request was read and the whole answer was sent. May be NULL. */
    void (*done)(void *ctx, void *state, bool complete);
};

struct cmx_http_service {
    const char *name;
    const char *address;      /* NULL: 127.0.0.1. Linux: a path ("/...") is a UNIX socket, mode 0660 */
    uint16_t port;            /* 0: the platform chooses a port, see cmx_http_port; ESP-IDF refuses 0 */
    unsigned max_connections; /* 0 means 8 */
    /* Seconds; 0 means 30. A connection without traffic for this long is closed. A slow client is disconnected too.
     * Limits on Linux, as multiples of this timeout: 1 for receiving a request's head, 4 for the rest of a body after
     * an early answer, and 2 for sending an answer or each 16 KB of a stream. A connection older than 10 times this
     * timeout serves no new request. If all connections are in use, the server closes the one that has waited longest
     * for a head. Limits on an ESP32: 10 s for receiving a head, or 1 s while other connections are open; 4 times this
     * timeout for the rest of a body after an early answer; for sending an answer, this timeout plus the time that the
     * answer takes at 128 bytes/s. */
    unsigned idle_timeout_s;
    const struct cmx_http_route *routes;
    size_t n_routes;
    void *ctx; /* passed to each function of a route */
};

struct cmx_http_server;

/* Starts a server. Borrows *service until cmx_http_stop. CMX_EBUSY: the port is in use. CMX_EPERM: the operating system
 * forbids listening there. CMX_EINVAL: the address cannot be used, or the port is 0 on ESP-IDF. CMX_ENOMEM: out of
 * memory. */
CMX_MUST_USE cmx_err cmx_http_serve(const struct cmx_http_service *service, struct cmx_http_server **out);

/* Returns the port that the server listens on. Any thread. */
uint16_t cmx_http_port(const struct cmx_http_server *server);

/* Closes every connection, and waits until no route is running and each `done` has returned. Must not be called from a
 * route. NULL is ignored. */
void cmx_http_stop(struct cmx_http_server *server);

/* ---- functions for routes ---- */

/* Returns the raw query after '?', not decoded; "" if there is none. Borrowed until the route's `done`. */
const char *cmx_http_query(const struct cmx_http_request *r);

/* Finds the parameter `name` of a raw query: *value points into it and is not decoded. CMX_ENOENT: there is none;
 * CMX_EEXIST: there are several. Pure (http.c). */
CMX_MUST_USE cmx_err cmx_http_param(const char *query, const char *name, const char **value, size_t *len);

/* Returns the value of a header of the request, or NULL. The case of name does not matter. Borrowed until the route's
 * `done`. Returns "" if there is no room for a copy, so a check that refuses some values must refuse "", too. */
const char *cmx_http_header_get(const struct cmx_http_request *r, const char *name);

/* Writes the address of the client, as the gateway reported it (proxy/peer.h); on a CMX-GW this is the client's
 * identity. "" if it is not known, as for a client on the device itself. */
void cmx_http_client(const struct cmx_http_request *r, char out[CMX_IP_TEXT_MAX]);

/* Reads Content-Length; UINT32_MAX stands for every larger value. False: the request has none (chunked). */
bool cmx_http_content_length(const struct cmx_http_request *r, uint32_t *len);

/* True when the client has closed its side and nothing is left to read: the client will not read the answer. Does not
 * block. */
bool cmx_http_client_gone(const struct cmx_http_request *r);

/* Answers the request. Copies body and headers. n_headers is at most CMX_HTTP_HEADERS_MAX. CMX_EEXIST: the request was
 * answered already. */
CMX_MUST_USE cmx_err cmx_http_reply(struct cmx_http_request *r, int status, const char *content_type, const void *body,
                                    size_t len, const struct cmx_http_header *headers, size_t n_headers);

/* Answers with text/plain of at most 511 bytes; longer text is cut (http.c). */
CMX_MUST_USE cmx_err cmx_http_reply_text(struct cmx_http_request *r, int status, const char *fmt, ...) CMX_PRINTF(3, 4);

/* Answers with a stream of unknown length. The server calls `next` until the end (never for HEAD), and then `done`
 * once. `done` is called even if this call fails. */
CMX_MUST_USE cmx_err cmx_http_reply_stream(struct cmx_http_request *r, int status, const char *content_type,
                                           cmx_http_next_fn next, cmx_http_done_fn done, void *state);

CMX_C_END
