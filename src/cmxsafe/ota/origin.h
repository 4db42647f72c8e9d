/* origin.h - does this request come from the page that this device served, or from a program? Keeps a foreign page from
 * triggering an update (CSRF) and a foreign name from standing for this device (DNS rebinding). Pure.
 * Sources: RFC 6454 (Origin), RFC 9110 section 7.2 (Host), W3C Fetch Metadata (Sec-Fetch-Site). */
#ifndef CMX_OTA_ORIGIN_H
#define CMX_OTA_ORIGIN_H

#include <stdbool.h>
#include <stddef.h>

#include "cmxsafe/http/http.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Rebinding needs a name that somebody else's DNS answers for. So an address may stand in Host, and `localhost`, and
 * names under .cmx (no such public domain exists; a gateway's device names), and what names lists. host: the header,
 * NULL is none. */
bool cmx_origin_host_ok(const char *host, const char *const *names, size_t n);

/* Browsers name the page that a request comes from: it must be one of ours. origin, site: the headers Origin and
 * Sec-Fetch-Site, NULL where absent (a program such as curl). */
bool cmx_origin_same(const char *origin, const char *site, const char *host);

/* The same of a request. True: it comes from another site's page, and was answered with 403; *err is what that gave. */
bool cmx_origin_refused(struct cmx_http_request *r, cmx_err *err);

#ifdef __cplusplus
}
#endif
#endif
