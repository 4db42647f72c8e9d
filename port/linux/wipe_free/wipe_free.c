/* wipe_free.c - memory is wiped when it is freed: by this program, and by its libraries, which leave copies of private
 * keys behind (libssh 0.10 to 0.12: the text of a key file and its base64; OpenSSL 3.0: the lines of a PEM text; stdio:
 * the buffer of a file). For programs that log in. glibc takes a program's own free and realloc for all who call them
 * ("Replacing malloc"), and keeps its own under the names used here. Not with sanitizers, which have an allocator of
 * their own.
 *
 * Larger blocks than a key or a buffer of a file are left alone: they are packets, and wiping them would cost what
 * copying does. */
#include <malloc.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define WIPE_MAX 8192

extern void __libc_free(void *p);
extern void *__libc_malloc(size_t size);
extern void *__libc_realloc(void *p, size_t size);

void free(void *p)
{
    size_t n = p ? malloc_usable_size(p) : 0;

    if (n > 0 && n <= WIPE_MAX)
        explicit_bzero(p, n);
    __libc_free(p);
}

/* glibc's own would leave the old place as it was when it moves. */
void *realloc(void *p, size_t size)
{
    size_t old = p ? malloc_usable_size(p) : 0;
    void *moved;

    if (old == 0 || old > WIPE_MAX || size == 0)
        return __libc_realloc(p, size);
    moved = __libc_malloc(size);
    if (!moved)
        return NULL;
    memcpy(moved, p, old < size ? old : size);
    free(p);
    return moved;
}
