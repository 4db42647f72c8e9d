/* For a build without libpq: every call fails. If the registry is in PostgreSQL, a command therefore fails before it
 * changes the copy. A copy that was changed alone would differ from the registry. */
#include "gateway/shared/shared.h"

#pragma GCC diagnostic ignored "-Wunused-parameter" /* shared.h names the parameters */

static cmx_err unsupported(struct cmx_why *e)
{
    return cmx_why_fail(e, CMX_ENOTSUP,
                        "this cmxsafe was built without PostgreSQL; install libpq-dev, and build it again");
}

cmx_err gw_shared_open(struct gw_shared **out, struct gw_registry *r, const char *url, struct cmx_why *e)
{
    *out = NULL;
    return unsupported(e);
}

void gw_shared_close(struct gw_shared *s)
{
}

void gw_shared_trust_url(struct gw_registry *r)
{
}

#define UNSUPPORTED(name, ...)                                                                                         \
    cmx_err name(__VA_ARGS__, struct cmx_why *e)                                                                       \
    {                                                                                                                  \
        return unsupported(e);                                                                                         \
    }

UNSUPPORTED(gw_shared_attach, struct gw_registry *r, const char *url)
UNSUPPORTED(gw_shared_found, struct gw_registry *r, const char *url, bool adopt)
UNSUPPORTED(gw_shared_found_prepare, struct gw_registry *r)
UNSUPPORTED(gw_shared_behind, struct gw_shared *s, struct gw_registry *r, bool *behind)
UNSUPPORTED(gw_shared_check_tables, struct gw_shared *s, struct gw_registry *r)
UNSUPPORTED(gw_shared_follow, struct gw_shared *s, struct gw_registry *r, enum gw_shared_check check,
            struct gw_copy_changes *out)
UNSUPPORTED(gw_shared_wait, struct gw_shared *s, int timeout_ms)
UNSUPPORTED(gw_shared_prune, struct gw_shared *s, struct gw_registry *r)
