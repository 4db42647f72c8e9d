#include "cli/gateway/gw_connected.h"

#include <stdlib.h>
#include <string.h>

#include "cli/gateway/gw_status.h"
#include "cmxsafe/core/mem.h"

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void gw_connected_parse(struct gw_connected *c, char *answer)
{
    char name[GW_NAME_MAX];
    char *rest = answer ? gw_status_sessions(answer) : NULL;
    size_t objects = 0;
    char *object;

    for (const char *s = rest; s && (s = strchr(s, '{')) != NULL; s++)
        objects++;
    *c = (struct gw_connected){.names = objects ? cmx_mem_alloc(objects * sizeof *c->names) : NULL};
    while (c->names && (object = gw_status_next(&rest)) != NULL)
        if (gw_status_text(object, "name", name, sizeof name)) {
            snprintf(object, strlen(object) + 1, "%s", name); /* fits, because the object contains the name */
            c->names[c->n++] = object;
        }
    if (c->n)
        qsort(c->names, c->n, sizeof *c->names, compare_names);
}

bool gw_connected_has(const struct gw_connected *c, const char *name)
{
    return c->n && bsearch(&name, c->names, c->n, sizeof *c->names, compare_names) != NULL;
}

void gw_connected_free(struct gw_connected *c)
{
    cmx_mem_free(c->names);
    *c = (struct gw_connected){0};
}
