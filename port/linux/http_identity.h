/* http_identity.h - represents the client of an HTTP connection as the address that the server library stores for the
 * connection. */
#pragma once

#include <sys/socket.h>

#include "cmxsafe/core/ip.h"

/* Writes the address of the client of an accepted socket (cmx_peer), or the unspecified address. Returns the length. */
socklen_t http_identity_address(int accepted, struct sockaddr_storage *out);

/* Writes that address as text; "" for the unspecified one and for NULL. */
void http_identity_text(const struct sockaddr *client, char out[CMX_IP_TEXT_MAX]);
