/* merge.h - settings and contexts as the sketch wrote them, turned into what the proxy engine takes. Pure: no I/O,
 * clock or allocation. Nothing is copied but values: strings stay borrowed. */
#ifndef CMX_DEVICE_MERGE_H
#define CMX_DEVICE_MERGE_H

#include "cmxsafe/core/log.h"
#include "cmxsafe/device/settings.h"
#include "cmxsafe/proxy/proxy.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What is set in over (may be NULL) replaces what is in s. */
void cmx_settings_merge(struct cmx_settings *s, const struct cmx_settings *over);

/* The same for a context, if over is of the same direction and local port. */
void cmx_settings_merge_context(TaskParameters *t, const TaskParameters *over);

/* True if there is a host key that is not "". */
bool cmx_settings_has_pin(const struct cmx_settings *s);

/* VERBOSITY as libssh means it; from SSH_LOG_PACKET (3) on, the debug log. */
cmx_log_level cmx_settings_log_level(const struct cmx_settings *s);

/* "" becomes NULL, zero stays. key_load is the caller's to fill in. */
void cmx_settings_gateway(const struct cmx_settings *s, struct cmx_gateway *out);

/* name: storage for the context's name where none is given ("port-81"), for as long as out. CMX_EINVAL: a port or count
 * out of range, or a direct context without remote_host. */
CMX_MUST_USE cmx_err cmx_settings_context(const struct cmx_settings *s, const TaskParameters *t,
                                          struct cmx_context *out, char *name, size_t name_cap);

#ifdef __cplusplus
}
#endif
#endif
