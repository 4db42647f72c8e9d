/* gw_template.h - writes a configuration file from its template: a file in gateway/render/templates, embedded at build
 * time (gateway/program.cmake).
 *
 *     @name@               a value
 *     @name@ on its own    lines that a function writes: the elements of a set, or one rule for each grant
 *     #if name, #endif     the lines between them are written only if the value is not ""
 *     ## ...               a comment in the template; it is not written */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "cmxsafe/core/why.h"

struct gw_template_value {
    const char *name;
    const char *text; /* the value; NULL: `lines` writes it; if `lines` is NULL too, the value is `number` */
    cmx_err (*lines)(void *arg, uint64_t number); /* writes the value to the same file, as complete lines */
    uint64_t number;
    bool hex; /* write `number` in hex */
};

/* Writes the template `text` to f. `values` ends with an entry without a name. The functions `lines` are called with
 * arg and the `number` of their entry.
 * CMX_EINTERNAL: the template names a value that is not in the list. */
CMX_MUST_USE cmx_err gw_template_write(FILE *f, const char *text, const struct gw_template_value *values, void *arg,
                                       struct cmx_why *e);
