/* claim.h - decides which tasks may connect to a direct context's listener (TaskParameters.tasks). A packet does not
 * show which task sent it, so connect() and close() call these functions in the calling task: on the board in
 * board/lwip/sockets.c, on ESP-IDF in a wrapper around lwIP's functions (port/esp/claim_esp.c). An Arduino core is
 * linked without the wrapper, so there a task must call these functions itself (docs/ISOLATION.md). Each permitted
 * connection is recorded as a claim. Isolation drops the packets of any other connection to a listener whose context
 * names tasks. */
#pragma once

#include <sys/socket.h>

#include "cmxsafe/core/c_linkage.h"

CMX_C_BEGIN

/* Maximum number of claims at the same time. */
#define CMX_CLAIMS_MAX 16

typedef int (*cmx_connect_fn)(int fd, const struct sockaddr *peer, socklen_t len);

/* Calls `really`, which is connect(), and returns its result. Does not call it, and returns -1 with EACCES, in two
 * cases: peer is the listener of a direct context that does not permit the calling task, or the claim cannot be
 * recorded (such as too many claims, no memory). Any task may call this. */
int cmx_claim_connect(int fd, const struct sockaddr *peer, socklen_t len, cmx_connect_fn really);

/* Call before fd is closed. An fd without a claim is ignored. */
void cmx_claim_close(int fd);

CMX_C_END
