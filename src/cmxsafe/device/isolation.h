/* isolation.h (device) - puts the isolation policy between the device's network stack and the world: the engine's
 * sockets become the policy's flows, the platform's filter (port/filter.h) asks it about each packet.
 *
 * The flows are kept from the first context on, so that setup_sm() may come after the proxies, as in the original: what
 * is connected then goes on. Isolation that can't be installed ends the proxies and keeps new ones from starting. */
#ifndef CMX_DEVICE_ISOLATION_H
#define CMX_DEVICE_ISOLATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/buf.h"
#include "cmxsafe/core/json.h"
#include "cmxsafe/proxy/proxy.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Sockets of the proxies at once, those that are closing among them: 64 bytes of heap each. */
#if defined(ESP_PLATFORM) || defined(CMX_DEVICE_PROFILE)
#define CMX_DEVICE_FLOWS 48
#else
#define CMX_DEVICE_FLOWS 128
#endif
/* Lines about drops: so many at once, then one in so many milliseconds. */
#define CMX_DEVICE_DROP_LINES 5
#define CMX_DEVICE_DROP_LINE_MS 2000

/* What only the platform knows. Strings are addresses, borrowed for good; NULL where there is none. */
struct cmx_device_isolation {
    const char *resolvers[3];    /* none: those that the interface uses */
    const char *time_servers[3]; /* SNTP */
    const char *time_names[2]; /* names of time servers, which may be looked up at any time; what they stand for must be
                                  among time_servers to be asked */
    uint16_t control_ports[4]; /* loopback UDP by which a server wakes itself (esp_http_server's ctrl_port) */
    bool no_dhcp, no_ipv6;
    /* The device has no network stack of its own to filter, which its maker accepts (the virtual board on the machine's
     * sockets): then a missing filter is said loudly, and the proxies go on. */
    bool accept_none;
};

/* Before the first context; copied. */
void cmx_device_set_isolation(const struct cmx_device_isolation *platform);

/* setup_sm(): from now on nothing passes but what the contexts need. CMX_ENOTSUP: the platform has no filter; CMX_EIO:
 * it can't be put everywhere; CMX_ENOMEM. On an error, but for CMX_ENOTSUP with accept_none, the proxies were ended.
 * Twice is fine. Any task, but not the network stack's own. */
CMX_MUST_USE cmx_err cmx_device_isolate(void);

/* Installed and deciding. */
bool cmx_device_isolation_active(void);

/* Installed, or never asked for: for who waits for a healthy device. */
bool cmx_device_isolation_settled(void);

/* The digest of the rules in force (isolation/digest.h). CMX_ENOENT: isolation is not active. Not from the network
 * stack's own task. */
CMX_MUST_USE cmx_err cmx_device_isolation_digest(uint8_t out[32]);

/* Ends isolation; for tests and for a device that is being taken out of service. */
void cmx_device_isolation_end(void);

/* {"active":..., "flows":..., "packets":{reason: count, ...}} as a member of the open object. */
void cmx_device_isolation_json(struct cmx_json *j, const char *key);

/* ---- for device.c ---- */

/* Before the engine learns of these contexts. CMX_EPERM: isolation failed, nothing may be proxied. */
CMX_MUST_USE cmx_err cmx_device_isolation_configure(const struct cmx_gateway *gateway,
                                                    const struct cmx_context *contexts, size_t n);
CMX_MUST_USE cmx_err cmx_device_isolation_open(cmx_socket_kind kind, const struct sockaddr *local,
                                               const struct sockaddr *peer);
void cmx_device_isolation_close(cmx_socket_kind kind, const struct sockaddr *local, const struct sockaddr *peer);
void cmx_device_isolation_resolve(bool begins);

/* ---- for claim.c ---- */

/* May that task connect to peer? CMX_OK: it is a direct context's listener, and for this task among few; CMX_EPERM: it
 * is, and not for this task, which is counted and logged; CMX_ENOENT: for everyone, or no listener at all. */
CMX_MUST_USE cmx_err cmx_device_isolation_permits(const char *task, const struct sockaddr *peer);

/* The connection from local to such a listener is a permitted task's, until it is given back. CMX_ENOSPC, CMX_EPERM. */
CMX_MUST_USE cmx_err cmx_device_isolation_claim(const struct sockaddr *local, const struct sockaddr *peer);
void cmx_device_isolation_unclaim(const struct sockaddr *local, const struct sockaddr *peer);

#ifdef __cplusplus
}
#endif
#endif
