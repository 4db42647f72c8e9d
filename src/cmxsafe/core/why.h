/* why.h - the reason for a failure, as text for a person: for functions whose cmx_err alone would not say enough. The
 * text's size is part of the type, so callers need not pass it. */
#pragma once

#include "cmxsafe/core/err.h"

CMX_C_BEGIN

/* Size of the text in bytes, NUL included. On a host, texts contain paths. On a microcontroller, texts are short
 * and stacks are small. */
#ifndef CMX_WHY_MAX
#if defined(ESP_PLATFORM) || defined(CMX_DEVICE_PROFILE)
#define CMX_WHY_MAX 128
#else
#define CMX_WHY_MAX 320
#endif
#endif

/* Initialise it with {""} or cmx_why_clear: the empty text means that no reason was given. */
struct cmx_why {
    char text[CMX_WHY_MAX];
};

static inline void cmx_why_clear(struct cmx_why *w)
{
    w->text[0] = '\0';
}

/* Replaces the text; w may be NULL. Text that does not fit is cut and ends in "...". Control characters become '?',
 * since arguments often come from a file or a peer. An argument may be the previous text. */
void cmx_why_set(struct cmx_why *w, const char *fmt, ...) CMX_PRINTF(2, 3);

/* Like cmx_why_set, and returns err, so that the caller can return a failure in one line. */
CMX_MUST_USE cmx_err cmx_why_fail(struct cmx_why *w, cmx_err err, const char *fmt, ...) CMX_PRINTF(3, 4);

/* Returns the text, or cmx_err_text(err) if it is empty. */
const char *cmx_why_text(const struct cmx_why *w, cmx_err err);

CMX_C_END
