#include "gateway/registry/list.h"

#include <stdint.h>
#include <string.h>

#include "cmxsafe/core/mem.h"

cmx_err gw_list_add(void *list, size_t *n, size_t *cap, const void *element, size_t size)
{
    const size_t larger = *cap ? *cap * 2 : 16;
    char *elements, *more;

    memcpy(&elements, list, sizeof elements);
    if (*n == *cap) {
        more = larger > SIZE_MAX / size ? NULL : cmx_mem_alloc(larger * size);
        if (!more)
            return CMX_ENOMEM;
        if (*n)
            memcpy(more, elements, *n * size);
        cmx_mem_free(elements);
        elements = more;
        *cap = larger;
        memcpy(list, &elements, sizeof elements);
    }
    memcpy(elements + (*n)++ * size, element, size);
    return CMX_OK;
}
