/* Parses any bytes as a name server's answer to the virtual board's resolver, which must return at most 4 addresses. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "board/lwip/resolve.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cmx_ip out[4];

    if (size <= UINT16_MAX && (board_resolve_parse(data, (int)size, false, out, 4) > 4 ||
                               board_resolve_parse(data, (int)size, true, out, 4) > 4))
        abort();
    return 0;
}
