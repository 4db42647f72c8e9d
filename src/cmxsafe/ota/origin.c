#include "cmxsafe/ota/origin.h"

#include <string.h>
#include <strings.h>

#include "cmxsafe/core/ip.h"
#include "cmxsafe/core/text.h"

#define HOST_MAX 260 /* a name of 253 characters, ":65535", NUL */

static bool under_cmx(const char *host)
{
    const size_t len = strlen(host);

    return len > 4 && strcasecmp(host + len - 4, ".cmx") == 0;
}

bool cmx_origin_host_ok(const char *header, const char *const *names, size_t n)
{
    char copy[HOST_MAX];
    const char *host;
    struct cmx_ip ip;
    uint16_t port;

    if (!header || cmx_text_copy(copy, sizeof copy, header) || !cmx_text_split_host(copy, &host, &port))
        return false;
    if (host != copy) /* RFC 3986 section 3.2.2: an IPv6 address, and nothing else, is in brackets */
        return cmx_ip_is_text6(host);
    if (cmx_ip_parse(&ip, host))
        return cmx_ip_is_v4(&ip);
    if (strcasecmp(host, "localhost") == 0 || under_cmx(host))
        return true;
    for (size_t i = 0; i < n; i++)
        if (strcasecmp(host, names[i]) == 0)
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
        return false; /* a sandboxed or local page has the origin "null" */
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
