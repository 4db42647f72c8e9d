/* gw_revoked.h - finds sessions whose key, certificate or CA a new KRL revokes. sshd checks the KRL at each login
 * (RevokedKeys); here ssh-keygen checks it with OpenSSH's same code. */
#ifndef GW_REVOKED_H
#define GW_REVOKED_H

#include "gateway/server/gw_server.h"

/* Marks the sessions that are revoked, if r has another KRL than at the last call. */
void gw_revoked_check(struct gw_server *s, struct gw_registry *r);

/* A session that logs in: true if sshd may have read a former KRL. */
bool gw_revoked_may_be(const struct gw_server *s, const struct gw_session *x);
/* True if the KRL revokes the session, or can't be read. */
bool gw_revoked_session(struct gw_server *s, struct gw_session *x);

#endif
