#include "cli/gateway/gw_known.h"

#include <stdlib.h>
#include <string.h>

#include "cmxsafe/core/mem.h"
#include "gateway/registry/list.h"

/* Once a connected device's retry_ms is this long, the device counts as silent. */
#define SILENT_RETRY_MS (4 * GW_KNOWN_RETRY_MIN_MS)

static int compare_names(const void *a, const void *b)
{
    const struct gw_known *const *x = a;
    const struct gw_known *const *y = b;

    return strcmp((*x)->standing.name, (*y)->standing.name);
}

static int compare_with_name(const void *name, const void *entry)
{
    const struct gw_known *const *k = entry;

    return strcmp(name, (*k)->standing.name);
}

static struct gw_known *find_first(const struct gw_known_list *l, size_t n, const char *name)
{
    struct gw_known **found = n ? bsearch(name, l->all, n, sizeof(struct gw_known *), compare_with_name) : NULL;

    return found ? *found : NULL;
}

struct gw_known *gw_known_find(const struct gw_known_list *l, const char *name)
{
    return find_first(l, l->n, name);
}

struct reading {
    struct gw_known_list *list;
    size_t sorted; /* number of devices that the list had before; new ones are appended */
};

static cmx_err update_known(void *arg, const struct gw_standing *s)
{
    struct reading *x = arg;
    struct gw_known *k = find_first(x->list, x->sorted, s->name);

    if (!k) {
        k = cmx_mem_alloc(sizeof *k);
        if (!k || gw_list_add(&x->list->all, &x->list->n, &x->list->cap, &k, sizeof(struct gw_known *))) {
            cmx_mem_free(k);
            return CMX_ENOMEM;
        }
    }
    /* Check the device at once if another policy applies now, or if its evidence was removed because of a new key or
     * manifest. */
    if (k->standing.policy != s->policy || (k->standing.at && !s->at)) {
        k->silent = false;
        k->next_ms = k->retry_ms = k->hold_ms = 0;
    }
    k->standing = *s;
    k->present = true;
    return CMX_OK;
}

static void remove_absent(struct gw_known_list *l)
{
    size_t kept = 0;

    for (size_t i = 0; i < l->n; i++)
        if (l->all[i]->present || l->all[i]->pid)
            l->all[kept++] = l->all[i];
        else
            cmx_mem_free(l->all[i]);
    l->n = kept;
}

cmx_err gw_known_read(struct gw_known_list *l, struct gw_registry *r, struct cmx_why *e)
{
    struct reading x = {.list = l, .sorted = l->n};
    cmx_err err;

    for (size_t i = 0; i < l->n; i++)
        l->all[i]->present = false;
    err = gw_standing_each(r, update_known, &x, e);
    if (!err)
        remove_absent(l);
    if (l->n)
        qsort(l->all, l->n, sizeof(struct gw_known *), compare_names);
    return err;
}

void gw_known_login(struct gw_known *k)
{
    k->logged_in = true;
    k->silent = false;
    k->retry_ms = 0;
    k->next_ms = k->lost_ms + k->hold_ms;
}

static uint64_t next_wait(uint64_t wait_ms, uint64_t max_ms)
{
    if (wait_ms == 0)
        return GW_KNOWN_RETRY_MIN_MS;
    return 2 * wait_ms < max_ms ? 2 * wait_ms : max_ms;
}

void gw_known_checked(struct gw_known *k, uint64_t now_ms)
{
    if (k->result.verdict == GW_CHECK_TRUSTED) {
        k->silent = false;
        k->retry_ms = k->next_ms = 0;
        return;
    }
    if (k->result.verdict == GW_CHECK_UNTRUSTED && k->standing.trusted) {
        k->hold_ms = next_wait(now_ms - k->lost_ms < GW_KNOWN_CALM_MS ? k->hold_ms : 0, GW_KNOWN_HOLD_MAX_MS);
        k->lost_ms = now_ms;
    }
    k->retry_ms = next_wait(k->retry_ms, GW_KNOWN_RETRY_MAX_MS);
    k->next_ms = now_ms + k->retry_ms;
    if (k->next_ms < k->lost_ms + k->hold_ms)
        k->next_ms = k->lost_ms + k->hold_ms;
}

bool gw_known_is_due(const struct gw_known *k, uint64_t now_ms)
{
    const struct gw_standing *s = &k->standing;

    if (k->pid || k->decided || now_ms < k->next_ms || s->exempt)
        return false;
    return k->logged_in || s->left < s->max_age_s / 3; /* left is 0 for evidence that is not trusted */
}

struct gw_known *gw_known_next_due(struct gw_known_list *l, uint64_t now_ms)
{
    for (size_t i = 0; i < l->n; i++) {
        size_t at = (l->turn + i) % l->n;

        if (gw_known_is_due(l->all[at], now_ms)) {
            l->turn = at + 1;
            return l->all[at];
        }
    }
    return NULL;
}

bool gw_known_is_silent(const struct gw_known *k)
{
    return !k->pid && !k->decided && !k->silent && !k->standing.exempt && !k->standing.trusted &&
           k->retry_ms >= SILENT_RETRY_MS && k->result.verdict == GW_CHECK_UNKNOWN && k->result.reason[0];
}
