#include "board/idf/slots_flash.h"

#include <stdio.h>
#include <string.h>

#include "cmxsafe/core/log.h"
#include "cmxsafe/ota/bytes.h"
#include "cmxsafe/port/port.h"

static const char tag[] = "ota";

static struct cmx_region region_of(const struct cmx_slots_flash *s, int candidate)
{
    return candidate == CMX_OTA_FACTORY ? s->partitions.factory : s->partitions.slot[candidate];
}

/* Returns the slot after the running one, as esp_ota_get_next_update_partition chooses. */
static unsigned target_of(const struct cmx_slots_flash *s)
{
    return (unsigned)(s->running + 1) % s->partitions.slots;
}

static void name_of(int candidate, char out[CMX_SLOT_NAME_MAX])
{
    if (candidate == CMX_OTA_FACTORY)
        snprintf(out, CMX_SLOT_NAME_MAX, "factory");
    else
        snprintf(out, CMX_SLOT_NAME_MAX, "ota_%d", candidate & 0xff);
}

cmx_err cmx_slots_flash_open(struct cmx_slots_flash *s)
{
    uint32_t size = cmx_port_flash_size();
    bool done = false;
    cmx_err err;

    memset(s, 0, sizeof *s);
    for (uint32_t at = 0; at < CMX_PARTITION_TABLE_LEN && !done; at += CMX_PARTITION_ENTRY_LEN) {
        uint8_t entry[CMX_PARTITION_ENTRY_LEN];

        err = cmx_port_flash_read(CMX_PARTITION_TABLE_AT + at, entry, sizeof entry);
        if (!err)
            err = cmx_partition_entry(&s->partitions, entry, size, &done);
        if (err)
            return err;
    }
    return cmx_partitions_check(&s->partitions);
}

static cmx_err otadata_read(const struct cmx_slots_flash *s, struct cmx_otadata *d)
{
    uint32_t at = s->partitions.otadata.offset;
    cmx_err err = cmx_port_flash_read(at, d->record[0], CMX_OTADATA_RECORD_LEN);

    if (err)
        return err;
    return cmx_port_flash_read(at + CMX_OTADATA_SECTOR, d->record[1], CMX_OTADATA_RECORD_LEN);
}

/* Writes the data, reads it back and compares it. */
static cmx_err write_checked(uint32_t at, const uint8_t *data, size_t len)
{
    uint8_t back[CMX_OTADATA_RECORD_LEN];
    cmx_err err = cmx_port_flash_write(at, data, len);

    if (!err)
        err = cmx_port_flash_read(at, back, len);
    if (err)
        return err;
    return memcmp(back, data, len) == 0 ? CMX_OK : CMX_EIO;
}

/* Stops at the first failure. The board still boots then, because a plan can be interrupted after any step. */
static cmx_err execute(const struct cmx_slots_flash *s, const struct cmx_otadata_plan *plan)
{
    for (size_t i = 0; i < plan->n; i++) {
        const struct cmx_otadata_step *step = &plan->step[i];
        uint32_t at = s->partitions.otadata.offset + step->offset;
        cmx_err err = step->erase ? cmx_port_flash_erase(at, step->len) : write_checked(at, step->data, step->len);

        if (err)
            return err;
    }
    return CMX_OK;
}

/* True while the running image is on trial. */
static bool pending(const struct cmx_slots_flash *s, const struct cmx_otadata *d)
{
    int active = cmx_otadata_active(d);

    return active >= 0 && (int)cmx_otadata_slot(d, active, s->partitions.slots) == s->running &&
           cmx_otadata_state(d, active) == CMX_OTA_PENDING_VERIFY;
}

/* ---- the boot step ---- */

/* Feeds the bytes of the region r to the checker until the checker has the whole image. */
static cmx_err image_read(struct cmx_image *image, struct cmx_region r)
{
    uint8_t piece[1024];
    uint32_t at = 0;

    while (image->image_len == 0 && at < r.size) {
        uint32_t left = r.size - at, n = image->need;
        cmx_err err;

        n = n < left ? n : left;
        n = n < sizeof piece ? n : (uint32_t)sizeof piece;
        err = cmx_port_flash_read(r.offset + at, piece, n);
        if (!err)
            err = cmx_image_feed(image, piece, n);
        if (err)
            return err;
        at += n;
        cmx_port_watchdog_feed(0);
    }
    return image->image_len ? CMX_OK : CMX_ETRUNC;
}

static cmx_err image_check(struct cmx_region r, uint16_t chip_id, struct cmx_image_info *info)
{
    const struct cmx_image_policy policy = {.chip_id = chip_id, .max_len = r.size};
    struct cmx_image image;
    cmx_err err = cmx_image_init(&image, &policy);

    if (err)
        return err;
    err = image_read(&image, r);
    cmx_image_abort(&image);
    *info = image.info;
    return err;
}

static cmx_err choose(struct cmx_slots_flash *s, const struct cmx_boot *boot, uint16_t chip_id,
                      struct cmx_boot_report *out)
{
    bool has_factory = s->partitions.factory.size != 0;

    for (unsigned k = 0; cmx_boot_candidate(boot->first, s->partitions.slots, has_factory, k, &s->running); k++) {
        struct cmx_region r = region_of(s, s->running);
        cmx_err err = image_check(r, chip_id, &out->info);

        out->offset = r.offset;
        if (err == CMX_OK)
            return CMX_OK;
        cmx_log(CMX_LOG_WARN, tag, "boot: no valid image at 0x%06x: %s", (unsigned)r.offset, cmx_err_text(err));
    }
    return CMX_ENOENT;
}

cmx_err cmx_slots_flash_boot(struct cmx_slots_flash *s, uint16_t chip_id, struct cmx_boot_report *out)
{
    struct cmx_otadata d;
    struct cmx_boot boot;
    cmx_err err = otadata_read(s, &d);

    memset(out, 0, sizeof *out);
    if (err)
        return err;
    cmx_boot_decide(&d, s->partitions.slots, s->partitions.factory.size != 0, &boot);
    err = execute(s, &boot.plan);
    if (!err)
        err = choose(s, &boot, chip_id, out);
    if (err)
        return err;
    out->aborted = boot.aborted;
    if (boot.initial && s->running >= 0) {
        cmx_otadata_plan_initial((unsigned)s->running, &boot.plan);
        err = execute(s, &boot.plan);
    }
    if (!err)
        err = otadata_read(s, &d);
    out->pending = !err && pending(s, &d);
    return err;
}

/* ---- struct cmx_slots ---- */

static cmx_err describe(const struct cmx_slots_flash *s, int candidate, struct cmx_image_info *info)
{
    uint8_t head[CMX_IMAGE_HEAD_LEN];
    cmx_err err = cmx_port_flash_read(region_of(s, candidate).offset, head, sizeof head);

    return err ? err : cmx_image_describe(head, info);
}

static cmx_err door_status(void *arg, struct cmx_slots_status *out)
{
    struct cmx_slots_flash *s = arg;
    struct cmx_otadata d;
    struct cmx_image_info info;
    int failed;
    cmx_err err = otadata_read(s, &d);

    memset(out, 0, sizeof *out);
    if (err)
        return err;
    name_of(s->running, out->running);
    out->running_offset = region_of(s, s->running).offset;
    name_of((int)target_of(s), out->target);
    out->target_size = s->partitions.slot[target_of(s)].size;
    out->confirmable = true;
    out->pending = pending(s, &d);
    if (describe(s, s->running, &info) == CMX_OK) {
        memcpy(out->version, info.version, sizeof out->version);
        memcpy(out->project, info.project, sizeof out->project);
        out->secure_version = info.secure_version;
    }
    failed = cmx_otadata_failed(&d);
    if (failed < 0)
        return CMX_OK;
    out->rolled_back = true;
    cmx_otadata_label(&d, failed, out->rolled_back_why);
    if (out->rolled_back_why[0] == '\0')
        snprintf(out->rolled_back_why, sizeof out->rolled_back_why, "restarted too early");
    if (describe(s, (int)cmx_otadata_slot(&d, failed, s->partitions.slots), &info) == CMX_OK)
        memcpy(out->rolled_back_version, info.version, sizeof out->rolled_back_version);
    return CMX_OK;
}

static cmx_err door_begin(void *arg)
{
    struct cmx_slots_flash *s = arg;
    struct cmx_otadata_plan plan;
    struct cmx_otadata d;
    cmx_err err = otadata_read(s, &d);

    if (!err && pending(s, &d))
        err = CMX_EBUSY;
    if (err)
        return err;
    cmx_otadata_plan_release(&d, target_of(s), s->partitions.slots, &plan);
    return execute(s, &plan);
}

/* Checks that [offset, offset + len) lies within the target slot. */
static cmx_err within(const struct cmx_slots_flash *s, uint32_t offset, size_t len, uint32_t *at)
{
    struct cmx_region r = s->partitions.slot[target_of(s)];

    if (offset > r.size || len > r.size - offset)
        return CMX_EINVAL;
    *at = r.offset + offset;
    return CMX_OK;
}

static cmx_err door_erase(void *arg, uint32_t offset, uint32_t len)
{
    uint32_t at;
    cmx_err err = within(arg, offset, len, &at);

    cmx_port_watchdog_feed(0);
    return err ? err : cmx_port_flash_erase(at, len);
}

static cmx_err door_write(void *arg, uint32_t offset, const void *data, size_t len)
{
    uint32_t at;
    cmx_err err = within(arg, offset, len, &at);

    return err ? err : cmx_port_flash_write(at, data, len);
}

static cmx_err door_read(void *arg, uint32_t offset, void *out, size_t len)
{
    uint32_t at;
    cmx_err err = within(arg, offset, len, &at);

    return err ? err : cmx_port_flash_read(at, out, len);
}

static cmx_err door_activate(void *arg, const struct cmx_image *verified, struct cmx_why *why)
{
    struct cmx_slots_flash *s = arg;
    struct cmx_otadata_plan plan;
    struct cmx_otadata d;
    cmx_err err = otadata_read(s, &d);

    (void)verified;
    if (!err) {
        cmx_otadata_plan_activate(&d, target_of(s), s->partitions.slots, &plan);
        err = execute(s, &plan);
    }
    return err ? cmx_why_fail(why, err, "writing otadata failed") : CMX_OK;
}

static cmx_err door_confirm(void *arg, struct cmx_why *why)
{
    struct cmx_slots_flash *s = arg;
    struct cmx_otadata_plan plan = {.n = 0};
    struct cmx_otadata d;
    cmx_err err = otadata_read(s, &d);

    if (!err && pending(s, &d))
        err = cmx_otadata_plan_confirm(&d, &plan);
    if (!err)
        err = execute(s, &plan);
    return err ? cmx_why_fail(why, err, "writing otadata failed") : CMX_OK;
}

/* Like esp_ota_check_rollback_is_possible: some other partition must hold an image. Checking its head suffices: a
 * slot's head is written only after everything else in it was verified. */
static bool has_other_image(const struct cmx_slots_flash *s)
{
    struct cmx_image_info info;

    for (int i = CMX_OTA_FACTORY; i < (int)s->partitions.slots; i++)
        if (i != s->running && region_of(s, i).size != 0 && describe(s, i, &info) == CMX_OK)
            return true;
    return false;
}

static cmx_err door_rollback(void *arg, const char *reason, struct cmx_why *why)
{
    struct cmx_slots_flash *s = arg;
    struct cmx_otadata_plan plan;
    struct cmx_otadata d;
    cmx_err err = otadata_read(s, &d);

    if (!err)
        err = pending(s, &d) && has_other_image(s) ? cmx_otadata_plan_rollback(&d, reason, &plan) : CMX_ENOENT;
    if (!err)
        err = execute(s, &plan);
    return err ? cmx_why_fail(why, err, "%s", err == CMX_ENOENT ? "no other image" : "writing otadata failed") : CMX_OK;
}

void cmx_slots_flash_interface(struct cmx_slots_flash *s, struct cmx_slots *out)
{
    *out = (struct cmx_slots){.arg = s,
                              .status = door_status,
                              .begin = door_begin,
                              .erase = door_erase,
                              .write = door_write,
                              .read = door_read,
                              .activate = door_activate,
                              .confirm = door_confirm,
                              .rollback = door_rollback};
}
