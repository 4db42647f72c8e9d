/* Parses any bytes as a manifest. The printed text of an accepted manifest must parse to the same manifest, and the
 * ranges to request must cover its regions. */
#include <string.h>

#include "fuzz/must.h"
#include "gateway/verify/manifest.h"

/* Returns the end of the range that contains this address; 0: there is none. */
static uint32_t range_end(const struct cmx_ranges *ranges, uint32_t at)
{
    for (size_t i = 0; i < ranges->n; i++)
        if (at >= ranges->r[i].begin && at < ranges->r[i].end)
            return ranges->r[i].end;
    return 0;
}

static void check_ranges(const struct cmx_manifest *m)
{
    struct cmx_ranges ranges;

    cmx_manifest_ranges(m, &ranges);
    for (size_t i = 0; i < m->n_regions; i++)
        for (uint32_t at = m->regions[i].range.begin; at < m->regions[i].range.end; at = range_end(&ranges, at))
            must(range_end(&ranges, at) != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct cmx_manifest m, again;
    static uint8_t mem[2 * CMX_MANIFEST_TEXT_MAX];
    struct cmx_buf b;
    unsigned line;

    if (size > CMX_MANIFEST_TEXT_MAX || cmx_manifest_parse(&m, (const char *)data, size, &line, NULL))
        return 0;
    cmx_buf_init(&b, mem, sizeof mem);
    must(!cmx_manifest_print(&m, &b) &&
         !cmx_manifest_parse(&again, (const char *)cmx_buf_data(&b), cmx_buf_len(&b), &line, NULL) &&
         memcmp(&m, &again, sizeof m) == 0);
    check_ranges(&m);
    return 0;
}
