/* device_isolation_state.h - the state of a device's isolation, shared by the files that implement device_isolation.h.
 */
#pragma once

#include "cmxsafe/device/drops.h"
#include "cmxsafe/isolation/policy.h"
#include "cmxsafe/proxy/gateways.h"

#define CMX_DEVICE_ISOLATION_TAG "isolation"

/* Maximum number of flows at the same time: the sockets of the proxies and of permitted tasks, including those that are
 * closing. Each flow takes 64 bytes of heap. */
#if defined(ESP_PLATFORM) || defined(CMX_DEVICE_PROFILE)
#define CMX_DEVICE_FLOWS 48
#else
#define CMX_DEVICE_FLOWS 128
#endif

/* The state. It is allocated at the first configuration, and only if the platform has a filter. The filter's lock
 * guards it. */
struct cmx_device_isolation_state {
    struct cmx_drops drops;
    struct cmx_gateway_list gateways; /* iso borrows the gateways' names */
    struct cmx_isolation iso;
    struct cmx_flow flows[CMX_DEVICE_FLOWS];
};

/* Returns the state; NULL: not configured yet. Needs no lock, because the pointer is atomic. */
struct cmx_device_isolation_state *cmx_device_isolation_state(void);
void cmx_device_isolation_state_set(struct cmx_device_isolation_state *s);

/* Locks the filter, and returns the state. NULL: there is no state, and nothing was locked. */
struct cmx_device_isolation_state *cmx_device_isolation_state_enter(void);
void cmx_device_isolation_state_leave(void);

/* Returns the current time for the calls of policy.h (now_s). */
uint32_t cmx_device_isolation_now_s(void);

typedef enum {
    CMX_ISOLATION_NONE,
    CMX_ISOLATION_ASKED, /* isolation is being installed */
    CMX_ISOLATION_ACTIVE,
    CMX_ISOLATION_FAILED /* isolation could not be installed: no proxy may run */
} cmx_isolation_standing;

cmx_isolation_standing cmx_device_isolation_state_standing(void);
void cmx_device_isolation_state_set_standing(cmx_isolation_standing standing);
