/* gw_session_identity.h - finds the identity of a session. sshd's helper reports each key and certificate that it looks
 * up; sshd's log says which of them sshd accepted. Until then, the session has the identity of the key or certificate
 * that was looked up last. */
#pragma once

#include "gateway/registry/sshdlog.h"
#include "gateway/server/gw_server.h"

/* Call this when sshd's helper looks up a key for x. If x is not up yet, gives x the identity of the key. Logs
 * failures. False: x must not log in with this key, because x may have the identity of another key. */
bool gw_session_identify(struct gw_server *s, struct gw_session *x, const char *fingerprint);
/* Like gw_session_identify, for a certificate "TYPE BASE64". False: x must not log in with this certificate. */
bool gw_session_certify(struct gw_server *s, struct gw_session *x, const char *text);

/* Gives x the identity of the key, even if x is up. Unlike gw_session_identify, returns failures and logs none. Needs
 * s->idsock. */
CMX_MUST_USE cmx_err gw_session_set_identity(struct gw_server *s, struct gw_session *x, const char *fingerprint,
                                             struct cmx_why *e);
/* Checks that x's certificate is the one that sshd accepted. l: sshd's log line about the accepted key. If sshd
 * accepted a plain key, removes the certificate from x. CMX_EPERM: sshd accepted another certificate. */
CMX_MUST_USE cmx_err gw_session_check_certificate(struct gw_session *x, const struct gw_log_line *l, struct cmx_why *e);
void gw_session_drop_certificate(struct gw_session *x);
