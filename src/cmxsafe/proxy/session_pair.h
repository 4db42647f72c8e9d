/* session_pair.h - two connected local stream sockets for a session's own use. lwIP has no socketpair; there the
 * pair is a TCP connection on loopback with both ends in the engine. Isolation gets the addresses and ports of the pair
 * before the first packet, so that no other task can be either end. */
#pragma once

#include "cmxsafe/proxy/session_state.h"

/* The function for cmx_ssh_set_pair; arg: the session. The caller closes both sockets. */
CMX_MUST_USE cmx_err cmx_session_pair(void *arg, int fd[2]);
