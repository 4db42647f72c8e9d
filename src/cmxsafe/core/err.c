#include "cmxsafe/core/err.h"

/* Two tables, so that the linker leaves the names out of a firmware, which uses only the texts. */
static const char *const names[] = {
#define CMX_ERROR(code, name, text) [code] = name,
#include "cmxsafe/core/errors.h"
};

static const char *const texts[] = {
#define CMX_ERROR(code, name, text) [code] = text,
#include "cmxsafe/core/errors.h"
};

/* Only a bug in the caller can pass a value outside the enum. */
static unsigned known(cmx_err err)
{
    return (unsigned)err <= CMX_EINTERNAL ? (unsigned)err : CMX_EINTERNAL;
}

const char *cmx_err_name(cmx_err err)
{
    return names[known(err)];
}

const char *cmx_err_text(cmx_err err)
{
    return texts[known(err)];
}
