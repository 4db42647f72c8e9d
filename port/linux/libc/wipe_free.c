/* wipe_free.c - replaces free and realloc so that memory is wiped when it is freed. Libraries leave copies of private
 * keys in freed memory (libssh 0.10 to 0.12: the text of a key file and its base64; OpenSSL 3.0: the lines of a PEM
 * text; stdio: a file's buffer). Programs that log in are linked with this file. glibc lets a program replace these
 * functions for its libraries too ("Replacing malloc"), and so does musl. Not used with sanitizers, which have their
 * own allocator.
 *
 * Blocks larger than a key or a file buffer are not wiped: they hold packets, and wiping would cost as much as copying.
 *
 * No block can grow beyond GROW_MAX. These programs need no larger block, so a larger request means that a peer is
 * making a buffer grow without end. The library that owns the buffer gets an error and ends the session. */
#include <errno.h>
#include <malloc.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "port/linux/libc/next_malloc.h"

#define WIPE_MAX 8192
#define GROW_MAX (8u << 20)

void free(void *p)
{
    size_t n = p ? malloc_usable_size(p) : 0;

    if (n > 0 && n <= WIPE_MAX)
        explicit_bzero(p, n);
    cmx_next_free(p);
}

/* Copies a small block itself, because the C library's realloc would not wipe the old block. */
void *realloc(void *p, size_t size)
{
    size_t old = p ? malloc_usable_size(p) : 0;
    void *moved;

    if (size > GROW_MAX) {
        errno = ENOMEM;
        return NULL;
    }
    if (old == 0 || old > WIPE_MAX || size == 0)
        return cmx_next_realloc(p, size);
    moved = malloc(size);
    if (!moved)
        return NULL;
    memcpy(moved, p, old < size ? old : size);
    free(p);
    return moved;
}
