/* plain_text.h - finds characters that a text for a terminal, a log or a table must not have. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/why.h"

#define GW_TEXT_INVALID UINT32_MAX

/* Returns the length of the UTF-8 character at s (RFC 3629) and sets *c to its code point. For a byte that begins no
 * valid character it returns 1 and sets *c to GW_TEXT_INVALID. */
size_t gw_text_next(const char *s, uint32_t *c);
/* True for control characters, for characters that hide or reorder others on a screen, and for GW_TEXT_INVALID. */
bool gw_text_is_deceptive(uint32_t c);
/* Checks a text that the registry stores and commands print. what: names the text in e, such as "the reason".
 * CMX_EINVAL: the text is longer than max bytes, is not UTF-8 or has deceptive characters. */
CMX_MUST_USE cmx_err gw_text_check(const char *what, const char *text, size_t max, struct cmx_why *e);
