/* authline.h - writes the authorized_keys line (sshd(8)) of one key, with all permissions of the key. It runs at every
 * login, so it does only two or three indexed look-ups. */
#pragma once

#include "cmxsafe/core/buf.h"
#include "gateway/registry/authority.h"

#define GW_REFUSED "refused"                   /* the gateway's answer after which sshd's helper prints no line */
#define GW_AUTHLINE_MAX 65536                  /* enough for a platform with grants to about 600 services */
#define GW_AUTHLINE_DIGEST 0xcbf29ce484222325u /* the digest of an empty text */

/* Appends the line and a newline to out. CMX_ENOENT: the key is unknown, revoked or replaced; CMX_EPERM: r is a stale
 * copy (copy_state.h). name (GW_NAME_MAX bytes, or NULL) receives the name of the key's device or platform. */
CMX_MUST_USE cmx_err gw_authline(struct gw_registry *r, const char *fingerprint, struct cmx_buf *out, char *name,
                                 struct cmx_why *e);
/* Like gw_authline, for a certificate: the line contains the CA's key and the only principal that is a consumer
 * (authority.h). CMX_EAUTH: the certificate is refused; e has the reason. */
CMX_MUST_USE cmx_err gw_authline_certificate(struct gw_registry *r, const struct gw_certificate *c, struct cmx_buf *out,
                                             char *name, struct cmx_why *e);
/* Returns the digest of the text that has the digest `before`, followed by these bytes. It only has to detect a changed
 * line: the text is no secret, and no attacker can choose the old and the new text. */
uint64_t gw_authline_digest(uint64_t before, const uint8_t *p, size_t len);
