/* Reads any text as a device's list of contexts. Each step must move forward within the text, and ports must be
 * valid. */
#include <stdlib.h>
#include <string.h>

#include "cmxsafe/device/context_list.h"
#include "fuzz/must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    const char *at = text, *before = text;
    TaskParameters t;

    must(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    while (cmx_context_list_next(&at, &t) == CMX_OK) {
        must(at > before && at <= text + strlen(text));
        must(t.local_port > 0 && t.local_port <= 65535 && t.forward_remote_port > 0 && t.forward_remote_port <= 65535);
        before = at;
    }
    free(text);
    return 0;
}
