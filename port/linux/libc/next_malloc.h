/* next_malloc.h - the C library's own allocator, for a program that replaces free and realloc (wipe_free.c). */
#pragma once

#include <stddef.h>

void cmx_next_free(void *p);
void *cmx_next_realloc(void *p, size_t size);
