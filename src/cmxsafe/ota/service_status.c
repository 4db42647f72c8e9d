/* service_status.c - serves the update page, and the update service's state as JSON. Decides who may use the service.
 */
#include <inttypes.h>
#include <stdio.h>

#include "cmxsafe/core/json.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/ota/crc32.h"
#include "cmxsafe/ota/origin.h"
#include "cmxsafe/ota/page.h"
#include "cmxsafe/ota/service_state.h"

enum { STATUS_MAX = 3072 };

/* ---- who may use the service ---- */

static bool foreign_name(struct cmx_ota_service *s, struct cmx_http_request *r, cmx_err *err)
{
    const char *host = cmx_http_header_get(r, "Host");

    if (cmx_origin_host_ok(host, s->config->hosts, s->config->n_hosts))
        return false;
    *err = cmx_http_reply_text(
        r, 403, "error: this device is not known by the name '%.64s'; use its address or configure the name\n",
        host ? host : "");
    return true;
}

bool cmx_ota_refused(struct cmx_ota_service *s, struct cmx_http_request *r, cmx_err *err)
{
    return foreign_name(s, r, err) || cmx_origin_refused(r, err);
}

cmx_err cmx_ota_no_memory(struct cmx_http_request *r)
{
    return cmx_http_reply_text(r, 503, "error: no memory\n");
}

/* ---- GET /, /serverIndex ---- */

cmx_err cmx_ota_page_begin(struct cmx_http_request *r, void *ctx, void **state)
{
    static const struct cmx_http_header headers[] = {{"Content-Security-Policy", cmx_ota_page_csp},
                                                     {"X-Content-Type-Options", "nosniff"},
                                                     {"Content-Encoding", "gzip"},
                                                     {"Cache-Control", "no-store"}};
    cmx_err err;

    (void)state;
    if (foreign_name(ctx, r, &err))
        return err;
    return cmx_http_reply(r, 200, "text/html; charset=utf-8", cmx_ota_page, cmx_ota_page_len, headers,
                          sizeof headers / sizeof headers[0]);
}

cmx_err cmx_ota_index_begin(struct cmx_http_request *r, void *ctx, void **state)
{
    static const struct cmx_http_header to = {"Location", "/"};

    (void)ctx;
    (void)state;
    return cmx_http_reply(r, 302, "text/plain", "see /\n", 6, &to, 1);
}

/* ---- GET /update ---- */

static void status_upload(struct cmx_ota_service *s, struct cmx_json *j)
{
    char crc[CMX_CRC32_HEX];

    cmx_json_str(j, "state", cmx_ota_state_text(s->state));
    cmx_json_u64(j, "received", s->received);
    if (s->total)
        cmx_json_u64(j, "total", s->total);
    else
        cmx_json_null(j, "total");
    snprintf(crc, sizeof crc, "%08" PRIx32, s->crc);
    cmx_json_str(j, "crc32", crc);
    cmx_json_str(j, "from", s->from[0] ? s->from : NULL);
    cmx_json_str(j, "error", s->error.text[0] ? s->error.text : NULL);
}

/* Writes the last uploads, the newest first. */
static void status_history(const struct cmx_ota_service *s, struct cmx_json *j)
{
    unsigned n = s->n_past < CMX_OTA_PAST ? s->n_past : CMX_OTA_PAST;

    cmx_json_array(j, "history");
    for (unsigned i = 1; i <= n; i++) {
        const struct cmx_ota_past *p = &s->past[(s->n_past - i) % CMX_OTA_PAST];

        cmx_json_object(j, NULL);
        cmx_json_u64(j, "age_ms", cmx_port_now_ms() - p->at_ms);
        cmx_json_str(j, "from", p->from[0] ? p->from : NULL);
        cmx_json_u64(j, "received", p->received);
        cmx_json_bool(j, "ok", p->ok);
        cmx_json_str(j, "what", p->what);
        cmx_json_end(j);
    }
    cmx_json_end(j);
}

static void status_slots(struct cmx_ota_service *s, struct cmx_json *j)
{
    const struct cmx_slots_status *t = &s->slots;

    cmx_json_object(j, "running");
    cmx_json_str(j, "slot", t->running);
    cmx_json_u64(j, "offset", t->running_offset);
    cmx_json_str(j, "version", t->version);
    cmx_json_str(j, "project", t->project);
    cmx_json_u64(j, "secure_version", t->secure_version);
    cmx_json_bool(j, "confirmed", !t->pending);
    cmx_json_end(j);
    cmx_json_object(j, "target");
    cmx_json_str(j, "slot", t->target);
    cmx_json_u64(j, "size", t->target_size);
    cmx_json_end(j);
    if (!t->rolled_back) {
        cmx_json_null(j, "rolled_back");
        return;
    }
    cmx_json_object(j, "rolled_back");
    cmx_json_str(j, "version", t->rolled_back_version);
    cmx_json_str(j, "why", t->rolled_back_why);
    cmx_json_end(j);
}

void cmx_ota_json(struct cmx_ota_service *s, struct cmx_json *j)
{
    cmx_ota_lock(s);
    cmx_ota_expire(s);
    cmx_json_str(j, "device", s->config->name ? s->config->name : "device");
    cmx_json_hex(j, "boot", s->boot, sizeof s->boot);
    cmx_json_u64(j, "uptime_ms", cmx_port_now_ms() - s->started_ms);
    cmx_json_bool(j, "signature_required", s->config->policy.keys.n > 0);
    status_upload(s, j);
    status_history(s, j);
    status_slots(s, j);
    cmx_ota_unlock(s);
}

static cmx_err status_write(struct cmx_ota_service *s, struct cmx_buf *out)
{
    struct cmx_json j;

    cmx_json_init(&j, out);
    cmx_json_object(&j, NULL);
    cmx_ota_json(s, &j);
    cmx_json_end(&j);
    return cmx_json_finish(&j);
}

cmx_err cmx_ota_status_begin(struct cmx_http_request *r, void *ctx, void **state)
{
    static const struct cmx_http_header headers[] = {{"Cache-Control", "no-store"},
                                                     {"X-Content-Type-Options", "nosniff"}};
    struct cmx_ota_service *s = ctx;
    struct cmx_buf out;
    cmx_err err = CMX_OK;
    uint8_t *text;

    (void)state;
    if (cmx_ota_refused(s, r, &err))
        return err;
    text = cmx_mem_alloc(STATUS_MAX);
    if (!text)
        return cmx_ota_no_memory(r);
    cmx_buf_init(&out, text, STATUS_MAX);
    err = status_write(s, &out);
    if (!err)
        err = cmx_http_reply(r, 200, "application/json", cmx_buf_data(&out), cmx_buf_len(&out), headers, 2);
    cmx_mem_free(text);
    return err;
}
