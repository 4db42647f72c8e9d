#include "port/linux/http_route.h"

#include <stdio.h>
#include <string.h>

static bool path_is(const struct cmx_http_route *route, const char *path, size_t len)
{
    return strlen(route->path) == len && memcmp(route->path, path, len) == 0;
}

const struct cmx_http_route *http_route_find(const struct cmx_http_service *s, const char *path, size_t len,
                                             const char *method)
{
    const char *as = strcmp(method, "HEAD") == 0 ? "GET" : method;

    for (size_t i = 0; i < s->n_routes; i++)
        if (path_is(&s->routes[i], path, len) && strcmp(s->routes[i].method, as) == 0)
            return &s->routes[i];
    return NULL;
}

void http_route_methods(const struct cmx_http_service *s, const char *path, size_t len, char *out, size_t cap)
{
    size_t used = 0;

    out[0] = '\0';
    for (size_t i = 0; i < s->n_routes; i++) {
        const char *method = s->routes[i].method;
        int n;

        if (!path_is(&s->routes[i], path, len))
            continue;
        n = snprintf(out + used, cap - used, "%s%s%s", used ? ", " : "", method,
                     strcmp(method, "GET") == 0 ? ", HEAD" : "");
        if (n > 0 && (size_t)n < cap - used)
            used += (size_t)n;
    }
}
