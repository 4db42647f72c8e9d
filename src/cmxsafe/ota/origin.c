#include "cmxsafe/ota/origin.h"

#include <string.h>
#include <strings.h>

/* True if s may follow a host: empty, or a colon and a port of 1 to 5 digits. */
static bool port_ok(const char *s)
{
    size_t n;

    if (*s == '\0')
        return true;
    n = strspn(s + 1, "0123456789");
    return *s == ':' && n >= 1 && n <= 5 && s[1 + n] == '\0';
}

/* True for exactly four numbers with dots: a name may begin like an address. */
static bool is_ipv4(const char *s, size_t len)
{
    const char *p = s;

    for (int i = 0; i < 4; i++) {
        size_t n = strspn(p, "0123456789");

        if (n < 1 || n > 3)
            return false;
        p += n;
        if (i < 3 && *p++ != '.')
            return false;
    }
    return p == s + len;
}

static bool is(const char *host, size_t len, const char *name)
{
    return strlen(name) == len && strncasecmp(host, name, len) == 0;
}

static bool under_cmx(const char *host, size_t len)
{
    return len > 4 && strncasecmp(host + len - 4, ".cmx", 4) == 0;
}

bool cmx_origin_host_ok(const char *host, const char *const *names, size_t n)
{
    size_t len;

    if (!host)
        return false;
    if (host[0] == '[') { /* IPv6; RFC 3986 section 3.2.2 */
        len = 1 + strspn(host + 1, "0123456789abcdefABCDEF:.");
        return len > 2 && host[len] == ']' && port_ok(host + len + 1);
    }
    len = strcspn(host, ":");
    if (!port_ok(host + len))
        return false;
    if (is_ipv4(host, len) || is(host, len, "localhost") || under_cmx(host, len))
        return true;
    for (size_t i = 0; i < n; i++)
        if (is(host, len, names[i]))
            return true;
    return false;
}

bool cmx_origin_same(const char *origin, const char *site, const char *host)
{
    const char *authority;

    if (site && strcmp(site, "same-origin") != 0 && strcmp(site, "none") != 0)
        return false;
    if (!origin)
        return true;
    authority = strstr(origin, "://");
    if (!authority || !host)
        return false; /* this includes "null", which a sandboxed or local page sends */
    return strcasecmp(authority + 3, host) == 0;
}

bool cmx_origin_refused(struct cmx_http_request *r, cmx_err *err)
{
    if (cmx_origin_same(cmx_http_header_get(r, "Origin"), cmx_http_header_get(r, "Sec-Fetch-Site"),
                        cmx_http_header_get(r, "Host")))
        return false;
    *err = cmx_http_reply_text(r, 403, "error: the request comes from another site's page\n");
    return true;
}
