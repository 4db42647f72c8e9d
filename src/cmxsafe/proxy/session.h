/* session.h - the task of a session. The task logs in, serves the session until the session ends, waits, and begins
 * again. It never stops trying (promise 5 of SECURITY.md). */
#pragma once

#include "cmxsafe/proxy/session_state.h"

/* Starts s's task. The task does nothing while s->hold is set. After s->stop has been set, the task ends and sets
 * s->finished. CMX_ENOMEM: the task could not be started; s->finished is then set. */
CMX_MUST_USE cmx_err cmx_session_start(struct session *s);
