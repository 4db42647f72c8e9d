/* confine_seccomp_none.c - for a build without libseccomp. The status reports that seccomp is not applied. */
#include <stdio.h>

#include "agent/confine/confine.h"

cmx_err confine_seccomp(char *detail, size_t cap)
{
    snprintf(detail, cap, "not applied: this cmxsafed was built without libseccomp");
    return CMX_ENOTSUP;
}
