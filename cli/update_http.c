#include "cli/update_http.h"

#include <string.h>

#include "cli/common/json_get.h"
#include "cmxsafe/core/text.h"

/* The device answers an upload only after it has read the whole slot back to verify it, which takes seconds. */
enum { ANSWER_MS = 20000, UPLOAD_SILENCE_MS = 120000 };

static void member(const char *text, const char *path, char *out, size_t cap)
{
    if (json_get(text, path, out, cap) != CMX_OK || strcmp(out, "null") == 0)
        out[0] = '\0';
}

static uint32_t number(const char *text, const char *path)
{
    char digits[16];
    uint64_t v = 0;

    member(text, path, digits, sizeof digits);
    return cmx_text_u64(digits, 0, UINT32_MAX, &v) == CMX_OK ? (uint32_t)v : 0;
}

/* Parses the status. False: the text is not the status of an update service. */
static bool status_parse(struct update_status *s, const char *text)
{
    char word[8];

    memset(s, 0, sizeof *s);
    member(text, "state", s->state, sizeof s->state);
    member(text, "boot", s->boot, sizeof s->boot);
    member(text, "running.version", s->version, sizeof s->version);
    member(text, "running.slot", s->slot, sizeof s->slot);
    member(text, "crc32", s->crc32, sizeof s->crc32);
    member(text, "error", s->error, sizeof s->error);
    s->slot_offset = number(text, "running.offset");
    s->received = number(text, "received");
    s->total = number(text, "total");
    member(text, "running.confirmed", word, sizeof word);
    s->confirmed = strcmp(word, "true") == 0;
    member(text, "rolled_back.version", s->rolled_back_version, sizeof s->rolled_back_version);
    member(text, "rolled_back.why", s->rolled_back_why, sizeof s->rolled_back_why);
    s->rolled_back = s->rolled_back_why[0] != '\0';
    return s->state[0] && s->boot[0];
}

static update_result result_of(const struct http_answer *a)
{
    if (a->location[0])
        return UPDATE_FOREIGN;
    switch (a->status) {
    case 200:
        return UPDATE_OK;
    case 404:
    case 405:
        return UPDATE_FOREIGN;
    case 409:
        return UPDATE_BUSY;
    case 408:
    case 416:
    case 429:
    case 502:
    case 503:
    case 504:
        return UPDATE_AGAIN;
    default:
        return UPDATE_REFUSED;
    }
}

/* Sends q. why: the device's text or, if no answer arrived, the reason. status: the state that the device reports for
 * GET /update; NULL for other requests. */
static update_result exchange(const struct http_request *q, struct update_status *status, struct cmx_why *why)
{
    char words[320];
    struct http_answer a;
    update_result result;
    cmx_err err = http_exchange(q, &a, why);

    if (err)
        return err == CMX_EAGAIN ? UPDATE_STOPPED : err == CMX_EINVAL ? UPDATE_REFUSED : UPDATE_AGAIN;
    result = result_of(&a);
    if (result == UPDATE_OK && status && !status_parse(status, (const char *)a.body))
        result = UPDATE_FOREIGN;
    cmx_why_set(why, "%s", http_answer_words(&a, words, sizeof words));
    http_answer_free(&a);
    return result;
}

update_result update_status_get(const char *url, struct update_status *out, struct cmx_why *why)
{
    const struct http_request q = {.base = url, .target = "/update", .silence_ms = ANSWER_MS, .total_ms = ANSWER_MS};

    update_result result = exchange(&q, out, why);

    if (result == UPDATE_FOREIGN)
        cmx_why_set(why, "the service that answers there is not an update service: %s", why->text);
    return result;
}

update_result update_send(const char *url, const struct http_upload *file, struct cmx_why *why)
{
    const struct http_request q = {
        .base = url, .target = "/update", .silence_ms = UPLOAD_SILENCE_MS, .post = true, .upload = file};

    return exchange(&q, NULL, why);
}

update_result update_restart(const char *url, struct cmx_why *why)
{
    const struct http_request q = {
        .base = url, .target = "/restart", .silence_ms = ANSWER_MS, .total_ms = ANSWER_MS, .post = true};

    return exchange(&q, NULL, why);
}
