/* json.h - writes JSON (RFC 8259) into a bounded buffer, for status answers and records. No allocation, no I/O.
 *
 * The first failure sticks: later calls do nothing, and finish returns it, so that a writer reads like the document.
 * Text is escaped; bytes that are not UTF-8 (RFC 3629) come out as U+FFFD, so that the result is always valid JSON.
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
#ifndef CMX_CORE_JSON_H
#define CMX_CORE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/buf.h"
#include "cmxsafe/core/err.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CMX_JSON_DEPTH_MAX 16 /* objects and arrays within each other; at most 31 */

struct cmx_json {
    struct cmx_buf *out; /* borrowed */
    cmx_err err;         /* the first failure */
    unsigned depth;
    bool started;     /* the one top-level value is there */
    uint32_t array;   /* what is open, a bit for each depth, the innermost lowest: an array, else an object, */
    uint32_t element; /* and it has an element already */
};

/* Appends to out, borrowed until finish. */
void cmx_json_init(struct cmx_json *j, struct cmx_buf *out);

/* key: the member's name within an object; NULL at the top and within an array. Mixing them up is CMX_EINTERNAL. */
void cmx_json_object(struct cmx_json *j, const char *key);
void cmx_json_array(struct cmx_json *j, const char *key);
void cmx_json_end(struct cmx_json *j); /* of the innermost object or array */

void cmx_json_str(struct cmx_json *j, const char *key, const char *value); /* NULL: null */
void cmx_json_strn(struct cmx_json *j, const char *key, const char *value, size_t len);
void cmx_json_hex(struct cmx_json *j, const char *key, const void *data, size_t len); /* lower-case hex as a string */
void cmx_json_u64(struct cmx_json *j, const char *key, uint64_t value);
void cmx_json_i64(struct cmx_json *j, const char *key, int64_t value);
void cmx_json_bool(struct cmx_json *j, const char *key, bool value);
void cmx_json_null(struct cmx_json *j, const char *key);

/* CMX_ENOSPC: out was too small. CMX_EINTERNAL: the calls do not make one whole document. What out then holds is not
 * JSON. */
CMX_MUST_USE cmx_err cmx_json_finish(struct cmx_json *j);

#ifdef __cplusplus
}
#endif
#endif
