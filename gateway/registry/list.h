/* list.h - appends to a list that grows as needed (cmx_mem_grow). */
#pragma once

#include <string.h>

#include "cmxsafe/core/mem.h"

/* Appends a copy of an element of `size` bytes. list: the address of the pointer to the *n elements, which have room
 * for *cap. CMX_ENOMEM: out of memory; the list is unchanged. */
CMX_MUST_USE static inline cmx_err gw_list_add(void *list, size_t *n, size_t *cap, const void *element, size_t size)
{
    char *elements;
    void *more;

    memcpy(&elements, list, sizeof elements);
    more = cmx_mem_grow(elements, *n, cap, size);
    if (!more)
        return CMX_ENOMEM;
    elements = more;
    memcpy(list, &elements, sizeof elements);
    memcpy(elements + (*n)++ * size, element, size);
    return CMX_OK;
}
