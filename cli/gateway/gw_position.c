#include "cli/gateway/gw_position.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cmxsafe/port/port.h"
#include "gateway/registry/meta.h"

#define KEY "worker_position" /* in table meta; not shared with other gateways */
#define WRITE_MS 10000

static void position_read(struct gw_position *p, struct gw_registry *r, uint64_t *journal, int64_t *event)
{
    uint64_t entry;
    int64_t id;

    p->read = true;
    if (gw_meta_get(r, KEY, p->stored, sizeof p->stored) != CMX_OK ||
        sscanf(p->stored, "%" SCNu64 " %" SCNd64, &entry, &id) != 2)
        return;
    *journal = entry;
    *event = id;
}

cmx_err gw_position_tick(struct gw_position *p, struct gw_registry *r, uint64_t *journal, int64_t *event, bool done,
                         struct cmx_why *e)
{
    char now[GW_POSITION_TEXT_MAX];
    cmx_err err;

    if (!p->read)
        position_read(p, r, journal, event);
    snprintf(now, sizeof now, "%" PRIu64 " %" PRId64, *journal, *event);
    if (!done || *event == GW_POSITION_END || strcmp(now, p->stored) == 0 ||
        cmx_port_now_ms() - p->written_ms < WRITE_MS)
        return CMX_OK;
    p->written_ms = cmx_port_now_ms();
    err = gw_registry_begin_own(r, e);
    if (!err)
        err = gw_meta_set(r, KEY, now, e);
    err = gw_registry_end(r, err, e);
    if (!err)
        memcpy(p->stored, now, sizeof now);
    return err;
}
