/* device.h - wires the modules together on a device: what the virtual board and the ESP32 share. Keeps the list of
 * security contexts that the sketch's tasks registered and one proxy engine for them.
 *
 * Precedence: what cmx_device_override gave (board.ini, NVS), then the sketch's macros and TaskParameters. */
#ifndef CMX_DEVICE_DEVICE_H
#define CMX_DEVICE_DEVICE_H

#include <stdbool.h>
#include <stddef.h>

#include "cmxsafe/core/err.h"
#include "cmxsafe/device/settings.h"
#include "cmxsafe/proxy/proxy.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Registers the context and starts its session, or adds it to the one that it shares. The settings of the first call
 * name the gateway; a device has one. Any task. Errors are logged, loudly for a missing pin. CMX_EINVAL: no gateway, no
 * SSH_HOST_KEY, no credential, a port out of range. CMX_EEXIST: the context is registered already. CMX_ENOSPC: more
 * than CMX_PROXY_CONTEXTS_MAX. CMX_ENOMEM. */
CMX_MUST_USE cmx_err cmx_device_forward(const struct cmx_settings *settings, const TaskParameters *context);

/* ---- before the first context ---- */

/* Settings that win over the sketch's where they are set, and contexts that win over a registered one of the same
 * direction and local port (every field that is not zero; `name` too). Borrowed for good. settings NULL and n 0: none.
 */
void cmx_device_override(const struct cmx_settings *settings, const TaskParameters *contexts, size_t n);

/* ---- at any time ---- */

/* Hooks of the proxy engine, also of one that runs already. Borrowed for good; NULL: none. */
void cmx_device_set_hooks(const struct cmx_proxy_hooks *hooks);

/* The engine for status, or NULL before the first context. Lives until cmx_device_stop. */
struct cmx_proxy *cmx_device_proxy(void);

/* What the settings add to each service's port (cmx_settings.local_port_offset). */
int cmx_device_port_offset(void);

/* True when there is a context and every one is up. */
bool cmx_device_all_up(void);

/* Copies at most cap of the registered contexts, with overrides applied; returns how many there are. */
size_t cmx_device_contexts(struct cmx_context *out, size_t cap);

/* The settings in force, with overrides applied. False before the first context. */
bool cmx_device_settings(struct cmx_settings *out);

/* Ends all sessions and forgets the contexts. */
void cmx_device_stop(void);

#ifdef __cplusplus
}
#endif
#endif
