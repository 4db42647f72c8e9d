/* Decides the boot slot from any two otadata records. Every decision must name an existing slot. Every plan must stay
 * within its partition and, when executed completely, have its documented effect. Also parses any partition table
 * entry. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "board/idf/otadata.h"
#include "board/idf/partition_table.h"

static void execute(struct cmx_otadata *d, const struct cmx_otadata_plan *plan)
{
    for (size_t i = 0; i < plan->n; i++) {
        const struct cmx_otadata_step *s = &plan->step[i];
        uint32_t sector = s->offset / CMX_OTADATA_SECTOR, at = s->offset % CMX_OTADATA_SECTOR;

        if (sector > 1 || (s->erase ? at != 0 : at + s->len > CMX_OTADATA_RECORD_LEN))
            abort();
        if (s->erase)
            memset(d->record[sector], 0xff, CMX_OTADATA_RECORD_LEN);
        for (uint32_t k = 0; k < s->len && !s->erase; k++)
            d->record[sector][at + k] &= s->data[k];
    }
}

static void boot(struct cmx_otadata *d, unsigned slots, bool factory)
{
    struct cmx_boot b;
    int c;
    unsigned k = 0, seen = 0;

    cmx_boot_decide(d, slots, factory, &b);
    execute(d, &b.plan);
    for (; cmx_boot_candidate(b.first, slots, factory, k, &c); k++) {
        if (c < CMX_OTA_FACTORY || c >= (int)slots || (seen & 1u << (c + 1)))
            abort();
        seen |= 1u << (c + 1);
    }
    if (k != slots + factory)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cmx_otadata d;
    struct cmx_otadata_plan plan;
    struct cmx_partitions p = {0};
    char label[CMX_OTADATA_LABEL_LEN + 1];
    unsigned slots, slot;
    bool done;

    if (size < 2 + sizeof d)
        return 0;
    slots = 2 + data[0] % 15;
    slot = data[1] % slots;
    memcpy(&d, data + 2, sizeof d);
    (void)cmx_partition_entry(&p, data + 2, 0x400000, &done);
    (void)cmx_partitions_check(&p);
    cmx_otadata_label(&d, 0, label);
    boot(&d, slots, data[1] >> 7);
    cmx_otadata_plan_release(&d, slot, slots, &plan);
    execute(&d, &plan);
    if (cmx_otadata_active(&d) >= 0 && cmx_otadata_slot(&d, cmx_otadata_active(&d), slots) == slot)
        abort();
    cmx_otadata_plan_activate(&d, slot, slots, &plan);
    execute(&d, &plan);
    if (cmx_otadata_active(&d) < 0 || cmx_otadata_slot(&d, cmx_otadata_active(&d), slots) != slot ||
        cmx_otadata_state(&d, cmx_otadata_active(&d)) != CMX_OTA_NEW)
        abort();
    boot(&d, slots, data[1] >> 7);
    if (cmx_otadata_plan_rollback(&d, label, &plan) != CMX_OK)
        abort();
    execute(&d, &plan);
    return 0;
}
