/* Parses any bytes as a manifest. The printed text of an accepted manifest must parse to the same manifest. */
#include <stdlib.h>
#include <string.h>

#include "gateway/verify/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct cmx_manifest m, again;
    static uint8_t mem[2 * CMX_MANIFEST_TEXT_MAX];
    struct cmx_buf b;
    unsigned line;

    if (size > CMX_MANIFEST_TEXT_MAX || cmx_manifest_parse(&m, (const char *)data, size, &line, NULL))
        return 0;
    cmx_buf_init(&b, mem, sizeof mem);
    if (cmx_manifest_print(&m, &b) ||
        cmx_manifest_parse(&again, (const char *)cmx_buf_data(&b), cmx_buf_len(&b), &line, NULL) ||
        memcmp(&m, &again, sizeof m) != 0)
        abort();
    return 0;
}
