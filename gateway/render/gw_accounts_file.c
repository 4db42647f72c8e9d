#include "gateway/render/gw_accounts_file.h"

#include <string.h>

#include "cmxsafe/core/mem.h"
#include "gateway/registry/list.h"
#include "gateway/registry/nss.h"
#include "gateway/registry/party.h"

static cmx_err read_consumers(struct gw *g, struct gw_consumer **list, size_t *n, struct cmx_why *e)
{
    struct gw_consumer c = {0};
    sqlite3_stmt *stmt;
    size_t cap = 0;
    cmx_err err = gw_sql_row(&g->registry, &stmt, e,
                             "SELECT kind, name FROM consumer WHERE kind IN ('user', 'group') ORDER BY id", "");

    while (!err) {
        gw_sql_columns(stmt, GW_SQL_COLUMNS(GW_SQL_ID(c.kind), GW_SQL_ID(c.name)));
        err = gw_sql_next(&g->registry, stmt, gw_list_add(list, n, &cap, &c, sizeof c), e);
    }
    return gw_sql_end(stmt, err);
}

static cmx_err put_account(FILE *f, struct gw *g, const struct gw_consumer *c, struct cmx_why *e)
{
    const char *member = strcmp(c->kind, "group") == 0 ? gw_nss_find(GW_NSS_GROUP, c->name)->members : "";
    struct gw_consumer user = {.kind = "user"};
    char address[GW_ADDRESS_MAX];
    cmx_err err;

    for (; *member; member = gw_nss_next(member)) {
        snprintf(user.name, sizeof user.name, "%.190s", member);
        fprintf(f, "%ld ", gw_party_local_id(&user));
    }
    err = gw_party_identity(&g->registry, &g->fleet, c, address, e);
    if (!err)
        fprintf(f, "%ld %s\n", gw_party_local_id(c), address);
    return err;
}

cmx_err gw_accounts_write(FILE *f, struct gw *g, struct cmx_why *e)
{
    struct gw_consumer *list = NULL;
    size_t n = 0;
    cmx_err err = read_consumers(g, &list, &n, e); /* no query is open during a slow look-up */

    for (size_t i = 0; !err && i < n; i++)
        err = put_account(f, g, &list[i], e);
    cmx_mem_free(list);
    return err;
}
