/* library.h - loads shared libraries that only some configurations need, so that other configurations cost no memory
 * and work where the library is not installed. Libraries are loaded by soname: the dynamic linker searches the same
 * system folders as for linked libraries, and no setting of cmxsafe changes that.
 *
 * The caller lists the library's functions once, and calls them through a structure of pointers, such as
 * lib.nft_ctx_new:
 *
 *     #define FUNCTIONS(X) X(nft_ctx_new) X(nft_ctx_free)
 *     CMX_LIBRARY(library, lib, NFTABLES, FUNCTIONS); // defines struct cmx_library library, and lib
 *
 * The build finds the soname and the package (cmake/sonames.cmake). */
#pragma once

#include <stddef.h>

#include "cmxsafe/core/err.h"
#include "cmxsafe/core/why.h"

#define CMX_LIBRARY_POINTER(function) __typeof__(function) *function;
#define CMX_LIBRARY_NAME(function) #function,
#define CMX_LIBRARY(library, lib, NAME, FUNCTIONS)                                                                     \
    static struct {                                                                                                    \
        FUNCTIONS(CMX_LIBRARY_POINTER)                                                                                 \
    } lib;                                                                                                             \
    static const char *const lib##_names[] = {FUNCTIONS(CMX_LIBRARY_NAME)};                                            \
    static struct cmx_library library = {                                                                              \
        CMX_SONAME_##NAME, CMX_PACKAGE_##NAME, lib##_names, sizeof lib##_names / sizeof lib##_names[0], &lib, NULL}

/* A library. It must have static storage. */
struct cmx_library {
    const char *soname;
    const char *package;      /* the package to install, for the message; "" if the build did not find it */
    const char *const *names; /* of its functions */
    size_t n_names;
    void *pointers; /* the function pointers to set, one for each name */
    void *handle;   /* NULL: not loaded */
};

/* Loads the library unless it is already loaded, and sets the pointers. purpose: the feature that needs it
 * ("isolation"). CMX_ENOTSUP: it is not installed, or lacks a function; why (may be NULL) names the package to install.
 * Any thread. */
CMX_MUST_USE cmx_err cmx_library_load(struct cmx_library *l, const char *purpose, struct cmx_why *why);

/* Unloads the library; the pointers are then invalid. */
void cmx_library_unload(struct cmx_library *l);
