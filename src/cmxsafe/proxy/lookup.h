/* lookup.h - looks up host names on tasks of their own, so that slow name servers delay only the connections that need
 * the name.
 *
 * getaddrinfo blocks for as long as the name servers make it and cannot be cancelled. The task therefore shares a
 * counted object with the session's task: whoever lets go last frees it. All calls below belong to one task; numeric
 * addresses need no other. At most CMX_LOOKUPS_MAX tasks run at once in the process. */
#ifndef CMX_PROXY_LOOKUP_H
#define CMX_PROXY_LOOKUP_H

#include "cmxsafe/proxy/context.h"

struct addrinfo;
struct cmx_lookup;

/* Starts to look up host, a name or an address. Calls the resolve hook for a name, here and when the end is noticed.
 * CMX_ENOMEM, also if too many look-ups are running. */
CMX_MUST_USE cmx_err cmx_lookup_start(struct cmx_lookup **out, const char *host, uint16_t port,
                                      const struct cmx_proxy_hooks *hooks);

/* CMX_EAGAIN: still running; CMX_OK: *list, valid until the last release; CMX_EDNS. */
CMX_MUST_USE cmx_err cmx_lookup_result(struct cmx_lookup *l, const struct addrinfo **list);

/* Whether a result is good for another connection at now_ms: it is running, is an address, or has just succeeded. */
bool cmx_lookup_is_fresh(struct cmx_lookup *l, uint64_t now_ms);

/* When to ask for the result again: soon at first, then less often. */
uint64_t cmx_lookup_due(const struct cmx_lookup *l, uint64_t now_ms);

/* One more user; each releases it. Returns l. */
struct cmx_lookup *cmx_lookup_hold(struct cmx_lookup *l);

/* Lets go; the look-up may still be running. NULL is fine. */
void cmx_lookup_release(struct cmx_lookup *l);

#endif
