/* library.h - loads shared libraries that only some configurations need, so that other configurations cost no memory
 * and work where the library is not installed. Libraries are loaded by soname: the dynamic linker searches the same
 * system folders as for linked libraries, and no setting of cmxsafe changes that.
 *
 * The caller lists the library's functions once, and calls them through a structure of pointers:
 *
 *     #define FUNCTIONS(X) X(nft_ctx_new) X(nft_ctx_free)
 *     static struct { FUNCTIONS(CMX_LIBRARY_POINTER) } nft;
 *     static const struct cmx_symbol symbols[] = {FUNCTIONS(CMX_LIBRARY_SYMBOL)};
 *
 * Before it uses CMX_LIBRARY_SYMBOL, it defines CMX_LIBRARY_OF as nft. The build finds sonames and packages
 * (cmake/sonames.cmake). */
#pragma once

#include <stddef.h>

#include "cmxsafe/core/err.h"
#include "cmxsafe/core/why.h"

struct cmx_symbol {
    const char *name;
    void *slot; /* address of the function pointer to set */
};

#define CMX_LIBRARY_POINTER(function) __typeof__(function) *function;
#define CMX_LIBRARY_SYMBOL(function) {#function, &CMX_LIBRARY_OF.function},

/* A library. It must have static storage. */
struct cmx_library {
    const char *soname;
    const char *package; /* the package to install, for the message; "" if the build did not find it */
    const struct cmx_symbol *symbols;
    size_t n_symbols;
    void *handle; /* NULL: not loaded */
};

/* Loads the library unless it is already loaded, and sets the pointers. purpose: the feature that needs it
 * ("isolation"). CMX_ENOTSUP: it is not installed, or lacks a function; why (may be NULL) names the package to install.
 * Any thread. */
CMX_MUST_USE cmx_err cmx_library_load(struct cmx_library *l, const char *purpose, struct cmx_why *why);

/* Unloads the library; the pointers are then invalid. */
void cmx_library_unload(struct cmx_library *l);
