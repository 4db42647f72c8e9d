/* session_login.h - makes one login attempt: from the look-up of the gateway's name to an authenticated session. */
#pragma once

#include "cmxsafe/proxy/session_state.h"

/* Makes one login attempt. s->ssh is then the session; after an error s->text describes the failure. The caller frees
 * s->ssh in either case. The look-up of the name has its own time limit; the rest takes at most login_timeout_s. */
CMX_MUST_USE cmx_err cmx_session_login(struct session *s);

/* Releases the look-up of the gateway's name, which may still be running. */
void cmx_session_login_drop_lookup(struct session *s);

/* True if the next attempt needs a larger stack, because Ed25519 is the only host key type left to try. */
bool cmx_session_login_lacks_stack(const struct session *s);

/* Call after an attempt. True if the gateway had no pinned host key of the types that were requested, and a type is
 * left that has not been tried. The next attempt then needs no wait and requests that type. */
bool cmx_session_login_types_left(struct session *s);
