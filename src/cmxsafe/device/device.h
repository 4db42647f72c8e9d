/* device.h - wires the modules together on a device, for the virtual board and the ESP32 alike. Keeps the list of
 * security contexts that the sketch's tasks registered, and one proxy engine for them.
 *
 * Settings from cmx_device_override (board.ini, NVS) take precedence over the sketch's macros. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "cmxsafe/core/err.h"
#include "cmxsafe/device/device_settings.h"
#include "cmxsafe/proxy/proxy.h"

CMX_C_BEGIN

/* Registers the context and starts its session, or adds the context to a shared session. The settings of the first call
 * apply to all contexts. Any task. Errors are logged. CMX_EINVAL: no gateway, no SSH_HOST_KEY, no credential, a port
 * out of range. CMX_EEXIST: the context is registered already. CMX_ENOSPC: there are CMX_PROXY_CONTEXTS_MAX contexts
 * already. CMX_EPERM: isolation could not be installed. CMX_ENOMEM: out of memory. */
CMX_MUST_USE cmx_err cmx_device_forward(const struct cmx_settings *settings, const TaskParameters *context);

/* ---- functions to call before the first context ---- */

/* Values in settings replace the sketch's, unless they are zero or "". settings must stay valid; NULL: none. adapt: a
 * function that may change each context before it is registered, for example with cmx_merge_context (merge.h); NULL:
 * none. */
void cmx_device_override(const struct cmx_settings *settings, void (*adapt)(TaskParameters *context));

/* ---- functions that may be called at any time ---- */

/* Callbacks that report events to the application, like those in cmx_proxy_hooks (proxy/context.h). A session's task
 * calls them. A member may be NULL. */
struct cmx_device_hooks {
    void (*session)(const char *session, const char *gateway, bool up, cmx_err err);
    void (*relay)(const struct cmx_relay_event *event);
};

/* Sets the application's hooks. The engine may be running. The hooks must stay valid; NULL: none. */
void cmx_device_set_hooks(const struct cmx_device_hooks *hooks);

/* Copies the status of the context with this direction and local port to *out, as cmx_proxy_find does. False: there is
 * no such context; *out is unchanged. */
bool cmx_device_find(cmx_proxy_direction direction, uint16_t local_port, struct cmx_context_status *out);

/* Returns the offset that the settings add to each service's port (cmx_settings.local_port_offset). */
int cmx_device_port_offset(void);

/* True when the device has reached its gateway (cmx_proxy_reached). */
bool cmx_device_reached(void);

/* Records whether an update is being received. If memory is short during an update, the update takes precedence over
 * high_bw contexts. */
void cmx_device_set_updating(bool updating);

/* Ends all sessions, and removes the contexts and their isolation rules. */
void cmx_device_stop(void);

CMX_C_END
