/* merge.h - converts the sketch's settings and contexts to the proxy engine's. Pure: no I/O, clock or allocation.
 * Strings are not copied. */
#pragma once

#include "cmxsafe/core/log.h"
#include "cmxsafe/device/device_settings.h"
#include "cmxsafe/proxy/proxy.h"

CMX_C_BEGIN

/* Values that are set in `over` (may be NULL) replace those of s. */
void cmx_settings_merge(struct cmx_settings *s, const struct cmx_settings *over);

/* Values that are set in `over` replace those of t, if `over` and t have the same direction and local port. */
void cmx_merge_context(TaskParameters *t, const TaskParameters *over);

/* Returns the log level for s->verbosity, one of libssh's names or numbers: debug for SSH_LOG_PACKET (3) and above,
 * otherwise info. */
cmx_log_level cmx_settings_log_level(const struct cmx_settings *s);

/* Converts the settings of the gateway; "" becomes NULL. If all host keys are "", *out has none. The caller sets
 * key_load. */
void cmx_settings_gateway(const struct cmx_settings *s, struct cmx_gateway *out);

/* Converts a context. name: storage for the default name ("port-81" or "direct-81"), used if the context has none;
 * must live as long as *out. CMX_EINVAL: a value is out of its option's range, a direct context has no remote_host, or
 * local_port plus s->local_port_offset is not a port. CMX_ENOTSUP: peer is CMX_PEER_MIRROR. */
CMX_MUST_USE cmx_err cmx_settings_context(const struct cmx_settings *s, const TaskParameters *t,
                                          struct cmx_context *out, char *name, size_t name_cap);

CMX_C_END
