/* http_get.h - asks a device's service one thing over HTTP (RFC 9112), for the operator's command. GET only, plain TCP:
 * the way there is an SSH forward. Answers are bounded. */
#ifndef CLI_HTTP_GET_H
#define CLI_HTTP_GET_H

#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"

#define HTTP_ANSWER_MAX (64 * 1024) /* head and body */
#define HTTP_URL_MAX 4096

struct http_answer {
    int status;
    char type[64];  /* Content-Type without parameters, lower case */
    unsigned retry; /* Retry-After in seconds, 0: none */
    const uint8_t *body;
    size_t len;
    uint8_t *mem; /* owned */
};

/* url: "http://host[:port]/target"; host may be "[v6]". accept may be NULL. Waits at most timeout_ms for each step that
 * takes the peer, and four times that for all of them. why: one phrase. CMX_EINVAL: not such a URL; CMX_EDNS,
 * CMX_EREFUSED, CMX_EUNREACH, CMX_ETIMEOUT, CMX_ECLOSED; CMX_EPROTO: no HTTP answer; CMX_ETRUNC: shorter than promised;
 * CMX_ENOSPC; CMX_ENOMEM. */
CMX_MUST_USE cmx_err http_get(const char *url, const char *accept, unsigned timeout_ms, struct http_answer *out,
                              char *why, size_t why_cap);
void http_answer_free(struct http_answer *a);

/* The parser alone: bytes up to the connection's end. body points into data. CMX_EPROTO, CMX_ETRUNC. */
CMX_MUST_USE cmx_err http_parse_answer(const uint8_t *data, size_t len, struct http_answer *out);

#endif
