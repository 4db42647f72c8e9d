#include "cmxsafe/core/erased.h"

#include <string.h>

/* The bytes are all 0xff if and only if the first byte is 0xff and each byte equals the byte after it. */
bool cmx_erased_check(const uint8_t *data, size_t len)
{
    return data[0] == 0xff && memcmp(data, data + 1, len - 1) == 0;
}
