#include "update_http.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmxsafe/core/text.h"
#include "json_get.h"

enum { CONNECT_TIMEOUT_S = 15, ANSWER_TIMEOUT_S = 20, STALL_S = 30 };
enum {
    SLOWEST = 64,
    ANSWER_MAX = 16384
}; /* bytes a second, in either direction; bytes of any answer of this service */

struct sink {
    char *out;
    size_t cap;
    size_t len;
    size_t all; /* with what did not fit */
};

static size_t take(char *data, size_t one, size_t n, void *arg)
{
    struct sink *s = arg;
    size_t room = s->cap - 1 - s->len, k = one * n < room ? one * n : room;

    memcpy(s->out + s->len, data, k);
    s->len += k;
    s->out[s->len] = '\0';
    s->all += one * n;
    return s->all <= ANSWER_MAX ? one * n : 0; /* an answer without an end is none; 0 ends the exchange */
}

static CURL *handle(const char *url, const char *path, struct sink *s, char *full, size_t full_cap)
{
    CURL *c = curl_easy_init();

    if (!c)
        return NULL;
    snprintf(full, full_cap, "%s%s", url, path);
    s->out[0] = '\0';
    curl_easy_setopt(c, CURLOPT_URL, full);
    curl_easy_setopt(c, CURLOPT_PROXY, "");
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http");
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_TIMEOUT_S);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, s);
    return c;
}

static cmx_err error_of(CURLcode rc)
{
    switch (rc) {
    case CURLE_OK:
        return CMX_OK;
    case CURLE_COULDNT_CONNECT:
        return CMX_EREFUSED;
    case CURLE_COULDNT_RESOLVE_HOST:
        return CMX_EDNS;
    case CURLE_OPERATION_TIMEDOUT:
        return CMX_ETIMEOUT;
    case CURLE_ABORTED_BY_CALLBACK:
        return CMX_EAGAIN;
    case CURLE_OUT_OF_MEMORY:
        return CMX_ENOMEM;
    default:
        return CMX_ECLOSED;
    }
}

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

static cmx_err status_parse(struct update_status *s)
{
    char word[8];

    member(s->text, "state", s->state, sizeof s->state);
    member(s->text, "boot", s->boot, sizeof s->boot);
    if (!s->state[0] || !s->boot[0])
        return CMX_EPROTO;
    member(s->text, "running.version", s->version, sizeof s->version);
    member(s->text, "running.slot", s->slot, sizeof s->slot);
    member(s->text, "target.slot", s->target, sizeof s->target);
    member(s->text, "crc32", s->crc32, sizeof s->crc32);
    s->slot_offset = number(s->text, "running.offset");
    s->received = number(s->text, "received");
    s->total = number(s->text, "total");
    member(s->text, "running.confirmed", word, sizeof word);
    s->confirmed = strcmp(word, "true") == 0;
    member(s->text, "rolled_back.why", s->rolled_back_why, sizeof s->rolled_back_why);
    member(s->text, "rolled_back.version", s->rolled_back_version, sizeof s->rolled_back_version);
    s->rolled_back = s->rolled_back_why[0] != '\0';
    return CMX_OK;
}

cmx_err update_status_get(const char *url, struct update_status *out)
{
    struct sink s = {out->text, sizeof out->text, 0, 0};
    char full[1024];
    long status = 0;
    CURL *c;
    cmx_err err;

    memset(out, 0, sizeof *out);
    c = handle(url, "/update", &s, full, sizeof full);
    if (!c)
        return CMX_ENOMEM;
    curl_easy_setopt(c, CURLOPT_TIMEOUT, (long)ANSWER_TIMEOUT_S);
    err = error_of(curl_easy_perform(c));
    curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_cleanup(c);
    if (err)
        return err;
    return status == 200 ? status_parse(out) : CMX_EPROTO;
}

struct source {
    FILE *file;
    uint64_t offset;
    update_progress_fn progress;
    void *arg;
};

static size_t give(char *out, size_t one, size_t n, void *arg)
{
    struct source *s = arg;

    return fread(out, one, n, s->file);
}

static int watch(void *arg, curl_off_t down_total, curl_off_t down, curl_off_t up_total, curl_off_t up)
{
    struct source *s = arg;

    (void)down_total;
    (void)down;
    (void)up_total;
    return s->progress(s->arg, s->offset + (uint64_t)up) ? 0 : 1;
}

static cmx_err verdict(long status)
{
    if (status == 200)
        return CMX_OK;
    if (status == 409)
        return CMX_EBUSY;
    return status == 416 ? CMX_EEXIST : CMX_EPERM;
}

/* The headers that stand in the way of nothing else; NULL: no memory. */
static struct curl_slist *headers_of(uint64_t size, uint64_t offset)
{
    struct curl_slist *list = curl_slist_append(NULL, "Content-Type: application/octet-stream"), *more;
    char range[96];

    if (!list || offset == 0)
        return list;
    snprintf(range, sizeof range, "Content-Range: bytes %llu-%llu/%llu", (unsigned long long)offset,
             (unsigned long long)size - 1, (unsigned long long)size);
    more = curl_slist_append(list, range);
    if (!more)
        curl_slist_free_all(list);
    return more;
}

static cmx_err perform(CURL *c)
{
    long status = 0;
    CURLcode rc = curl_easy_perform(c);

    curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
    /* A refusal may come while we are still sending; the connection then ends, and the answer is what counts. */
    if (rc != CURLE_OK && (rc == CURLE_ABORTED_BY_CALLBACK || status < 400))
        return error_of(rc);
    return verdict(status);
}

/* The device's words go to a person's terminal: one line, nothing that a terminal obeys. */
static void one_line(char *text)
{
    text[strcspn(text, "\r\n")] = '\0';
    for (; *text; text++)
        if (*text < 0x20 || *text >= 0x7f)
            *text = '?';
}

cmx_err update_send(const char *url, const char *path, uint64_t size, uint64_t offset, unsigned kbps,
                    update_progress_fn progress, void *arg, char *answer, size_t answer_cap)
{
    struct sink s = {answer, answer_cap, 0, 0};
    struct source from = {.file = fopen(path, "rb"), .offset = offset, .progress = progress, .arg = arg};
    struct curl_slist *headers = headers_of(size, offset);
    char full[1024];
    CURL *c = handle(url, "/update", &s, full, sizeof full);
    cmx_err err = CMX_ENOMEM;

    if (c && headers && from.file && fseeko(from.file, (off_t)offset, SEEK_SET) == 0) {
        curl_easy_setopt(c, CURLOPT_POST, 1L);
        curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)(size - offset));
        curl_easy_setopt(c, CURLOPT_READFUNCTION, give);
        curl_easy_setopt(c, CURLOPT_READDATA, &from);
        curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, watch);
        curl_easy_setopt(c, CURLOPT_XFERINFODATA, &from);
        curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
        curl_easy_setopt(c, CURLOPT_MAX_SEND_SPEED_LARGE, (curl_off_t)kbps * 1024);
        curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, (long)SLOWEST);
        /* Also while the device checks: reading a slot back takes seconds. */
        curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, (long)STALL_S * 4);
        err = perform(c);
    }
    one_line(answer);
    if (from.file)
        fclose(from.file);
    curl_slist_free_all(headers);
    curl_easy_cleanup(c);
    return err;
}

cmx_err update_restart(const char *url)
{
    char answer[256], full[1024];
    struct sink s = {answer, sizeof answer, 0, 0};
    CURL *c = handle(url, "/restart", &s, full, sizeof full);
    cmx_err err;

    if (!c)
        return CMX_ENOMEM;
    curl_easy_setopt(c, CURLOPT_POSTFIELDS, "");
    curl_easy_setopt(c, CURLOPT_TIMEOUT, (long)ANSWER_TIMEOUT_S);
    err = perform(c);
    curl_easy_cleanup(c);
    return err;
}
