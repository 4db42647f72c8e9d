/* gw_revoked.h - finds sessions whose key, certificate or CA a new KRL revokes. sshd checks the KRL at each login
 * (RevokedKeys); for sessions that are already up, the gateway runs ssh-keygen, which has the same code for this. */
#pragma once

#include "gateway/server/gw_server.h"

/* If the KRL in r has changed since the last call, marks the sessions that it revokes. After an error, call this again:
 * not all sessions were checked. */
CMX_MUST_USE cmx_err gw_revoked_check(struct gw_server *s, struct gw_registry *r, struct cmx_why *e);

/* True if sshd may have checked x's login with a KRL other than the registry's: the file that sshd reads is written
 * after the registry, and not at all if the command that changes the KRL is killed in between. */
bool gw_revoked_may_be(const struct gw_server *s, const struct gw_session *x);
/* True if the KRL revokes the session's key, certificate or CA. Also true if this can't be checked. */
bool gw_revoked_session(struct gw_server *s, struct gw_session *x);
