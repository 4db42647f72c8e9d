#include "cmxsafe/core/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cmxsafe/core/base64.h"
#include "cmxsafe/core/text.h"

static void put(struct cmx_json *j, const char *s, size_t len)
{
    if (!j->err && j->sink && cmx_buf_room(j->out) < len)
        j->err = j->sink(j->sink_arg, j->out);
    if (!j->err)
        j->err = cmx_buf_put(j->out, s, len);
}

/* Reads the UTF-8 sequence at s (RFC 3629 section 4: no overlong forms, no surrogates). Returns its length, or 0 if it
 * is malformed; *code is then undefined. */
static size_t utf8_decode(const uint8_t *s, size_t n, uint32_t *code)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000}; /* the smallest code point of each length */
    size_t len = 1;

    *code = s[0];
    if (s[0] < 0x80)
        return 1;
    if (s[0] < 0xc0 || s[0] > 0xf4)
        return 0;
    while (s[0] & 0x80u >> len) /* the first byte has len leading one bits */
        len++;
    if (n < len)
        return 0;
    *code &= 0x7fu >> len;
    for (size_t i = 1; i < len; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        *code = *code << 6 | (s[i] & 0x3fu);
    }
    return *code < least[len] || (*code >= 0xd800 && *code < 0xe000) || *code > 0x10ffff ? 0 : len;
}

static void put_control(struct cmx_json *j, uint8_t c)
{
    char escape[8] = "\\u00";

    cmx_text_hex_encode(escape + 4, &c, 1);
    put(j, escape, 6);
}

static void put_text(struct cmx_json *j, const char *value, size_t len)
{
    put(j, "\"", 1);
    for (size_t i = 0; i < len && !j->err;) {
        uint32_t code;
        size_t n = utf8_decode((const uint8_t *)value + i, len - i, &code);

        if (n == 0) {
            put(j, "\\ufffd", 6);
        } else if (code < 0x20 || (code >= 0x7f && code < 0xa0)) { /* JSON allows DEL and C1, but terminals obey them */
            put_control(j, (uint8_t)code);
        } else {
            if (code == '"' || code == '\\')
                put(j, "\\", 1);
            put(j, value + i, n);
        }
        i += n ? n : 1;
    }
    put(j, "\"", 1);
}

/* Writes what precedes a value: a comma after a previous value, and the key if there is one. */
static void lead(struct cmx_json *j, const char *key)
{
    bool in_object = j->depth > 0 && !(j->array & 1);

    if (!j->err && ((key != NULL) != in_object || (j->depth == 0 && j->started)))
        j->err = CMX_EINTERNAL;
    if (j->err)
        return;
    j->started = true;
    if (j->depth > 0 && j->element & 1)
        put(j, ",", 1);
    j->element |= 1;
    if (key) {
        put_text(j, key, strlen(key));
        put(j, ":", 1);
    }
}

static void open_nested(struct cmx_json *j, const char *key, bool array)
{
    lead(j, key);
    if (!j->err && j->depth == CMX_JSON_DEPTH_MAX)
        j->err = CMX_EINTERNAL;
    if (j->err)
        return;
    put(j, array ? "[" : "{", 1);
    j->array = j->array << 1 | array;
    j->element <<= 1;
    j->depth++;
}

void cmx_json_init(struct cmx_json *j, struct cmx_buf *out)
{
    memset(j, 0, sizeof *j);
    j->out = out;
}

void cmx_json_init_sink(struct cmx_json *j, struct cmx_buf *out, cmx_json_sink sink, void *arg)
{
    cmx_json_init(j, out);
    j->sink = sink;
    j->sink_arg = arg;
}

void cmx_json_object(struct cmx_json *j, const char *key)
{
    open_nested(j, key, false);
}

void cmx_json_array(struct cmx_json *j, const char *key)
{
    open_nested(j, key, true);
}

void cmx_json_end(struct cmx_json *j)
{
    if (!j->err && j->depth == 0)
        j->err = CMX_EINTERNAL;
    if (j->err)
        return;
    put(j, j->array & 1 ? "]" : "}", 1);
    j->array >>= 1;
    j->element >>= 1;
    j->depth--;
}

void cmx_json_str(struct cmx_json *j, const char *key, const char *value)
{
    if (value)
        cmx_json_strn(j, key, value, strlen(value));
    else
        cmx_json_null(j, key);
}

void cmx_json_strn(struct cmx_json *j, const char *key, const char *value, size_t len)
{
    lead(j, key);
    put_text(j, value, len);
}

void cmx_json_hex(struct cmx_json *j, const char *key, const void *data, size_t len)
{
    const uint8_t *p = data;
    char two[3];

    lead(j, key);
    put(j, "\"", 1);
    for (size_t i = 0; i < len; i++) {
        cmx_text_hex_encode(two, p + i, 1);
        put(j, two, 2);
    }
    put(j, "\"", 1);
}

void cmx_json_base64url(struct cmx_json *j, const char *key, const void *data, size_t len)
{
    const uint8_t *p = data;
    struct cmx_buf b;
    char four[4];

    lead(j, key);
    put(j, "\"", 1);
    for (size_t i = 0; i < len && !j->err; i += 3) {
        cmx_buf_init(&b, four, sizeof four);
        j->err = cmx_base64_url_encode(&b, p + i, len - i < 3 ? len - i : 3);
        put(j, four, cmx_buf_len(&b));
    }
    put(j, "\"", 1);
}

static void put_word(struct cmx_json *j, const char *key, const char *word)
{
    lead(j, key);
    put(j, word, strlen(word));
}

void cmx_json_u64(struct cmx_json *j, const char *key, uint64_t value)
{
    char digits[24];

    snprintf(digits, sizeof digits, "%" PRIu64, value);
    put_word(j, key, digits);
}

void cmx_json_i64(struct cmx_json *j, const char *key, int64_t value)
{
    char digits[24];

    snprintf(digits, sizeof digits, "%" PRId64, value);
    put_word(j, key, digits);
}

void cmx_json_bool(struct cmx_json *j, const char *key, bool value)
{
    put_word(j, key, value ? "true" : "false");
}

void cmx_json_null(struct cmx_json *j, const char *key)
{
    put_word(j, key, "null");
}

cmx_err cmx_json_finish(struct cmx_json *j)
{
    if (!j->err && (j->depth > 0 || !j->started))
        j->err = CMX_EINTERNAL;
    return j->err;
}
