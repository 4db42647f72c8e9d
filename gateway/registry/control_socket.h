/* control_socket.h - connects to a running gateway's control socket, FOLDER/run/control (gw_control.h). */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/un.h>

#include "gateway/registry/certificate.h"

#define GW_CONTROL_REQUEST_MAX (GW_CERTIFICATE_TEXT_MAX + 64) /* a command word, a certificate, a digest, a version */

/* Writes the socket's address to *a. An address has room only for a short path, so it refers to the descriptor *dir of
 * FOLDER/run, which the caller closes after bind or connect. Returns false and sets errno if FOLDER/run can't be
 * opened. */
bool gw_control_socket_address(const char *folder, struct sockaddr_un *a, int *dir);

/* Connects to the socket. patience_s: time limit for connecting and for each later call on the connection; 0: no call
 * waits. Returns the connection. -1: errno is EAGAIN if the gateway accepts no connection in time, EACCES if the caller
 * is not permitted to connect; otherwise no gateway is running. */
int gw_control_socket_connect(const char *folder, int patience_s);

/* Returns the digest in the second line of a request of sshd's helper, "DIGEST VERSION"; 0: the helper has another
 * version than this program, as after an upgrade of the package, and may print other lines than this program expects.
 * request: its first line ends with a NUL instead of a newline. */
uint64_t gw_control_socket_digest(const char *request);
