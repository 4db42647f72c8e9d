/* Parses the ranges= parameter of a request. Accepted ranges must lie within the chip, and their printed text must
 * parse to the same ranges. After an error, r must have no ranges, and `why` must not be empty. */
#include <stdlib.h>
#include <string.h>

#include "cmxsafe/attest/chain.h"
#include "cmxsafe/attest/ranges.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint32_t flash = 4u << 20;
    uint8_t mem[CMX_RANGES_TEXT_MAX];
    struct cmx_ranges r, again;
    struct cmx_walk w;
    struct cmx_buf b;
    struct cmx_why why = {""};
    uint64_t sum = 0;
    uint32_t offset;
    size_t len;

    if (cmx_ranges_parse(&r, (const char *)data, size, flash, &why))
        return r.n || !why.text[0] ? (abort(), 0) : 0;
    cmx_chain_walk_init(&w, r.r, r.n);
    while (cmx_chain_walk_next(&w, &offset, &len)) {
        if (len == 0 || len > CMX_CHUNK || offset >= flash || len > flash - offset)
            abort();
        sum += len;
    }
    cmx_buf_init(&b, mem, sizeof mem);
    for (size_t i = 0; i < r.n; i++)
        sum -= r.r[i].end - r.r[i].begin;
    cmx_ranges_print(&r, &b);
    if (sum != 0 || cmx_buf_error(&b))
        abort();
    if (cmx_ranges_parse(&again, (const char *)cmx_buf_data(&b), cmx_buf_len(&b), flash, &why) || again.n != r.n ||
        memcmp(again.r, r.r, r.n * sizeof r.r[0]) != 0)
        abort();
    return 0;
}
