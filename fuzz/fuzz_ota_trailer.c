/* Parses any bytes as a trailer; a trailer that parses must encode to the same bytes. Also parses the input as a public
 * key. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cmxsafe/ota/trailer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cmx_trailer t;
    struct cmx_ota_keys keys = {0};
    uint8_t out[CMX_TRAILER_LEN];
    char *text = malloc(size + 1);

    if (!text)
        return 0;
    if (cmx_trailer_parse(&t, data, size) == CMX_OK) {
        cmx_trailer_write(&t, out);
        if (memcmp(out, data, sizeof out) != 0)
            abort();
    }
    memcpy(text, data, size);
    text[size] = '\0';
    if (cmx_ota_keys_add(&keys, text) == CMX_OK && keys.n != 1)
        abort();
    free(text);
    return 0;
}
