/* claim.h - which tasks may connect to a direct context's listener (TaskParameters.tasks). A packet does not tell which
 * task sent it; the platform's connect() and close() lead through here, in the task itself: the board's own
 * (board/lwip/sockets.c), and on ESP-IDF lwIP's, wrapped at link time (port/esp/claim_esp.c). On an Arduino core,
 * linked without that, the task calls them itself (docs/ISOLATION.md). A connection that did not come this way is
 * nobody's, and isolation drops it. */
#ifndef CMX_DEVICE_CLAIM_H
#define CMX_DEVICE_CLAIM_H

#include <sys/socket.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Claimed connections at once. */
#define CMX_CLAIMS_MAX 16

typedef int (*cmx_connect_fn)(int fd, const struct sockaddr *peer, socklen_t len);

/* What connect() does, by calling `really`; -1 with EACCES if peer is the listener of a direct context that is not for
 * the calling task, or if its connection can't be remembered. Any task. */
int cmx_claim_connect(int fd, const struct sockaddr *peer, socklen_t len, cmx_connect_fn really);

/* Before fd is closed. Unknown ones are ignored. */
void cmx_claim_close(int fd);

#ifdef __cplusplus
}
#endif
#endif
