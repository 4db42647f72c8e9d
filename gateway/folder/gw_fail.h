/* gw_fail.h - error messages of the gateway's programs, on stderr: `cmxsafe: WHAT: WHY; WHAT TO DO`. */
#pragma once

#include "gateway/registry/registry.h"

/* Both print the message and return EXIT_FAILURE. todo may be NULL. */
int gw_fail(const char *what, const struct cmx_why *e);
int gw_fail_with(const char *what, const char *why, const char *todo);
