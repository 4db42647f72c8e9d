#include "cli/gateway/gw_accounts.h"

#include <stdlib.h>
#include <string.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/port/port.h"
#include "gateway/folder/gw_files.h"
#include "gateway/registry/list.h"
#include "gateway/registry/party.h"
#include "gateway/server/gw_apply.h"

#define LOOK_MS 10000
#define LOOK_SHARE 100 /* a pause lasts at least this many times as long as the look-up before it */

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

/* Writes what the rules contain of a user or group: its id and identity, and the ids of a group's members. */
static cmx_err put_answer(FILE *f, struct gw *g, const struct gw_consumer *c, struct cmx_why *e)
{
    const struct group *gr = strcmp(c->kind, "group") == 0 ? gw_party_group(c->name) : NULL;
    struct gw_consumer user = {.kind = "user"};
    char address[GW_ADDRESS_MAX];
    cmx_err err;

    for (char **member = gr ? gr->gr_mem : NULL; member && *member; member++) {
        snprintf(user.name, sizeof user.name, "%.190s", *member);
        fprintf(f, "%ld ", gw_party_local_id(&user));
    }
    err = gw_party_identity(&g->registry, &g->fleet, c, address, e);
    if (!err)
        fprintf(f, "%ld %s\n", gw_party_local_id(c), address);
    return err;
}

static cmx_err read_answers(struct gw *g, char **answers, struct cmx_why *e)
{
    struct gw_consumer *list = NULL;
    size_t n = 0;
    size_t len = 0;
    cmx_err err = read_consumers(g, &list, &n, e);
    FILE *f = open_memstream(answers, &len);

    gw_party_forget_users();
    for (size_t i = 0; f && !err && i < n; i++)
        err = put_answer(f, g, &list[i], e);
    cmx_mem_free(list);
    return gw_file_end_text(f, err, e);
}

cmx_err gw_accounts_tick(struct gw_accounts *a, struct gw *g, struct cmx_why *e)
{
    uint64_t begin_ms = cmx_port_now_ms();
    uint64_t end_ms;
    char *answers = NULL;
    cmx_err err;

    if (begin_ms < a->next_ms)
        return CMX_OK;
    err = gw_folder_open(g, true, e);
    if (err)
        return err;
    err = read_answers(g, &answers, e);
    end_ms = cmx_port_now_ms();
    a->next_ms = end_ms + LOOK_MS + LOOK_SHARE * (end_ms - begin_ms);
    if (!err && a->answers && strcmp(a->answers, answers) != 0) {
        err = gw_folder_lock(g, e);
        if (!err)
            err = gw_apply_access(g, e);
    }
    gw_folder_close(g);
    if (err) { /* the next look-up compares with the former answers */
        free(answers);
        return err;
    }
    free(a->answers);
    a->answers = answers; /* allocated by open_memstream */
    return CMX_OK;
}
