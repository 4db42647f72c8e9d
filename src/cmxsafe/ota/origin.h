/* origin.h - decides whether a request may be answered: it must come from a page that this device served, or from a
 * program. Prevents updates by other sites' pages (CSRF) and access under another name (DNS rebinding). Pure. Sources:
 * RFC 6454 (Origin), RFC 9110 section 7.2 (Host), W3C Fetch Metadata (Sec-Fetch-Site). */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "cmxsafe/http/http.h"

/* True if the Host header has an address, `localhost`, a name under .cmx (a gateway's name for a device; not a public
 * domain) or one of `names`. None of these can be used for DNS rebinding, because DNS rebinding needs a name that an
 * attacker's DNS server resolves. header NULL: false. */
bool cmx_origin_host_ok(const char *header, const char *const *names, size_t n);

/* True if the request comes from our own page, or names no page, like a request of curl. origin, site, host: the
 * headers Origin, Sec-Fetch-Site and Host, NULL where absent. */
bool cmx_origin_same(const char *origin, const char *site, const char *host);

/* Checks a request's headers as cmx_origin_same does. True: the request comes from another site's page; 403 was sent,
 * and *err is the result of sending it. */
bool cmx_origin_refused(struct cmx_http_request *r, cmx_err *err);
