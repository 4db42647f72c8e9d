/* http_route.h - finds the route of a service for a request. Paths are compared raw, as esp_http_server does: the path
 * "/%61" does not match a route for "/a". */
#pragma once

#include "cmxsafe/http/http.h"

/* Finds the route of a request. len: length of path, without the query. HEAD uses the route of GET. NULL: there is
 * none. */
const struct cmx_http_route *http_route_find(const struct cmx_http_service *s, const char *path, size_t len,
                                             const char *method);

/* Writes the methods that the path has, for Allow (RFC 9110 section 10.2.1); "" if there is no such path. */
void http_route_methods(const struct cmx_http_service *s, const char *path, size_t len, char *out, size_t cap);
