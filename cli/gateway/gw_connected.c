#include "cli/gateway/gw_connected.h"

#include <stdlib.h>
#include <string.h>

#include "cli/common/json_get.h"
#include "cmxsafe/core/mem.h"

static int compare_names(const void *a, const void *b)
{
    return strcmp(a, b);
}

void gw_connected_parse(struct gw_connected *c, const char *answer)
{
    const char *first = answer ? json_first(answer, "sessions") : NULL;
    size_t sessions = 0;

    for (const char *x = first; x; x = json_next(x))
        sessions++;
    *c = (struct gw_connected){.names = sessions ? cmx_mem_alloc(sessions * sizeof *c->names) : NULL};
    for (const char *x = c->names ? first : NULL; x; x = json_next(x))
        c->n += json_text(x, "name", c->names[c->n], sizeof c->names[0]);
    if (c->n)
        qsort(c->names, c->n, sizeof *c->names, compare_names);
}

bool gw_connected_has(const struct gw_connected *c, const char *name)
{
    return c->n && bsearch(name, c->names, c->n, sizeof *c->names, compare_names) != NULL;
}

void gw_connected_free(struct gw_connected *c)
{
    cmx_mem_free(c->names);
    *c = (struct gw_connected){0};
}
