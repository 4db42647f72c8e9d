/* Parses any text as a number, percent-encoding and a query string. The output must fit its buffer, and bytes that are
 * encoded in hex must decode to the same bytes. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "cmxsafe/core/text.h"
#include "cmxsafe/http/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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
    free(text);
    return 0;
}
