/* Parses any text as a host-key pin from a file or a setting. The fingerprint of an accepted pin must parse to a pin
 * with the same digest. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "cmxsafe/core/base64.h"
#include "cmxsafe/proxy/pin.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    uint8_t out[64];
    struct cmx_pin pin, again;
    char fingerprint[51];
    size_t n = 0;

    memcpy(text, data, size);
    text[size] = 0;
    if (cmx_base64_decode(out, sizeof out, text, size, &n) == CMX_OK)
        assert(n <= sizeof out);
    if (cmx_pin_parse(&pin, text) == CMX_OK) {
        assert(pin.types != 0);
        cmx_base64_fingerprint(fingerprint, pin.digest);
        assert(cmx_pin_parse(&again, fingerprint) == CMX_OK);
        assert(memcmp(again.digest, pin.digest, sizeof pin.digest) == 0);
    }
    free(text);
    return 0;
}
