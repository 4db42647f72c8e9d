/* gw_fail.h - prints an error with its reason, like cli_fail. */
#pragma once

#include "cmxsafe/core/why.h"
#include "port/linux/cli.h"

/* Prints `cmxsafe: WHAT: ` and the text of e. Returns CLI_FAILED. */
int gw_fail(const char *what, const struct cmx_why *e);
