/* gw_accounts.h - for the worker: keeps the rules in step with users and groups that come from name services such as
 * LDAP (nsswitch.conf). The guard watches only /etc/passwd and /etc/group, which do not change with such accounts. When
 * the rules were loaded, for example while the machine booted, the name service may have been down. */
#pragma once

#include "cli/gateway/gw_command.h"

struct gw_accounts {
    char *answers;    /* last answers of the name services; owned; NULL: none yet */
    uint64_t next_ms; /* time of the next look-up */
};

/* Every 10 s or, if this takes long, less often: asks the name services for all users and groups that have had grants,
 * and loads the rules again if an answer has changed. g must be closed. During a slow answer, no query of the registry
 * is open, and the gateway is not locked. */
CMX_MUST_USE cmx_err gw_accounts_tick(struct gw_accounts *a, struct gw *g, struct cmx_why *e);
