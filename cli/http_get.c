#include "http_get.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/port/port.h"

/* ---- the answer ---- */

/* A head's line, without its end; *at moves behind it. NULL: none that ends. */
static const char *next_line(const char *data, size_t len, size_t *at, size_t *line_len)
{
    const char *start = data + *at;
    const char *nl = memchr(start, '\n', len - *at);

    if (!nl)
        return NULL;
    *at = (size_t)(nl - data) + 1;
    *line_len = (size_t)(nl - start);
    if (*line_len > 0 && start[*line_len - 1] == '\r')
        --*line_len;
    return start;
}

/* The value if the line is the header `name`, else NULL. */
static const char *header_value(const char *line, size_t len, const char *name, size_t *value_len)
{
    size_t n = strlen(name);

    if (len <= n || strncasecmp(line, name, n) != 0 || line[n] != ':')
        return NULL;
    for (n++; n < len && (line[n] == ' ' || line[n] == '\t'); n++)
        ;
    *value_len = len - n;
    return line + n;
}

static cmx_err read_number(const char *value, size_t len, uint64_t max, uint64_t *out)
{
    char word[24];

    if (len == 0 || len >= sizeof word)
        return CMX_EPROTO;
    memcpy(word, value, len);
    word[len] = 0;
    return strspn(word, "0123456789") == len && cmx_text_u64(word, 0, max, out) == CMX_OK ? CMX_OK : CMX_EPROTO;
}

static void read_type(const char *value, size_t len, char out[64])
{
    size_t n = 0;

    for (; n < len && n < 63 && value[n] > ' ' && value[n] != ';' && value[n] < 0x7f; n++)
        out[n] = (char)(value[n] >= 'A' && value[n] <= 'Z' ? value[n] + 32 : value[n]);
    out[n] = 0;
}

static cmx_err read_header(const char *line, size_t len, struct http_answer *out, uint64_t *length)
{
    const char *v;
    uint64_t seconds = 0;
    size_t n;

    if ((v = header_value(line, len, "Content-Length", &n)))
        return read_number(v, n, HTTP_ANSWER_MAX, length);
    if (header_value(line, len, "Transfer-Encoding", &n))
        return CMX_EPROTO; /* HTTP/1.0 was spoken: RFC 9112 section 6.1 forbids it */
    if ((v = header_value(line, len, "Content-Type", &n)))
        read_type(v, n, out->type);
    if ((v = header_value(line, len, "Retry-After", &n)) && read_number(v, n, 3600, &seconds) == CMX_OK)
        out->retry = (unsigned)seconds;
    return CMX_OK;
}

cmx_err http_parse_answer(const uint8_t *data, size_t len, struct http_answer *out)
{
    const char *text = (const char *)data;
    uint64_t length = UINT64_MAX, status = 0;
    size_t at = 0, n;
    const char *line = next_line(text, len, &at, &n);

    memset(out, 0, sizeof *out);
    /* RFC 9112 section 4: HTTP-version SP status-code */
    if (!line || n < 12 || strncmp(line, "HTTP/1.", 7) != 0 || line[8] != ' ' || read_number(line + 9, 3, 599, &status))
        return CMX_EPROTO;
    while ((line = next_line(text, len, &at, &n)) && n > 0)
        if (read_header(line, n, out, &length))
            return CMX_EPROTO;
    if (!line || status < 100)
        return CMX_EPROTO;
    out->status = (int)status;
    out->body = data + at;
    out->len = len - at;
    if (length == UINT64_MAX)
        return CMX_OK;
    if (length > out->len)
        return CMX_ETRUNC;
    out->len = (size_t)length;
    return CMX_OK;
}

/* ---- the URL ---- */

struct target {
    char host[256];
    char port[6];
    const char *path;
};

/* "host", "[v6]" or either with ":port", len chars. */
static cmx_err split_authority(const char *s, size_t len, struct target *t)
{
    const char *end = s + len;
    const char *host_end = *s == '[' ? memchr(s, ']', len) : memchr(s, ':', len);
    const char *host = s + (*s == '[');
    const char *colon;
    uint64_t port = 80;

    if (*s == '[' && !host_end)
        return CMX_EINVAL;
    if (!host_end)
        host_end = end;
    colon = host_end + (*s == '[');
    if (host_end == host || (size_t)(host_end - host) >= sizeof t->host || (colon < end && *colon != ':'))
        return CMX_EINVAL;
    if (colon < end && read_number(colon + 1, (size_t)(end - colon - 1), 65535, &port))
        return CMX_EINVAL;
    memcpy(t->host, host, (size_t)(host_end - host));
    t->host[host_end - host] = 0;
    snprintf(t->port, sizeof t->port, "%u", (unsigned)port);
    return port ? CMX_OK : CMX_EINVAL;
}

static cmx_err split_url(const char *url, struct target *t)
{
    const char *at = url + 7;
    size_t len;

    if (strncmp(url, "http://", 7) != 0 || strlen(url) > HTTP_URL_MAX)
        return CMX_EINVAL;
    for (const char *p = url; *p; p++)
        if (*p <= ' ' || *p >= 0x7f)
            return CMX_EINVAL; /* nothing may end the request line early */
    len = strcspn(at, "/?#");
    t->path = at[len] ? at + len : "/";
    return len > 0 && *t->path == '/' ? split_authority(at, len, t) : CMX_EINVAL;
}

/* ---- the connection ---- */

static cmx_err wait_for(int fd, short events, unsigned timeout_ms)
{
    struct pollfd p = {.fd = fd, .events = events};
    int n;

    do
        n = poll(&p, 1, (int)timeout_ms);
    while (n < 0 && errno == EINTR);
    return n > 0 ? CMX_OK : n == 0 ? CMX_ETIMEOUT : CMX_EIO;
}

/* Silence ends an exchange after timeout_ms, and four times that ends it however much is said: a device that answers a
 * byte now and then must not keep us. */
struct patience {
    unsigned timeout_ms;
    uint64_t deadline;
};

static cmx_err be_patient(int fd, short events, const struct patience *p)
{
    uint64_t now = cmx_port_now_ms();

    if (now >= p->deadline)
        return CMX_ETIMEOUT;
    return wait_for(fd, events, p->deadline - now < p->timeout_ms ? (unsigned)(p->deadline - now) : p->timeout_ms);
}

static cmx_err error_of(int number)
{
    switch (number) {
    case ECONNREFUSED:
        return CMX_EREFUSED;
    case ECONNRESET:
    case EPIPE:
        return CMX_ECLOSED;
    case ETIMEDOUT:
        return CMX_ETIMEOUT;
    default:
        return CMX_EUNREACH;
    }
}

static cmx_err connect_one(const struct addrinfo *ai, const struct patience *p, int *out)
{
    int fd = socket(ai->ai_family, ai->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, ai->ai_protocol);
    int number = 0;
    socklen_t len = sizeof number;
    cmx_err err = CMX_OK;

    if (fd < 0)
        return CMX_EUNREACH;
    if (connect(fd, ai->ai_addr, ai->ai_addrlen) != 0) {
        err = errno == EINPROGRESS ? be_patient(fd, POLLOUT, p) : error_of(errno);
        if (!err && getsockopt(fd, SOL_SOCKET, SO_ERROR, &number, &len) == 0 && number)
            err = error_of(number);
    }
    if (err)
        close(fd);
    else
        *out = fd;
    return err;
}

static cmx_err connect_to(const struct target *t, const struct patience *p, int *out)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    cmx_err err = CMX_EDNS;

    if (getaddrinfo(t->host, t->port, &hints, &list) != 0)
        return CMX_EDNS;
    for (struct addrinfo *ai = list; ai; ai = ai->ai_next) {
        err = connect_one(ai, p, out);
        if (!err)
            break;
    }
    freeaddrinfo(list);
    return err;
}

static cmx_err send_all(int fd, const char *data, size_t len, const struct patience *p)
{
    while (len > 0) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
        cmx_err err;

        if (n >= 0) {
            data += n;
            len -= (size_t)n;
            continue;
        }
        if (errno != EAGAIN && errno != EINTR)
            return error_of(errno);
        err = be_patient(fd, POLLOUT, p);
        if (err)
            return err;
    }
    return CMX_OK;
}

static cmx_err receive_all(int fd, uint8_t *mem, size_t *len, const struct patience *p)
{
    for (;;) {
        cmx_err err = be_patient(fd, POLLIN, p);
        ssize_t n;

        if (err)
            return err;
        if (*len == HTTP_ANSWER_MAX)
            return CMX_ENOSPC;
        n = recv(fd, mem + *len, HTTP_ANSWER_MAX - *len, 0);
        if (n == 0)
            return CMX_OK;
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return error_of(errno);
        if (n > 0)
            *len += (size_t)n;
    }
}

static cmx_err exchange(const struct target *t, const char *accept, unsigned timeout_ms, struct http_answer *out)
{
    char request[HTTP_URL_MAX + 512];
    bool v6 = strchr(t->host, ':') != NULL;
    int n = snprintf(request, sizeof request, "GET %s HTTP/1.0\r\nHost: %s%s%s:%s\r\nAccept: %s\r\n\r\n", t->path,
                     v6 ? "[" : "", t->host, v6 ? "]" : "", t->port, accept ? accept : "*/*");
    uint8_t *mem = cmx_mem_alloc(HTTP_ANSWER_MAX);
    const struct patience p = {timeout_ms, cmx_port_now_ms() + 4ull * timeout_ms};
    size_t len = 0;
    int fd = -1;
    cmx_err err = mem ? connect_to(t, &p, &fd) : CMX_ENOMEM;

    if (!err)
        err = n > 0 && (size_t)n < sizeof request ? send_all(fd, request, (size_t)n, &p) : CMX_ENOSPC;
    if (!err)
        err = receive_all(fd, mem, &len, &p);
    if (fd >= 0)
        close(fd);
    if (!err)
        err = len ? http_parse_answer(mem, len, out) : CMX_ECLOSED;
    out->mem = mem;
    return err;
}

cmx_err http_get(const char *url, const char *accept, unsigned timeout_ms, struct http_answer *out, char *why,
                 size_t why_cap)
{
    struct target t;
    cmx_err err = split_url(url, &t);

    memset(out, 0, sizeof *out);
    if (!err)
        err = exchange(&t, accept, timeout_ms, out);
    if (!err)
        return CMX_OK;
    snprintf(why, why_cap, "%s", err == CMX_EINVAL ? "is not a URL such as http://127.0.0.1:8888" : cmx_err_text(err));
    http_answer_free(out);
    return err;
}

void http_answer_free(struct http_answer *a)
{
    cmx_mem_free(a->mem);
    a->mem = NULL;
}
