/* gw_accounts.h - for the worker: keeps the rules in step with users and groups that name services such as LDAP manage
 * (nsswitch.conf). No file changes with such accounts, so the guard, which watches /etc/passwd and /etc/group, does not
 * notice. When the rules were loaded, for example while the machine booted, the name service may have been down. */
#pragma once

#include "cli/gateway/gw_command.h"

struct gw_accounts {
    char *answers;    /* last answers of the name services; owned; NULL: none yet */
    uint64_t next_ms; /* when to look next */
};

/* Looks up all users and groups that have had grants, every 10 s or, if this takes long, less often. Loads the rules
 * again if an answer has changed. g must be closed. A name service may take long to answer; meanwhile no query of the
 * registry is open, and the gateway is not locked. */
CMX_MUST_USE cmx_err gw_accounts_tick(struct gw_accounts *a, struct gw *g, struct cmx_why *e);
