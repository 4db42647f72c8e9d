/* ssh_options.h - gives libssh the algorithms and settings of a session, and checks them without a connection. */
#pragma once

#include "cmxsafe/core/why.h"
#include "cmxsafe/proxy/context.h"

struct ssh_session_struct;

/* Internal to ssh.c. Sets everything but the socket. types: host key types to offer, a mask of cmx_hostkey_type.
 * CMX_EINVAL: libssh refuses an option. */
CMX_MUST_USE cmx_err cmx_ssh_options_set(struct ssh_session_struct *session, const struct cmx_gateway *g,
                                         unsigned types);

/* For --check: makes a session object with the settings of g, looks up every name of ciphers, and reads key_file and
 * key_pem with key_passphrase. Opens no connection. why receives one sentence that names the setting. May leave traces
 * of the key on the stack below the caller. CMX_EINVAL, CMX_ENOMEM. */
CMX_MUST_USE cmx_err cmx_ssh_options_check(const struct cmx_gateway *g, struct cmx_why *why);
