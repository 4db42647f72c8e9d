#include "cmxsafe/core/err.h"

#include <string.h>

/* Name and text of each error, one after the other: half the size of a table of pointers to them. */
static const char words[] =
#define CMX_ERROR(code, name, text) name "\0" text "\0"
#include "cmxsafe/core/errors.h"
    ;

static const char *word(unsigned at)
{
    const char *s = words;

    while (at-- > 0)
        s += strlen(s) + 1;
    return s;
}

/* A value outside the enum is a defect of the caller. */
static unsigned known(cmx_err err)
{
    return (unsigned)err <= CMX_EINTERNAL ? (unsigned)err : CMX_EINTERNAL;
}

const char *cmx_err_name(cmx_err err)
{
    return word(2 * known(err));
}

const char *cmx_err_text(cmx_err err)
{
    return word(2 * known(err) + 1);
}
