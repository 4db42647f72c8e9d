/* device_isolation.h - puts the isolation policy between the device's network stack and the network: the engine's
 * sockets become the policy's flows, and the platform's filter (port/filter.h) shows each packet to the policy.
 *
 * The policy tracks flows from the first context on. A sketch may therefore call setup_sm() after it has started
 * proxies, as sketches for CMXsafe-ESP32 do: existing connections then continue. If isolation cannot be installed,
 * every later context is refused, and the caller must end the running proxies (cmx_device_stop). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/buf.h"
#include "cmxsafe/core/hash_len.h"
#include "cmxsafe/core/json.h"
#include "cmxsafe/proxy/proxy.h"

CMX_C_BEGIN

/* Values that only the platform can provide. Strings are addresses, borrowed for the life of the program; NULL:
 * none. */
struct cmx_device_isolation {
    const char *resolvers[3];    /* DNS servers; all NULL: those of the interface */
    const char *time_servers[3]; /* addresses of SNTP servers */
    const char *time_names[2];   /* names that may be looked up at any time; SNTP packets pass only to the addresses in
                                    time_servers */
    uint16_t control_ports[4];   /* loopback UDP ports with which a server wakes itself (esp_http_server's ctrl_port) */
    /* The platform accepts that there is no network stack to filter (the virtual board on the machine's sockets): a
     * missing filter is then logged as a warning, and the proxies continue. */
    bool accept_none;
};

/* Call this before the first context is started. Copies the struct, but not its strings. */
void cmx_device_set_isolation(const struct cmx_device_isolation *platform);

/* Implements setup_sm(): from now on packets pass only if the contexts need them. CMX_ENOTSUP: the platform has no
 * filter; CMX_EIO: the filter could not be installed; CMX_ENOMEM: no memory for the state. If
 * cmx_device_isolation_settled is false after an error, the caller must end the proxies. Once isolation is active,
 * further calls change nothing. Must not be called from the network stack's own task. */
CMX_MUST_USE cmx_err cmx_device_isolate(void);

/* True if isolation is installed and judges packets. */
bool cmx_device_isolation_active(void);

/* True in three cases: isolation is installed; it was never requested; or there is no filter, and the platform accepts
 * that (accept_none). Otherwise a new image is not confirmed. */
bool cmx_device_isolation_settled(void);

/* Computes the digest of the rules in force (isolation/digest.h). CMX_ENOENT: isolation is not active. Must not be
 * called from the network stack's own task. */
CMX_MUST_USE cmx_err cmx_device_isolation_digest(uint8_t out[CMX_SHA256_LEN]);

/* For tests: forgets the configuration and the installation, so that a test can configure and install again. */
void cmx_device_isolation_end(void);

/* Writes {"active":..., "flows":..., "packets":{reason: count, ...}} as the member `key` of the object open in j. */
void cmx_device_isolation_json(struct cmx_json *j, const char *key);

/* ---- for device.c ---- */

/* Call before the contexts are passed to the engine. CMX_EPERM: isolation failed, so no context may run. */
CMX_MUST_USE cmx_err cmx_device_isolation_configure(const struct cmx_gateway *gateway,
                                                    const struct cmx_context *contexts, size_t n);
/* Call when no context is left: removes the rules of the contexts and gateways. Cannot fail. */
void cmx_device_isolation_clear(void);
/* Reports that a socket opens or has closed. kind: a cmx_socket_kind for a socket of the engine, CMX_FLOW_CLAIM for the
 * connection of a permitted task to a direct context's listener. peer: NULL for a listener. Errors as for
 * cmx_isolation_socket_open; CMX_EPERM also if isolation could not be installed. Closing an unknown socket changes
 * nothing. */
cmx_err cmx_device_isolation_socket(int kind, const struct sockaddr *local, const struct sockaddr *peer, bool opens);
/* Call this from the engine's hook `resolve`. */
void cmx_device_isolation_resolve(bool begins);

/* ---- for claim.c ---- */

/* Decides whether the task named `task` may connect to peer. CMX_OK: peer is a direct context's listener that names
 * this task. CMX_EPERM: the listener names only other tasks; the refusal is counted and logged. CMX_ENOENT: connecting
 * is not restricted, because peer is not such a listener, the listener names no tasks, or isolation is not active. */
CMX_MUST_USE cmx_err cmx_device_isolation_permits(const char *task, const struct sockaddr *peer);

CMX_C_END
