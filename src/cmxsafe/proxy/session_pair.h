/* session_pair.h - creates two connected local stream sockets for a session's own use. lwIP has no socketpair, so there
 * the pair is a TCP connection on loopback. Its addresses and ports are reported to isolation before the first packet,
 * so that no other task can be one of its ends. */
#pragma once

#include "cmxsafe/proxy/session_state.h"

/* The callback for cmx_ssh_set_pair; arg: the session. The caller closes both sockets. */
CMX_MUST_USE cmx_err cmx_session_pair(void *arg, int fd[2]);
