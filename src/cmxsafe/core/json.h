/* json.h - writes JSON (RFC 8259) into a bounded buffer, for status answers and records. No allocation; the only I/O is
 * the caller's sink.
 *
 * After the first failure later calls do nothing, and cmx_json_finish returns that failure, so a caller checks for
 * errors only once. Text is escaped. Bytes that are not UTF-8 (RFC 3629) become U+FFFD, so that the result is always
 * valid JSON.
 *
 *     cmx_json_init(&j, &buf);
 *     cmx_json_object(&j, NULL);
 *     cmx_json_str(&j, "state", "up");
 *     cmx_json_array(&j, "ports");
 *     cmx_json_u64(&j, NULL, 81);
 *     cmx_json_end(&j);
 *     cmx_json_end(&j);
 *     err = cmx_json_finish(&j);
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/buf.h"
#include "cmxsafe/core/err.h"

CMX_C_BEGIN

#define CMX_JSON_DEPTH_MAX 16 /* maximum depth; at most 31: the masks below also need a bit for the top level */

/* Consumes all bytes of out. If it returns an error, the writer stops with that error. */
typedef cmx_err (*cmx_json_sink)(void *arg, struct cmx_buf *out);

struct cmx_json {
    struct cmx_buf *out; /* borrowed */
    cmx_json_sink sink;  /* NULL: the whole document must fit into out */
    void *sink_arg;
    cmx_err err; /* the first failure */
    unsigned depth;
    bool started;     /* the top-level value has begun */
    uint32_t array;   /* one bit for each open container, the lowest bit for the innermost; 1: an array, 0: an object */
    uint32_t element; /* one bit for each open container, as above; 1: the container is not empty */
};

/* Begins a document, which is appended to `out`. `out` is borrowed until cmx_json_finish. */
void cmx_json_init(struct cmx_json *j, struct cmx_buf *out);
/* Like cmx_json_init, for a document longer than `out`: sink is called whenever `out` is full. After cmx_json_finish,
 * `out` has the rest, which the caller must write. */
void cmx_json_init_sink(struct cmx_json *j, struct cmx_buf *out, cmx_json_sink sink, void *arg);

/* key, in all functions that write a value: the member's name within an object, and NULL at the top level and within an
 * array. Any other use causes CMX_EINTERNAL. */
void cmx_json_object(struct cmx_json *j, const char *key);
void cmx_json_array(struct cmx_json *j, const char *key);
void cmx_json_end(struct cmx_json *j); /* ends the innermost object or array */

void cmx_json_str(struct cmx_json *j, const char *key, const char *value); /* value NULL is written as null */
void cmx_json_strn(struct cmx_json *j, const char *key, const char *value, size_t len);
void cmx_json_hex(struct cmx_json *j, const char *key, const void *data, size_t len); /* lower-case hex as a string */
/* Writes the bytes as an unpadded base64url string (RFC 4648 section 5). */
void cmx_json_base64url(struct cmx_json *j, const char *key, const void *data, size_t len);
void cmx_json_u64(struct cmx_json *j, const char *key, uint64_t value);
void cmx_json_i64(struct cmx_json *j, const char *key, int64_t value);
void cmx_json_bool(struct cmx_json *j, const char *key, bool value);
void cmx_json_null(struct cmx_json *j, const char *key);

/* Ends the document. CMX_ENOSPC: out was too small. CMX_EINTERNAL: the calls before this one did not write one complete
 * document. After an error the content of out is not JSON. */
CMX_MUST_USE cmx_err cmx_json_finish(struct cmx_json *j);

CMX_C_END
