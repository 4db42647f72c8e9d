#include "gateway/server/gw_denied.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char elements[] = "elements = {";
static const char counter[] = "counter packets ";

const char *gw_denied_begin(const char *listing)
{
    const char *at = strstr(listing, elements);

    return at ? at + strlen(elements) : NULL;
}

bool gw_denied_next(const char **at, struct gw_denied *out)
{
    while (*at) {
        const char *element = *at + strspn(*at, " \t\n,");
        const char *end = strpbrk(element, ",}");
        const char *count = strstr(element, counter);

        if (!end || *element == '}')
            return false;
        *at = *end == ',' ? end : NULL;
        if (sscanf(element, "%45s . %45s . %u", out->source, out->target, &out->port) != 3)
            continue;
        out->packets = count && count < end ? strtoull(count + strlen(counter), NULL, 10) : 1;
        return true;
    }
    return false;
}

void gw_denied_key(const struct gw_denied *d, char out[GW_DENIED_ELEMENT_MAX])
{
    snprintf(out, GW_DENIED_ELEMENT_MAX, "%s . %s . %u", d->source, d->target, d->port);
}
