/* ssh_options.h - sets the algorithms and options of a libssh session, and checks the settings without a connection. */
#pragma once

#include "cmxsafe/core/why.h"
#include "cmxsafe/proxy/context.h"

struct ssh_session_struct;

/* Internal to ssh.c. Sets everything but the socket. types: host key types to offer, a bit mask of cmx_hostkey_type.
 * CMX_EINVAL: libssh refuses an option. */
CMX_MUST_USE cmx_err cmx_ssh_options_set(struct ssh_session_struct *session, const struct cmx_gateway *g,
                                         unsigned types);

/* For --check: applies the settings of g to a libssh session, checks each name in g->ciphers, and reads key_file and
 * key_pem with key_passphrase. Opens no connection. May leave traces of the key on the stack below the caller.
 * CMX_EINVAL: a setting is invalid, and why describes it; CMX_ENOMEM: no memory. */
CMX_MUST_USE cmx_err cmx_ssh_options_check(const struct cmx_gateway *g, struct cmx_why *why);
