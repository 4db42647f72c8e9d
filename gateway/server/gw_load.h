/* gw_load.h - loads a file of rules with nft. For each uid and gid in the file, nft looks for an account that has the
 * number as its name. A name service such as LDAP can hang while the caller holds the gateway's lock, so nft reads only
 * /etc/passwd and /etc/group here.
 * Packets add elements to the sets `denied` and `operators` of the fleet's rules. Just before the rules are replaced,
 * both sets are read: the refusals in `denied` are reported to the running gateway, and the new set `operators` gets
 * the elements of the former one. A refusal between reading and replacing (some milliseconds) is lost. g: the gateway's
 * folder. */
#pragma once

#include "gateway/folder/gw_folder.h"

/* Loads the file in the network namespace ns, a descriptor; -1: in this process's own. */
CMX_MUST_USE bool gw_load_rules(const struct gw *g, const char *path, int ns);
/* Loads the file inside the running gateway's namespaces. Returns nft's exit status, or GW_COULD_NOT (gw_inside.h). */
int gw_load_inside(const struct gw *g, const char *path);
