/* library.h - shared libraries that only some configurations need: found and loaded when they are, so that a program
 * which does without pays nothing for them and starts where they are not installed. They are the system's own, by
 * soname: the dynamic linker looks for them where it looks for those that the program is linked with, and no setting
 * has a say in it.
 *
 * A user of the library lists its functions once, and then calls them through a structure of pointers:
 *
 *     #define FUNCTIONS(X) X(nft_ctx_new) X(nft_ctx_free)
 *     static struct { FUNCTIONS(CMX_LIBRARY_POINTER) } nft;
 *     static const struct cmx_symbol symbols[] = {FUNCTIONS(CMX_LIBRARY_SYMBOL)};
 *
 * with #define CMX_LIBRARY_OF nft before CMX_LIBRARY_SYMBOL is used. Sonames and packages are what the build found
 * (cmake/sonames.cmake). */
#ifndef CMX_LINUX_LIBRARY_H
#define CMX_LINUX_LIBRARY_H

#include <stddef.h>

#include "cmxsafe/core/err.h"

struct cmx_symbol {
    const char *name;
    void *slot; /* a function pointer's address */
};

#define CMX_LIBRARY_POINTER(function) __typeof__(function) *function;
#define CMX_LIBRARY_SYMBOL(function) {#function, &CMX_LIBRARY_OF.function},

/* An object of static storage. */
struct cmx_library {
    const char *soname;
    const char *package; /* what to install, for the message; "" where the build does not know it */
    const struct cmx_symbol *symbols;
    size_t n_symbols;
    void *handle; /* NULL: not loaded */
};

/* Loads it, if it is not, and fills in the pointers. purpose: what wants it ("isolation"). CMX_ENOTSUP: it is not
 * there, or lacks a function; why (may be NULL) says so, and which package to install. Any thread. */
CMX_MUST_USE cmx_err cmx_library_load(struct cmx_library *l, const char *purpose, char *why, size_t why_cap);

/* Gives it back; the pointers must not be used any more. */
void cmx_library_unload(struct cmx_library *l);

#endif
