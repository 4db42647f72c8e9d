/* What a device (or something in its place) answers to the operator's command. */
#include <stdlib.h>
#include <string.h>

#include "http_get.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http_answer a;

    if (http_parse_answer(data, size, &a))
        return 0;
    if (a.status < 100 || a.status > 599 || a.body < data || a.len > size || a.body + a.len > data + size ||
        strnlen(a.type, sizeof a.type) == sizeof a.type)
        abort();
    return 0;
}
