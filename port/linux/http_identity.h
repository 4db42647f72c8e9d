/* http_identity.h - libmicrohttpd stores one address for each HTTP connection. These functions use it to store and read
 * the client's address. */
#pragma once

#include <sys/socket.h>

#include "cmxsafe/core/ip.h"

/* Writes the address of the client of an accepted socket (cmx_peer), or the unspecified address if the client has none.
 * Returns the length of *out. */
socklen_t http_identity_address(int accepted, struct sockaddr_storage *out);

/* Writes the client's address as text. Writes "" if the address is unspecified or client is NULL. */
void http_identity_text(const struct sockaddr *client, char out[CMX_IP_TEXT_MAX]);
