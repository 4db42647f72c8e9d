/* session.h - the task of a session: log in, serve, wait, repeat; it never stops trying (promise 5 of SECURITY.md). */
#pragma once

#include "cmxsafe/proxy/session_state.h"

/* Starts s's task. The task does nothing while s->hold is set. When s->stop is set it sets s->finished and ends.
 * CMX_ENOMEM: s counts as finished. */
CMX_MUST_USE cmx_err cmx_session_start(struct session *s);
