#include "cli/gateway/gw_accounts.h"

#include <stdlib.h>
#include <string.h>

#include "cmxsafe/port/port.h"
#include "gateway/folder/gw_files.h"
#include "gateway/registry/nss.h"
#include "gateway/registry/party.h"
#include "gateway/render/gw_accounts_file.h"
#include "gateway/server/gw_apply.h"

#define LOOK_MS 10000
#define LOOK_SHARE 100     /* a pause lasts at least this many times as long as the look-up before it */
#define PAUSE_MAX_MS 30000 /* maximum length of a pause */

static cmx_err read_answers(struct gw *g, char **answers, struct cmx_why *e)
{
    size_t len = 0;
    FILE *f = open_memstream(answers, &len);

    gw_party_forget_users();
    return gw_file_end_text(f, f ? gw_accounts_write(f, g, e) : CMX_OK, e);
}

/* True if the loaded rules are based on other answers of the name services than `answers`. */
static bool rules_differ(const struct gw *g, const char *answers)
{
    char path[GW_PATH_MAX];
    char *used = NULL;
    size_t len = 0;
    bool differ = gw_file_read(gw_path(g, GW_ACCOUNTS_FILE, path), &used, &len, NULL) != CMX_OK ||
                  len != strlen(answers) || memcmp(used, answers, len) != 0;

    free(used); /* allocated by open_memstream */
    return differ;
}

cmx_err gw_accounts_tick(struct gw_accounts *a, struct gw *g, struct cmx_why *e)
{
    uint64_t begin_ms = cmx_port_now_ms();
    uint64_t pause_ms;
    char *answers = NULL;
    cmx_err err;

    if (begin_ms < a->next_ms)
        return CMX_EAGAIN;
    err = read_answers(g, &answers, e);
    pause_ms = LOOK_MS + LOOK_SHARE * (cmx_port_now_ms() - begin_ms);
    if (!err && rules_differ(g, answers)) {
        err = gw_folder_lock(g, e);
        if (!err && rules_differ(g, answers)) /* a command may have loaded the rules meanwhile */
            err = gw_apply_access(g, e);
    }
    gw_nss_end();  /* the next look asks all name services again */
    free(answers); /* allocated by open_memstream */
    a->next_ms = cmx_port_now_ms() + (pause_ms < PAUSE_MAX_MS ? pause_ms : PAUSE_MAX_MS);
    return err;
}
