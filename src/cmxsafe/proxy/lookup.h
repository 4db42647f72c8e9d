/* lookup.h - looks up host names in separate tasks, so that slow name servers delay only the connections that need the
 * name.
 *
 * getaddrinfo may block for a long time and cannot be cancelled. The look-up's task therefore shares a
 * reference-counted object with the session's task; whichever releases the object last frees it. Only the session's
 * task may call the functions below. A numeric address needs no look-up task. At most CMX_LOOKUPS_MAX look-up tasks run
 * at the same time in the process. */
#pragma once

#include "cmxsafe/proxy/context.h"

struct addrinfo;
struct cmx_lookup;

/* Starts to look up host, a name or an address. For a name the resolve hook is called now, and again when the owner
 * (the caller) learns that the look-up has ended, at the latest when the owner releases the look-up. hooks must outlive
 * the owner's reference. CMX_ENOMEM: no memory, or too many look-ups are running. */
CMX_MUST_USE cmx_err cmx_lookup_start(struct cmx_lookup **out, const char *host, uint16_t port,
                                      const struct cmx_proxy_hooks *hooks);

/* Returns the result. CMX_OK: *list has the addresses, valid until the last user releases the look-up; CMX_EAGAIN: the
 * look-up is still running; CMX_EDNS: it failed. */
CMX_MUST_USE cmx_err cmx_lookup_result(struct cmx_lookup *l, const struct addrinfo **list);

/* True if the look-up can serve another connection at now_ms: it is running, its host is an address, or it succeeded
 * recently. */
bool cmx_lookup_is_fresh(struct cmx_lookup *l, uint64_t now_ms);

/* Returns how many milliseconds to wait before the result is checked again: few at first, then more. */
uint32_t cmx_lookup_poll_ms(const struct cmx_lookup *l);

/* Adds a reference, which the caller must release with cmx_lookup_release. Returns l. */
struct cmx_lookup *cmx_lookup_hold(struct cmx_lookup *l);

/* Releases a reference; the look-up may still be running. NULL is fine. */
void cmx_lookup_release(struct cmx_lookup *l);
