/* gw_accounts_file.h - generates the file "accounts": what the loaded rules contain of the machine's users and groups.
 * The worker compares it with later answers of the name services (cli/gateway/gw_accounts.h). */
#pragma once

#include "gateway/folder/gw_folder.h"

#define GW_ACCOUNTS_FILE "accounts"

/* Writes the ids and identities of all users and groups that have had grants, and the ids of the groups' members. */
CMX_MUST_USE cmx_err gw_accounts_write(FILE *f, struct gw *g, struct cmx_why *e);
