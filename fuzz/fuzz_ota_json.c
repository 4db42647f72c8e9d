/* Parses any text as a device's JSON answer to the operator's command. A value must fit into its buffer, and the
 * elements of a list must lie within the text. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cli/common/json_get.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1), out[32];
    cmx_err err;

    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    err = json_get(text, "running.version", out, sizeof out);
    if (err == CMX_OK && strlen(out) >= sizeof out)
        abort();
    err = json_get(text, "state", out, sizeof out);
    (void)err;
    for (const char *x = json_first(text, "sessions"); x; x = json_next(x))
        if (json_length(x) == 0 || x + json_length(x) > text + size)
            abort();
    free(text);
    return 0;
}
