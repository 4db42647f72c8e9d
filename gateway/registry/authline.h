/* authline.h - what sshd is told about one key: the authorized_keys line (sshd(8)) that holds all it may do, or
 * nothing. The fast path of every login: one indexed look-up or two. */
#ifndef GW_AUTHLINE_H
#define GW_AUTHLINE_H

#include "cmxsafe/core/buf.h"
#include "gateway/registry/registry.h"

#define GW_AUTHLINE_MAX 65536 /* a platform with a grant to some 600 services */

/* Appends the line and a newline to out. CMX_ENOENT: the key gets nobody in (unknown, revoked, retired). name
 * (GW_NAME_MAX, may be NULL): whose key it is. */
CMX_MUST_USE cmx_err gw_authline(struct gw_registry *r, const char *fingerprint, struct cmx_buf *out, char *name,
                                 struct gw_error *e);

#endif
