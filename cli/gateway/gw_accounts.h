/* gw_accounts.h - for the worker: loads the packet filter's rules again when the answers of a name service such as LDAP
 * (nsswitch.conf) change, because users or groups were changed, or because the service was down before, for example
 * while the machine booted. Changes to /etc/passwd and /etc/group are noticed by the gateway's guard process. */
#pragma once

#include "cli/gateway/gw_command.h"

struct gw_accounts {
    uint64_t next_ms; /* time of the next look-up */
};

/* Asks the name services for all users and groups that have had grants, every 10 s or, if they answer slowly, less
 * often. Loads the rules again if they were loaded with other answers. g must not be locked, because a slow answer
 * would keep commands waiting. CMX_EAGAIN: it is too early for the next look. */
CMX_MUST_USE cmx_err gw_accounts_tick(struct gw_accounts *a, struct gw *g, struct cmx_why *e);
