/* multipart.h - takes a multipart/form-data body apart as it arrives, in pieces of any size. Finds where parts begin
 * and end; never holds a body. Pure: no I/O, clock or allocation. Formats: RFC 2046 section 5.1 (delimiters, preamble,
 * epilogue), RFC 7578 (form-data). */
#ifndef CMX_OTA_MULTIPART_H
#define CMX_OTA_MULTIPART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/buf.h"
#include "cmxsafe/core/err.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CMX_MULTIPART_BOUNDARY_MAX 70 /* RFC 2046 section 5.1.1 */
#define CMX_MULTIPART_LINE_MAX 512    /* of a part's header */
#define CMX_MULTIPART_HEADERS_MAX 16  /* lines in one part */
#define CMX_MULTIPART_NAME_MAX 32     /* a field's name, NUL included; a longer one is cut and so matches none */

typedef enum {
    CMX_MULTIPART_MORE, /* all input is consumed: give more */
    CMX_MULTIPART_PART, /* a part begins; its name is in m->name */
    CMX_MULTIPART_DATA, /* bytes of it */
    CMX_MULTIPART_DONE, /* it ends */
    CMX_MULTIPART_END   /* the closing delimiter was there; what follows is epilogue and ignored */
} cmx_multipart_kind;

struct cmx_multipart_event {
    cmx_multipart_kind kind;
    const uint8_t *data; /* DATA: borrowed from the input or from m, until the next call */
    size_t len;
};

/* Invariant: assumed <= matched <= delimiter_len; the first `matched` bytes of the delimiter are withheld from the
 * data. */
struct cmx_multipart {
    int state;
    size_t delimiter_len;
    size_t matched;
    size_t assumed; /* of these, how many stand for a CRLF that was consumed before */
    size_t line_len;
    unsigned lines;
    bool in_part;
    bool has_name;
    char name[CMX_MULTIPART_NAME_MAX];
    char delimiter[4 + CMX_MULTIPART_BOUNDARY_MAX]; /* CR LF - - boundary */
    char line[CMX_MULTIPART_LINE_MAX];
};

/* content_type: the request's header. CMX_EINVAL: not multipart/form-data; CMX_EFORMAT: no or an impossible boundary.
 */
CMX_MUST_USE cmx_err cmx_multipart_init(struct cmx_multipart *m, const char *content_type);

/* Takes bytes from *in and tells of one event; call until MORE (or END). CMX_EFORMAT, CMX_ENOSPC (a header line or too
 * many): the body is refused, and so is everything after it. */
CMX_MUST_USE cmx_err cmx_multipart_next(struct cmx_multipart *m, struct cmx_buf *in, struct cmx_multipart_event *ev);

/* Whether the closing delimiter was there: a body that stops before it was cut short. */
bool cmx_multipart_complete(const struct cmx_multipart *m);

#ifdef __cplusplus
}
#endif
#endif
