/* service_update.c - POST /update: a request becomes the owner of the service's only upload, passes its body to the
 * upload, and ends the upload. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "cmxsafe/core/log.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/ota/range.h"
#include "cmxsafe/ota/service_state.h"

#define TAG "ota"
#define FRAMING_MAX 4096 /* the multipart framing around a file is shorter than this many bytes */

static int status_of(cmx_err err)
{
    switch (err) {
    case CMX_EBUSY:
        return 409;
    case CMX_ENOSPC:
        return 413;
    case CMX_EPROTO:
        return 416;
    case CMX_EFORMAT:
    case CMX_ETRUNC:
    case CMX_EINVAL:
        return 400;
    case CMX_EPERM:
    case CMX_EDOWNGRADE:
    case CMX_ENOKEY:
    case CMX_ESIG:
    case CMX_ENOTSUP:
        return 422;
    case CMX_ENOMEM:
        return 503;
    case CMX_EIO:
        return 507;
    default:
        return 500;
    }
}

static cmx_err reply_error(struct cmx_http_request *r, cmx_err err, const char *why,
                           const struct cmx_http_header *header)
{
    char text[CMX_WHY_MAX + 16];

    snprintf(text, sizeof text, "error: %s\n", why);
    return cmx_http_reply(r, status_of(err), "text/plain; charset=utf-8", text, strlen(text), header, header != NULL);
}

void cmx_ota_past_add(struct cmx_ota_service *s, const struct cmx_ota_past *p)
{
    cmx_ota_lock(s);
    s->past[s->n_past++ % CMX_OTA_PAST] = *p;
    cmx_ota_unlock(s);
}

/* Adds the upload that has ended to the history that GET /update shows, and reports it to the platform. Only the owner
 * of the upload calls this, without the lock. */
static void record_end(struct cmx_ota_service *s, bool ok, const char *what)
{
    struct cmx_ota_past p = {.at_ms = cmx_port_now_ms(), .received = s->received, .ok = ok};

    snprintf(p.from, sizeof p.from, "%s", s->from);
    snprintf(p.what, sizeof p.what, "%s", what);
    cmx_ota_past_add(s, &p);
    if (s->config->ended)
        s->config->ended(&p);
}

/* Ends q's upload, and reports `why` to the client, in the log and in GET /update. Call without the lock. */
static cmx_err fail(struct cmx_ota_service *s, struct cmx_http_request *r, struct cmx_ota_request *q, cmx_err err,
                    const char *why)
{
    struct cmx_why kept;
    const char *const text = kept.text;

    cmx_why_set(&kept, "%s", why); /* `why` may point into the upload, which is freed below */
    q->owner = false;
    record_end(s, false, text);
    cmx_ota_lock(s);
    cmx_ota_drop_upload(s);
    cmx_ota_set_error(s, text);
    cmx_ota_unlock(s);
    cmx_log_limited(CMX_LOG_WARN, TAG, "update refused: %s", text);
    cmx_ota_event_send(s, CMX_OTA_EVENT_REFUSED, text);
    return reply_error(r, err, text, NULL);
}

/* Refuses the request, and reports at which byte an upload can be continued. */
static cmx_err conflict(struct cmx_http_request *r, cmx_err err, uint32_t received, const char *why)
{
    char held[11];
    const struct cmx_http_header header = {"Upload-Offset", held};

    snprintf(held, sizeof held, "%" PRIu32, received);
    return reply_error(r, err, why, &header);
}

/* Creates a new upload. The caller holds the lock. */
static cmx_err open_new(struct cmx_ota_service *s, const char **why)
{
    cmx_err err;

    cmx_ota_drop_upload(s);
    cmx_why_clear(&s->error);
    s->upload = cmx_mem_alloc(sizeof *s->upload);
    if (!s->upload) {
        *why = "no memory";
        return CMX_ENOMEM;
    }
    err = cmx_upload_begin(s->upload, &s->config->slots, &s->config->policy);
    if (err) {
        *why = s->upload->why;
        cmx_ota_drop_upload(s);
    }
    return err;
}

/* Records q as the owner of a new upload or of the interrupted upload. The caller holds the lock. */
static cmx_err acquire(struct cmx_ota_service *s, struct cmx_ota_request *q, const struct cmx_range *range,
                       const char **why)
{
    cmx_err err;

    cmx_ota_expire(s);
    *why = cmx_upload_unconfirmed;
    if (s->slots.pending)
        return CMX_EBUSY;
    *why = s->state == OTA_RESTARTING ? "the device is about to restart" : "an update is under way";
    if (s->state != OTA_IDLE && s->state != OTA_INTERRUPTED && s->state != OTA_READY)
        return CMX_EBUSY;
    if (range->first > 0) {
        *why = "wrong offset; continue at Upload-Offset";
        if (s->state != OTA_INTERRUPTED || range->first != s->received || (s->total && range->total != s->total))
            return CMX_EPROTO;
    } else {
        err = open_new(s, why);
        if (err)
            return err;
    }
    if (range->total)
        s->total = range->total;
    if (s->total > s->upload->slot_size) {
        cmx_ota_drop_upload(s);
        *why = "larger than the slot";
        return CMX_ENOSPC;
    }
    q->owner = true;
    cmx_ota_set_state(s, OTA_RECEIVING);
    return CMX_OK;
}

/* Reads the request's headers. Returns the error in the headers, or NULL. *len: length of the body, 0 if not known. */
static const char *read_head(struct cmx_http_request *r, struct cmx_ota_request *q, struct cmx_range *range,
                             uint32_t *len)
{
    const char *type = cmx_http_header_get(r, "Content-Type"), *text = cmx_http_header_get(r, "Content-Range");
    const bool sized = cmx_http_content_length(r, len);

    q->multipart = type && strncasecmp(type, "multipart/", 10) == 0;
    if (q->multipart && (text || cmx_multipart_init(&q->parts, type) != CMX_OK))
        return "multipart needs form-data, a boundary and no Content-Range";
    if (sized && *len == 0)
        return "the body is empty";
    if (sized && !q->multipart && !text)
        *range = (struct cmx_range){.last = *len - 1, .total = *len};
    if (text && (cmx_range_parse(range, text) != CMX_OK || (sized && *len != range->last - range->first + 1)))
        return "Content-Range is not the body's 'bytes FIRST-LAST/TOTAL'";
    return NULL;
}

cmx_err cmx_ota_update_begin(struct cmx_http_request *r, void *ctx, void **state)
{
    struct cmx_ota_service *s = ctx;
    struct cmx_ota_request *q;
    struct cmx_range range = {0};
    const char *why;
    uint32_t held, len = 0;
    cmx_err err = CMX_OK;

    if (cmx_ota_refused(s, r, &err))
        return err;
    q = cmx_mem_alloc(sizeof *q);
    if (!q)
        return cmx_ota_no_memory(r);
    *state = q;
    q->since_ms = cmx_ota_now_ms();
    why = read_head(r, q, &range, &len);
    if (why)
        return cmx_http_reply_text(r, 400, "error: %s\n", why);
    if (range.total)
        q->range_end = range.last + 1;
    cmx_ota_lock(s);
    why = "larger than the slot";
    /* A body that cannot fit is refused before the client sends it. */
    err = len > FRAMING_MAX && len - FRAMING_MAX > s->slots.target_size ? CMX_ENOSPC : acquire(s, q, &range, &why);
    held = s->received;
    if (!err)
        cmx_http_client(r, s->from);
    cmx_ota_unlock(s);
    if (err)
        return conflict(r, err, held, why);
    cmx_log_limited(CMX_LOG_INFO, TAG, "upload %s at byte %" PRIu32 ", from %s", held ? "continues" : "begins", held,
                    s->from[0] ? s->from : "unknown");
    cmx_ota_event_send(s, CMX_OTA_EVENT_BEGIN, "");
    return CMX_OK;
}

static cmx_err part_event(struct cmx_ota_service *s, struct cmx_ota_request *q, const struct cmx_multipart_event *ev)
{
    if (ev->kind == CMX_MULTIPART_DATA)
        return q->in_field ? cmx_upload_data(s->upload, ev->data, ev->len) : CMX_OK;
    if (ev->kind == CMX_MULTIPART_DONE)
        q->in_field = false;
    if (ev->kind != CMX_MULTIPART_PART)
        return CMX_OK;
    q->in_field = strcmp(q->parts.name, "update") == 0;
    if (q->in_field && q->had_field) {
        s->upload->why = "two fields 'update'";
        return CMX_EFORMAT;
    }
    q->had_field = q->had_field || q->in_field;
    return CMX_OK;
}

static cmx_err multipart_bytes(struct cmx_ota_service *s, struct cmx_ota_request *q, const uint8_t *data, size_t len)
{
    struct cmx_multipart_event ev;
    struct cmx_buf in;
    cmx_err err;

    cmx_buf_init_view(&in, data, len);
    do {
        err = cmx_multipart_next(&q->parts, &in, &ev);
        if (err) {
            s->upload->why = "the multipart body is broken";
            return err;
        }
        err = part_event(s, q, &ev);
        if (err)
            return err;
    } while (ev.kind != CMX_MULTIPART_MORE);
    return CMX_OK;
}

static void interrupted(struct cmx_ota_service *s)
{
    const size_t heap = cmx_port_heap_free();

    cmx_ota_lock(s);
    if (s->received == 0) {
        cmx_ota_drop_upload(s);
    } else {
        cmx_ota_set_state(s, OTA_INTERRUPTED);
        cmx_log_limited(CMX_LOG_INFO, TAG, "upload stopped at byte %" PRIu32 "; it can continue", s->received);
    }
    cmx_ota_unlock(s);
    if (heap < CMX_OTA_HEAP_SHORT)
        cmx_log_limited(CMX_LOG_WARN, TAG, "memory is short: %u bytes of heap are free; close streams, then continue",
                        (unsigned)heap);
    cmx_ota_event_send(s, CMX_OTA_EVENT_INTERRUPTED, "");
}

/* True when the upload was slower than CMX_OTA_SLOWEST for a whole idle timeout. A client that sends a byte now and
 * then is not idle, but would keep all other clients from updating. */
static bool too_slow(const struct cmx_ota_service *s, struct cmx_ota_request *q, size_t len)
{
    const uint32_t took = cmx_ota_now_ms() - q->since_ms, window = s->http.idle_timeout_s * 1000u;

    q->came += (uint32_t)len;
    if (took < window)
        return false;
    if (q->came < s->http.idle_timeout_s * CMX_OTA_SLOWEST)
        return true;
    q->since_ms += took;
    q->came = 0;
    return false;
}

cmx_err cmx_ota_update_body(struct cmx_http_request *r, void *ctx, void *state, const uint8_t *data, size_t len)
{
    struct cmx_ota_service *s = ctx;
    struct cmx_ota_request *q = state;
    uint32_t start;
    cmx_err err;

    if (!q || !q->owner)
        return CMX_OK;
    if (too_slow(s, q, len)) {
        q->owner = false;
        interrupted(s);
        return cmx_http_reply_text(r, 408, "error: the upload is too slow; it can be continued\n");
    }
    start = cmx_ota_now_ms();
    err = q->multipart ? multipart_bytes(s, q, data, len) : cmx_upload_data(s->upload, data, len);
    q->since_ms += cmx_ota_now_ms() - start;
    cmx_ota_lock(s);
    s->received = s->upload->received;
    s->crc = s->upload->crc;
    cmx_ota_unlock(s);
    return err ? fail(s, r, q, err, s->upload->why) : CMX_OK;
}

/* Call at the end of a request. True if another request must continue the file; otherwise the state becomes
 * OTA_CHECKING. */
static bool part_of_file(struct cmx_ota_service *s, struct cmx_ota_request *q)
{
    bool part;

    cmx_ota_lock(s);
    part = !q->multipart && s->total && s->received < s->total;
    if (!part && !s->total)
        s->total = s->received;
    cmx_ota_set_state(s, part ? OTA_RECEIVING : OTA_CHECKING);
    cmx_ota_unlock(s);
    return part;
}

static cmx_err activated(struct cmx_ota_service *s, struct cmx_http_request *r, struct cmx_ota_request *q)
{
    const struct cmx_image *image = &s->upload->image;
    char sha[CMX_SHA256_HEX], version[CMX_IMAGE_TEXT_MAX], text[160];

    cmx_text_hex_encode(sha, image->digest, sizeof image->digest);
    snprintf(version, sizeof version, "%s", image->info.version);
    snprintf(text, sizeof text, "version=%s slot=%s sha256=%s", version[0] ? version : "-", s->slots.target, sha);
    cmx_ota_read_slots(s);
    q->owner = false;
    q->ready = !s->config->no_restart;
    record_end(s, true, version);
    cmx_ota_lock(s);
    cmx_ota_drop_upload(s);
    s->ready = q->ready;
    if (q->ready)
        cmx_ota_set_state(s, OTA_READY);
    cmx_ota_unlock(s);
    cmx_log_limited(CMX_LOG_INFO, TAG, "update ready: %s", text);
    cmx_ota_event_send(s, CMX_OTA_EVENT_READY, version);
    return cmx_http_reply_text(r, 200, "OK %s\n", text);
}

cmx_err cmx_ota_update_end(struct cmx_http_request *r, void *ctx, void *state)
{
    struct cmx_ota_service *s = ctx;
    struct cmx_ota_request *q = state;
    cmx_err err;

    if (!q || !q->owner)
        return CMX_OK;
    if (q->multipart && !cmx_multipart_complete(&q->parts))
        return fail(s, r, q, CMX_ETRUNC, "the multipart body ends too early");
    if (q->multipart && !q->had_field)
        return fail(s, r, q, CMX_EFORMAT, "no field 'update'");
    if (q->range_end && q->range_end != s->received)
        return fail(s, r, q, CMX_EFORMAT, "the body's length is wrong");
    if (part_of_file(s, q))
        return cmx_http_reply_text(r, 202, "HELD %" PRIu32 " of %" PRIu32 "\n", s->received, s->total);
    err = cmx_upload_verify(s->upload);
    if (!err && cmx_http_client_gone(r)) /* the client has cancelled the update, so it must not take effect */
        return fail(s, r, q, CMX_ECLOSED, "the client closed the connection");
    if (!err)
        err = cmx_upload_activate(s->upload);
    if (err)
        return fail(s, r, q, err, s->upload->why);
    return activated(s, r, q);
}

void cmx_ota_update_done(void *ctx, void *state, bool complete)
{
    struct cmx_ota_service *s = ctx;
    struct cmx_ota_request *q = state;

    if (!q)
        return;
    if (q->owner)
        interrupted(s);
    if (q->ready && complete)
        cmx_ota_schedule_restart(s);
    else if (q->ready)
        cmx_log(CMX_LOG_WARN, TAG, "the answer was lost: no restart before POST /restart");
    cmx_mem_free(q);
}
