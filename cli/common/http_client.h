/* http_client.h - one request to a device's service, with libcurl. Plain HTTP, because an SSH session carries it. Uses
 * no proxy and follows no redirect; limits the size of the answer and the duration of the exchange. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "cmxsafe/core/err.h"
#include "cmxsafe/core/why.h"

#define HTTP_ANSWER_MAX (64 * 1024)
#define HTTP_URL_MAX 4096
#define HTTP_TYPE_MAX 64
#define HTTP_LOCATION_MAX 128
/* Name of the environment variable with the source address for requests whose `source` is NULL. */
#define HTTP_SOURCE_VARIABLE "CMXSAFE_SOURCE"

/* The body of a POST: the bytes of a file from offset `first` on. kbps: maximum rate in KB a second; 0: no limit. */
struct http_upload {
    FILE *file; /* positioned at offset `first` */
    uint64_t first, total;
    unsigned kbps;
    /* Called during the upload. `sent` includes the bytes before `first`. If it returns false, the request ends. */
    bool (*progress)(void *arg, uint64_t sent);
    void *arg;
};

struct http_request {
    const char *base;                 /* "http://host[:port]" or "unix:/path"; slashes at its end are ignored */
    const char *target;               /* for example "/evidence?nonce=..." */
    const char *accept;               /* NULL: no Accept header */
    const char *source;               /* connect from this address; NULL: see HTTP_SOURCE_VARIABLE */
    unsigned silence_ms;              /* give up after this long with less than 1 byte a second (upload: 64) */
    unsigned total_ms;                /* give up after this long in total; 0: no limit */
    bool post;                        /* the method is POST; without upload, the body is empty */
    const struct http_upload *upload; /* NULL: no body */
};

struct http_answer {
    int status;                       /* HTTP status; 0: no answer */
    char type[HTTP_TYPE_MAX];         /* Content-Type without parameters, lower case */
    char location[HTTP_LOCATION_MAX]; /* where the answer redirects to, as printable ASCII; "": no redirect */
    unsigned retry_s;                 /* value of Retry-After; 0: none, or an hour or more */
    size_t len;
    uint8_t *body; /* owned; a NUL follows the len bytes */
};

#define HTTP_UNIX "unix:" /* a base with this prefix is the path of a UNIX socket */
#define HTTP_URL_FORM "not a URL of the form http://HOST[:PORT]"

/* True if a request can use the URL as its base. */
bool http_url_ok(const char *url);

/* Returns CMX_OK when an answer arrived, with any status; free it with http_answer_free. Otherwise `why` says what
 * failed: CMX_EINVAL (not an http URL), CMX_EDNS, CMX_EREFUSED, CMX_ETIMEOUT, CMX_ECLOSED, CMX_EPROTO (the peer does
 * not speak HTTP), CMX_ETRUNC (shorter than announced), CMX_ENOSPC (longer than HTTP_ANSWER_MAX), CMX_EAGAIN (progress
 * ended the request), CMX_ENOMEM. */
CMX_MUST_USE cmx_err http_exchange(const struct http_request *q, struct http_answer *a, struct cmx_why *why);
void http_answer_free(struct http_answer *a);

/* Returns the device's reason: the first line of the body, without a leading "error: ". '?' replaces bytes that are not
 * printable ASCII. If the line is empty or HTML, says so with the HTTP status; if the answer is a redirect, says where
 * to.
 */
const char *http_answer_words(const struct http_answer *a, char *out, size_t cap);
