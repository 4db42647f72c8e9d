#include "cmxsafe/core/err.h"

/* clang-format off */
static const struct {
    const char *name, *text;
} words[] = {
#define CMX_ERROR(code, name, text) [code] = {name, text},
#include "cmxsafe/core/errors.h"
};
/* clang-format on */

/* Only a bug in the caller can pass a value outside the enum. */
static unsigned known(cmx_err err)
{
    return (unsigned)err <= CMX_EINTERNAL ? (unsigned)err : CMX_EINTERNAL;
}

const char *cmx_err_name(cmx_err err)
{
    return words[known(err)].name;
}

const char *cmx_err_text(cmx_err err)
{
    return words[known(err)].text;
}
