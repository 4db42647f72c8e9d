/* Parses any text as a number, percent-encoding, a query string and a Content-Range header. The output must fit its
 * buffer, and bytes that are encoded in hex must decode to the same bytes. A range must lie within the file, and must
 * be the same when it is written and parsed again. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmxsafe/core/text.h"
#include "cmxsafe/http/http.h"
#include "cmxsafe/ota/range.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void parse_range(const char *text)
{
    struct cmx_range r, again;
    char written[48];

    if (cmx_range_parse(&r, text) != CMX_OK)
        return;
    assert(r.first <= r.last && r.last < r.total);
    snprintf(written, sizeof written, "bytes %" PRIu32 "-%" PRIu32 "/%" PRIu32, r.first, r.last, r.total);
    assert(cmx_range_parse(&again, written) == CMX_OK && memcmp(&r, &again, sizeof r) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1), hex[65];
    const char *value = NULL;
    uint8_t out[32], again[32];
    uint64_t v;
    size_t n = 0;

    memcpy(text, data, size);
    text[size] = 0;
    if (cmx_text_u64(text, 5, 70000, &v) == CMX_OK)
        assert(v >= 5 && v <= 70000);
    if (cmx_text_url_decode(text, size, 1, out, sizeof out, &n) == CMX_OK) {
        assert(n <= sizeof out && n <= size);
        cmx_text_hex_encode(hex, out, n);
        assert(cmx_text_hex_decode(again, n, hex) == CMX_OK && memcmp(again, out, n) == 0);
    }
    if (cmx_http_param(text, "challenge", &value, &n) == CMX_OK)
        assert(value >= text && value + n <= text + strlen(text));
    parse_range(text);
    free(text);
    return 0;
}
