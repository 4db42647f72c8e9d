#include "cli/gateway/gw_position.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmxsafe/port/port.h"
#include "gateway/registry/meta.h"
#include "gateway/registry/term.h"

#define KEY "worker_position" /* in table meta; not shared with other gateways */
#define WRITE_MS 10000
#define PROCESS_MAX (GW_BOOT_MAX + 16)

/* Writes what identifies the gateway process, the parent of this process. The journal of another process may have the
 * same numbers if the machine was booted meanwhile. */
static void name_process(char out[PROCESS_MAX])
{
    struct gw_now now;

    gw_now(&now);
    snprintf(out, PROCESS_MAX, " %ld %s", (long)getppid(), now.boot);
}

void gw_position_read(struct gw_position_store *s, struct gw_registry *r, struct gw_position *p)
{
    char process[PROCESS_MAX];
    struct gw_position x;
    int end;

    if (s->read)
        return;
    s->read = true;
    name_process(process);
    if (gw_meta_get(r, KEY, s->stored, sizeof s->stored) != CMX_OK ||
        sscanf(s->stored, "%" SCNu64 " %" SCNd64 "%n", &x.journal, &x.event, &end) != 2)
        return;
    p->event = x.event;
    /* If the registry could not be opened for a time, this worker has already read the journal. */
    if (!p->journal && strcmp(s->stored + end, process) == 0)
        p->journal = x.journal;
}

cmx_err gw_position_write(struct gw_position_store *s, struct gw_registry *r, struct gw_position p, struct cmx_why *e)
{
    char process[PROCESS_MAX];
    char now[GW_POSITION_TEXT_MAX];
    cmx_err err;

    name_process(process);
    snprintf(now, sizeof now, "%" PRIu64 " %" PRId64 "%s", p.journal, p.event, process);
    if (p.event == GW_POSITION_END || strcmp(now, s->stored) == 0 || cmx_port_now_ms() - s->written_ms < WRITE_MS)
        return CMX_OK;
    s->written_ms = cmx_port_now_ms();
    err = gw_registry_begin_own(r, e);
    if (!err)
        err = gw_meta_set(r, KEY, now, e);
    err = gw_registry_end(r, err, e);
    if (!err)
        memcpy(s->stored, now, sizeof now);
    return err;
}
