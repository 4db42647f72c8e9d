/* gw_control.h - sends requests to the running gateway through its control socket. */
#pragma once

#include "gateway/folder/gw_folder.h"

/* Maximum length of an answer in bytes: 1 KB for each of the 262,144 sessions for which the unit's LimitNOFILE is
 * enough. A session with three listeners takes about 500 bytes. */
#define GW_ANSWER_MAX (256u << 20)

/* Sends one line. *answer receives the answer, or NULL after an error; free it with free(). If answer is NULL, the
 * answer is discarded. CMX_ECLOSED: no gateway is running. CMX_EPERM: the caller may not send the request; or the
 * gateway is hung, gave no complete answer or one longer than GW_ANSWER_MAX, or answered `reload` with an error. */
CMX_MUST_USE cmx_err gw_control(const struct gw *g, const char *request, char **answer, struct cmx_why *e);

/* Sends one line that needs no answer. Waits for at most about a second, even for a gateway that is hung. False: the
 * line was not sent. */
bool gw_control_tell(const struct gw *g, const char *line);

/* The member `judge` of the answer to `status` has this value from the gateway's start until the guard's first report.
 */
#define GW_CONTROL_JUDGE_PENDING "the fleet's rules are not checked yet; the gateway has just started"

/* True if a gateway is running for this folder: it holds the lock DIR/run/lock, or its control socket accepts a
 * connection. A gateway that systemd started as the account holds no lock. */
bool gw_control_is_serving(const struct gw *g);
