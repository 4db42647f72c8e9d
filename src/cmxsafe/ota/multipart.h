/* multipart.h - parses a multipart/form-data body while it arrives in pieces of any size. Finds where parts begin and
 * end, and stores no body. Pure: no I/O, clock or allocation. Formats: RFC 2046 section 5.1 (delimiters, preamble,
 * epilogue), RFC 7578 (form-data). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/buf.h"
#include "cmxsafe/core/err.h"

#define CMX_MULTIPART_BOUNDARY_MAX 70 /* RFC 2046 section 5.1.1 */
#define CMX_MULTIPART_LINE_MAX 512    /* maximum size of a line in a part's header, in bytes */
#define CMX_MULTIPART_HEADERS_MAX 16  /* maximum number of header lines of a part */
#define CMX_MULTIPART_NAME_MAX 32     /* size of a field's name with NUL; a longer name is cut and matches no field */

typedef enum {
    CMX_MULTIPART_MORE, /* no event: all input is consumed */
    CMX_MULTIPART_PART, /* a part begins; its name is in m->name */
    CMX_MULTIPART_DATA, /* bytes of the part */
    CMX_MULTIPART_DONE, /* the part ends */
    CMX_MULTIPART_END   /* the closing delimiter; the epilogue that follows is ignored */
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
    size_t assumed; /* how many of the matched bytes were not received: a delimiter's CRLF counts as matched in advance,
                       because the delimiter may follow at once */
    size_t line_len;
    unsigned lines; /* lines since the last delimiter, the delimiter's own line included */
    bool has_name;
    char name[CMX_MULTIPART_NAME_MAX];
    char delimiter[4 + CMX_MULTIPART_BOUNDARY_MAX]; /* CR LF - - boundary */
    char line[CMX_MULTIPART_LINE_MAX];
};

/* Begins a body. content_type: the request's Content-Type header. CMX_EINVAL: not multipart/form-data; CMX_EFORMAT: no
 * boundary, or an invalid one.
 */
CMX_MUST_USE cmx_err cmx_multipart_init(struct cmx_multipart *m, const char *content_type);

/* Consumes bytes of *in up to the next event; call it until MORE or END. CMX_EFORMAT: malformed; CMX_ENOSPC: a header
 * line is too long, or there are too many header lines. After an error every later call fails too. */
CMX_MUST_USE cmx_err cmx_multipart_next(struct cmx_multipart *m, struct cmx_buf *in, struct cmx_multipart_event *ev);

/* True once the closing delimiter was found; a body without it is incomplete. */
bool cmx_multipart_complete(const struct cmx_multipart *m);
