/* list.h - appends to a list that grows as needed. */
#pragma once

#include <stddef.h>

#include "cmxsafe/core/err.h"

/* Appends a copy of an element of `size` bytes. list: the address of a pointer to a block that has room for *cap
 * elements and contains *n. A full list is moved to a block twice as large. The pointer may be NULL if *cap is 0. The
 * caller frees the block with cmx_mem_free. CMX_ENOMEM: out of memory; the list is unchanged. */
CMX_MUST_USE cmx_err gw_list_add(void *list, size_t *n, size_t *cap, const void *element, size_t size);
