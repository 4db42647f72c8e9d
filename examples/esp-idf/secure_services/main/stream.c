/* stream.c - the camera's stream on port 81: /stream is MJPEG (multipart/x-mixed-replace), /frame.jpg?n=N one frame. */
#include "stream.h"

#include <stdio.h>
#include <string.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/http/http.h"
#include "cmxsafe/port/port.h"
#include "picture.h"

#define BOUNDARY "cmxsafe-frame"
#define HEAD_MAX 128
#define INTERVAL_DEFAULT_MS 100

static const struct app_door *door;

static cmx_err frame(uint32_t n, uint8_t *out, size_t cap, size_t *len)
{
    return door->frame ? door->frame(door->frame_arg, n, out, cap, len) : picture_frame(NULL, n, out, cap, len);
}

static size_t frame_max(void)
{
    return door->frame ? door->frame_max : PICTURE_MAX;
}

/* Invariant: part[sent] to part[len - 1] are the unsent bytes of the current part. */
struct viewer {
    uint32_t n;
    uint32_t left; /* frames that are still to be sent; UINT32_MAX: no limit */
    uint64_t due_ms;
    size_t len, sent;
    uint8_t part[];
};

static cmx_err build_part(struct viewer *v)
{
    uint8_t *picture = v->part + HEAD_MAX;
    char head[HEAD_MAX];
    size_t len = 0;
    cmx_err err = frame(v->n, picture, frame_max(), &len);
    int n;

    if (err != CMX_OK)
        return err;
    n = snprintf(head, sizeof head,
                 "--" BOUNDARY "\r\nContent-Type: image/jpeg\r\nContent-Length: %zu\r\nX-Frame: %u\r\n\r\n", len,
                 (unsigned)v->n);
    if (n < 0 || n >= HEAD_MAX)
        return CMX_EINTERNAL;
    memmove(v->part + n, picture, len);
    memcpy(v->part, head, (size_t)n);
    memcpy(v->part + n + len, "\r\n", 2);
    v->len = (size_t)n + len + 2;
    v->sent = 0;
    return CMX_OK;
}

/* A viewer that is slower than the camera misses frames; none are queued. */
static void wait_for_frame(struct viewer *v)
{
    uint32_t interval = door->interval_ms ? door->interval_ms : INTERVAL_DEFAULT_MS;
    uint64_t now = cmx_port_now_ms();

    if (v->due_ms > now)
        cmx_port_sleep_ms((uint32_t)(v->due_ms - now));
    else if (v->due_ms)
        v->n += (uint32_t)((now - v->due_ms) / interval);
    v->due_ms = (v->due_ms > now ? v->due_ms : now) + interval;
}

static cmx_err viewer_next(void *state, uint8_t *out, size_t cap, size_t *len)
{
    struct viewer *v = state;
    size_t n;

    if (v->sent == v->len) {
        cmx_err err;

        if (v->left == 0)
            return CMX_OK;
        wait_for_frame(v);
        err = build_part(v);
        if (err != CMX_OK)
            return err;
        v->n++;
        v->left -= v->left != UINT32_MAX;
    }
    n = v->len - v->sent < cap ? v->len - v->sent : cap;
    memcpy(out, v->part + v->sent, n);
    v->sent += n;
    *len = n;
    return CMX_OK;
}

/* Reads a number from the query. If the parameter is missing, the value is `otherwise`. CMX_EFORMAT: the parameter is
 * not a number. */
static cmx_err number(struct cmx_http_request *r, const char *name, uint32_t otherwise, uint32_t *out)
{
    const char *value;
    char text[16];
    uint64_t n;
    size_t len;
    cmx_err err = cmx_http_param(cmx_http_query(r), name, &value, &len);

    *out = otherwise;
    if (err == CMX_ENOENT)
        return CMX_OK;
    if (err != CMX_OK || len >= sizeof text)
        return CMX_EFORMAT;
    memcpy(text, value, len);
    text[len] = '\0';
    if (cmx_text_u64(text, 0, UINT32_MAX - 1, &n) != CMX_OK)
        return CMX_EFORMAT;
    *out = (uint32_t)n;
    return CMX_OK;
}

static cmx_err stream_begin(struct cmx_http_request *r, void *ctx, void **state)
{
    struct viewer *v;
    uint32_t frames;

    (void)ctx;
    (void)state;
    if (number(r, "frames", UINT32_MAX, &frames) != CMX_OK)
        return cmx_http_reply_text(r, 400, "frames: not a number\n");
    v = cmx_mem_alloc(sizeof *v + HEAD_MAX + frame_max() + 2);
    if (!v)
        return CMX_ENOMEM;
    v->left = frames;
    return cmx_http_reply_stream(r, 200, "multipart/x-mixed-replace;boundary=" BOUNDARY, viewer_next, cmx_mem_free, v);
}

static cmx_err frame_begin(struct cmx_http_request *r, void *ctx, void **state)
{
    uint8_t *picture;
    size_t len = 0;
    uint32_t n;
    cmx_err err;

    (void)ctx;
    (void)state;
    if (number(r, "n", 0, &n) != CMX_OK)
        return cmx_http_reply_text(r, 400, "n: not a number\n");
    picture = cmx_mem_alloc(frame_max());
    if (!picture)
        return CMX_ENOMEM;
    err = frame(n, picture, frame_max(), &len);
    if (err == CMX_OK)
        err = cmx_http_reply(r, 200, "image/jpeg", picture, len, NULL, 0);
    cmx_mem_free(picture);
    return err;
}

static const struct cmx_http_route routes[] = {
    {.method = "GET", .path = "/stream", .begin = stream_begin},
    {.method = "GET", .path = "/frame.jpg", .begin = frame_begin},
};

cmx_err stream_start(const struct app_door *d)
{
    static struct cmx_http_service service = {
        .name = "stream",
        .port = APP_STREAM_PORT,
        .routes = routes,
        .n_routes = sizeof routes / sizeof routes[0],
    };
    static struct cmx_http_server *server;

    door = d;
    service.address = d->address;
    return cmx_http_serve(&service, &server);
}
