/* control_socket.h - connects to a running gateway's control socket, FOLDER/run/control (gw_control.h). */
#pragma once

#include <stdbool.h>
#include <sys/un.h>

/* Writes the socket's address to *a. The address has room for a short path only, and folders may have long ones, so it
 * goes through a descriptor of the folder FOLDER/run: the caller closes *dir after bind or connect. False: the folder
 * can't be opened, as errno says. */
bool gw_control_socket_address(const char *folder, struct sockaddr_un *a, int *dir);

/* Connects to the socket. patience_s: how long the connection and each later call on it may wait; 0: not at all. Returns
 * the connection. -1: no gateway is running or, with errno EAGAIN, the gateway accepts no connection in time. */
int gw_control_socket_connect(const char *folder, int patience_s);
