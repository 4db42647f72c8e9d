#include "cli/common/http_client.h"

#include <ctype.h>
#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/text.h"

enum { CONNECT_MAX_MS = 15000, SLOWEST_BYTES_S = 64 };

static size_t take_body(char *data, size_t one, size_t n, void *arg)
{
    struct http_answer *a = arg;
    size_t len = one * n;

    if (len > HTTP_ANSWER_MAX - a->len)
        return 0; /* ends the exchange with CURLE_WRITE_ERROR */
    memcpy(a->body + a->len, data, len);
    a->len += len;
    a->body[a->len] = 0;
    return len;
}

static size_t give_body(char *out, size_t one, size_t n, void *arg)
{
    const struct http_upload *u = arg;

    return fread(out, one, n, u->file);
}

static int watch_progress(void *arg, curl_off_t down_total, curl_off_t down, curl_off_t up_total, curl_off_t up)
{
    const struct http_upload *u = arg;

    (void)down_total;
    (void)down;
    (void)up_total;
    return u->progress(u->arg, u->first + (uint64_t)up) ? 0 : 1;
}

static cmx_err error_of(CURLcode rc)
{
    switch (rc) {
    case CURLE_OK:
        return CMX_OK;
    case CURLE_URL_MALFORMAT:
        return CMX_EINVAL;
    case CURLE_COULDNT_RESOLVE_HOST:
        return CMX_EDNS;
    case CURLE_COULDNT_CONNECT:
        return CMX_EREFUSED;
    case CURLE_OPERATION_TIMEDOUT:
        return CMX_ETIMEOUT;
    case CURLE_ABORTED_BY_CALLBACK:
        return CMX_EAGAIN;
    case CURLE_PARTIAL_FILE:
        return CMX_ETRUNC;
    case CURLE_WRITE_ERROR:
        return CMX_ENOSPC;
    case CURLE_UNSUPPORTED_PROTOCOL: /* the answer has no status line, so libcurl treats it as HTTP/0.9 */
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_BAD_CONTENT_ENCODING:
        return CMX_EPROTO;
    case CURLE_OUT_OF_MEMORY:
        return CMX_ENOMEM;
    default:
        return CMX_ECLOSED;
    }
}

/* Appends a header; on failure frees the list and returns NULL. */
static struct curl_slist *add_header(struct curl_slist *list, const char *name, const char *value)
{
    char line[256];
    struct curl_slist *more;

    snprintf(line, sizeof line, "%s: %s", name, value);
    more = curl_slist_append(list, line);
    if (!more)
        curl_slist_free_all(list);
    return more;
}

static struct curl_slist *headers_of(const struct http_request *q)
{
    struct curl_slist *list = add_header(NULL, "User-Agent", "cmxsafe");
    char range[96];

    if (list && q->accept)
        list = add_header(list, "Accept", q->accept);
    if (list && q->upload)
        list = add_header(list, "Content-Type", "application/octet-stream");
    if (list && q->upload && q->upload->first > 0) {
        snprintf(range, sizeof range, "bytes %llu-%llu/%llu", (unsigned long long)q->upload->first,
                 (unsigned long long)q->upload->total - 1, (unsigned long long)q->upload->total);
        list = add_header(list, "Content-Range", range);
    }
    return list;
}

static void set_upload(CURL *c, const struct http_upload *u)
{
    curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)(u->total - u->first));
    curl_easy_setopt(c, CURLOPT_READFUNCTION, give_body);
    curl_easy_setopt(c, CURLOPT_READDATA, u);
    curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, watch_progress);
    curl_easy_setopt(c, CURLOPT_XFERINFODATA, u);
    curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(c, CURLOPT_MAX_SEND_SPEED_LARGE, (curl_off_t)u->kbps * 1024);
}

/* NULL: the base is not a UNIX socket. */
static const char *unix_path(const char *base)
{
    return strncmp(base, HTTP_UNIX "/", strlen(HTTP_UNIX "/")) == 0 ? base + strlen(HTTP_UNIX) : NULL;
}

static void set_options(CURL *c, const struct http_request *q, struct http_answer *a)
{
    unsigned connect_ms = q->silence_ms < CONNECT_MAX_MS ? q->silence_ms : CONNECT_MAX_MS;
    const char *from = q->source ? q->source : getenv(HTTP_SOURCE_VARIABLE);
    char source[80];

    if (from && from[0]) {
        snprintf(source, sizeof source, "host!%s", from);
        curl_easy_setopt(c, CURLOPT_INTERFACE, source); /* libcurl copies the string */
    }
    curl_easy_setopt(c, CURLOPT_UNIX_SOCKET_PATH, unix_path(q->base));
    curl_easy_setopt(c, CURLOPT_PROXY, "");
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http");
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_ms);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, q->upload ? (long)SLOWEST_BYTES_S : 1L);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, (long)(q->silence_ms + 999) / 1000);
    curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)q->total_ms);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, a);
    if (q->post) {
        curl_easy_setopt(c, CURLOPT_POST, 1L);
        curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE, 0L);
        curl_easy_setopt(c, CURLOPT_POSTFIELDS, q->upload ? NULL : "");
    }
    if (q->upload)
        set_upload(c, q->upload);
}

static void read_head(CURL *c, struct http_answer *a)
{
    const char *type = NULL;
    const char *location = NULL;
    curl_off_t retry = 0;
    long status = 0;
    size_t n = 0;

    curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(c, CURLINFO_RETRY_AFTER, &retry);
    curl_easy_getinfo(c, CURLINFO_CONTENT_TYPE, &type);
    curl_easy_getinfo(c, CURLINFO_REDIRECT_URL, &location);
    a->status = (int)status;
    if (location)
        cmx_text_clean_ascii(a->location, sizeof a->location, location, strlen(location));
    a->retry_s = retry > 0 && retry < 3600 ? (unsigned)retry : 0;
    for (; type && type[n] && type[n] != ';' && type[n] != ' ' && n < sizeof a->type - 1; n++)
        a->type[n] = (char)tolower((unsigned char)type[n]);
    a->type[n] = '\0';
}

static cmx_err perform(CURL *c, const struct http_request *q, struct http_answer *a, struct cmx_why *why)
{
    char text[CURL_ERROR_SIZE] = "";
    CURLcode rc;

    set_options(c, q, a);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, text);
    rc = curl_easy_perform(c);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, NULL);
    read_head(c, a);
    /* A device that refuses an upload may answer and close the connection before it has received the whole body. Its
     * answer counts, even though sending failed. */
    if (rc == CURLE_OK || (q->upload && a->status >= 300 && rc != CURLE_ABORTED_BY_CALLBACK))
        return CMX_OK;
    if (rc == CURLE_WRITE_ERROR)
        cmx_why_set(why, "the answer is longer than %d bytes", HTTP_ANSWER_MAX);
    else
        cmx_why_set(why, "%s", text[0] ? text : curl_easy_strerror(rc));
    return error_of(rc);
}

bool http_url_ok(const char *url)
{
    return unix_path(url) || (strncasecmp(url, "http://", 7) == 0 && url[7] && url[7] != '/');
}

cmx_err http_exchange(const struct http_request *q, struct http_answer *a, struct cmx_why *why)
{
    char url[HTTP_URL_MAX + 1];
    const char *host = unix_path(q->base) ? "http://localhost" : q->base;
    size_t base = strlen(host);
    struct curl_slist *headers;
    cmx_err err = CMX_ENOMEM;
    CURL *c;

    memset(a, 0, sizeof *a);
    while (base > 0 && host[base - 1] == '/')
        base--;
    if (!http_url_ok(q->base) ||
        (size_t)snprintf(url, sizeof url, "%.*s%s", (int)base, host, q->target) >= sizeof url) {
        cmx_why_set(why, HTTP_URL_FORM ", or too long");
        return CMX_EINVAL;
    }
    cmx_why_set(why, "out of memory");
    a->body = cmx_mem_alloc(HTTP_ANSWER_MAX + 1);
    c = curl_easy_init();
    headers = headers_of(q);
    if (a->body && c && headers && curl_easy_setopt(c, CURLOPT_URL, url) == CURLE_OK) {
        a->body[0] = 0;
        curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
        err = perform(c, q, a, why);
    }
    curl_easy_cleanup(c);
    curl_slist_free_all(headers);
    if (err)
        http_answer_free(a);
    return err;
}

void http_answer_free(struct http_answer *a)
{
    cmx_mem_free(a->body);
    memset(a, 0, sizeof *a);
}

const char *http_answer_words(const struct http_answer *a, char *out, size_t cap)
{
    const char *text = (const char *)a->body;
    size_t len = text ? strcspn(text, "\r\n") : 0;

    if (len >= 7 && strncmp(text, "error: ", 7) == 0) {
        text += 7;
        len -= 7;
    }
    if (a->location[0])
        snprintf(out, cap,
                 "it redirects to %s with HTTP status %d, and redirects are not followed; give the URL of the service "
                 "itself",
                 a->location, a->status);
    else if (len == 0 || text[0] == '<')
        snprintf(out, cap, "no reason given (HTTP status %d)", a->status);
    else
        cmx_text_clean_ascii(out, cap, text, len);
    return out;
}
