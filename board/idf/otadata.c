#include "board/idf/otadata.h"

#include <assert.h>
#include <string.h>

#include "cmxsafe/core/text.h"
#include "cmxsafe/ota/bytes.h"
#include "cmxsafe/ota/crc32.h"

enum { SEQ_AT = 0, LABEL_AT = 4, STATE_AT = 24, CRC_AT = 28, CRC_LEN = 4 };
#define SEQ_NONE UINT32_MAX

static uint32_t seq_of(const struct cmx_otadata *d, int i)
{
    return cmx_le32(d->record[i] + SEQ_AT);
}

static bool crc_ok(const struct cmx_otadata *d, int i)
{
    return cmx_le32(d->record[i] + CRC_AT) == cmx_crc32_esp(d->record[i] + SEQ_AT, 4);
}

cmx_ota_state cmx_otadata_state(const struct cmx_otadata *d, int record)
{
    uint32_t s = cmx_le32(d->record[record] + STATE_AT);

    return s <= CMX_OTA_ABORTED ? (cmx_ota_state)s : CMX_OTA_UNDEFINED;
}

static bool given_up(const struct cmx_otadata *d, int i)
{
    cmx_ota_state s = cmx_otadata_state(d, i);

    return s == CMX_OTA_INVALID || s == CMX_OTA_ABORTED;
}

/* select_invalid and select_valid decide as ESP-IDF's bootloader_common_ota_select_invalid and ..._valid do. */
static bool select_invalid(const struct cmx_otadata *d, int i)
{
    return seq_of(d, i) == SEQ_NONE || given_up(d, i);
}

static bool select_valid(const struct cmx_otadata *d, int i)
{
    return !select_invalid(d, i) && crc_ok(d, i);
}

int cmx_otadata_active(const struct cmx_otadata *d)
{
    bool v0 = select_valid(d, 0), v1 = select_valid(d, 1);

    if (v0 && v1)
        return seq_of(d, 0) >= seq_of(d, 1) ? 0 : 1;
    return v0 ? 0 : v1 ? 1 : -1;
}

unsigned cmx_otadata_slot(const struct cmx_otadata *d, int record, unsigned slots)
{
    assert(slots > 0);
    return (seq_of(d, record) - 1) % slots;
}

int cmx_otadata_failed(const struct cmx_otadata *d)
{
    int active = cmx_otadata_active(d);

    for (int i = 0; i < 2; i++)
        if (i != active && seq_of(d, i) != SEQ_NONE && given_up(d, i) && crc_ok(d, i) &&
            (active < 0 || seq_of(d, i) > seq_of(d, active)))
            return i;
    return -1;
}

void cmx_otadata_label(const struct cmx_otadata *d, int record, char out[CMX_OTADATA_LABEL_LEN + 1])
{
    size_t i;

    for (i = 0; i < CMX_OTADATA_LABEL_LEN; i++) {
        uint8_t c = d->record[record][LABEL_AT + i];

        if (c == 0 || c == 0xff)
            break;
        out[i] = cmx_text_printable((char)c);
    }
    out[i] = '\0';
}

/* ---- plans ---- */

static struct cmx_otadata_step *add(struct cmx_otadata_plan *plan, int record, uint32_t at, uint32_t len)
{
    struct cmx_otadata_step *s = &plan->step[plan->n];

    assert(plan->n < CMX_OTADATA_STEPS_MAX);
    memset(s, 0, sizeof *s);
    s->offset = (uint32_t)record * CMX_OTADATA_SECTOR + at;
    s->len = len;
    plan->n++;
    return s;
}

/* Adds the step that overwrites the CRC with zeros. It needs no erase, and no interrupted erase can restore the CRC. */
static void break_crc(struct cmx_otadata_plan *plan, int record)
{
    (void)add(plan, record, CRC_AT, CRC_LEN);
}

static void rewrite(struct cmx_otadata_plan *plan, int record, const uint8_t content[CMX_OTADATA_RECORD_LEN])
{
    struct cmx_otadata_step *s;

    break_crc(plan, record);
    add(plan, record, 0, CMX_OTADATA_SECTOR)->erase = true;
    s = add(plan, record, 0, CRC_AT);
    memcpy(s->data, content, CRC_AT);
    s = add(plan, record, CRC_AT, CRC_LEN);
    cmx_put_le32(s->data, cmx_crc32_esp(content + SEQ_AT, 4));
}

static void rewrite_state(const struct cmx_otadata *d, struct cmx_otadata_plan *plan, int record, cmx_ota_state state)
{
    uint8_t content[CMX_OTADATA_RECORD_LEN];

    memcpy(content, d->record[record], sizeof content);
    cmx_put_le32(content + STATE_AT, (uint32_t)state);
    rewrite(plan, record, content);
}

void cmx_otadata_plan_release(const struct cmx_otadata *d, unsigned slot, unsigned slots, struct cmx_otadata_plan *plan)
{
    plan->n = 0;
    for (int i = 0; i < 2; i++)
        if (select_valid(d, i) && cmx_otadata_slot(d, i, slots) == slot)
            break_crc(plan, i);
}

/* Returns the lowest sequence number above seq that names slot. */
static uint32_t seq_for(uint32_t seq, unsigned slot, unsigned slots)
{
    uint32_t next = seq + 1;

    while ((next - 1) % slots != slot)
        next++;
    return next;
}

void cmx_otadata_plan_activate(const struct cmx_otadata *d, unsigned slot, unsigned slots,
                               struct cmx_otadata_plan *plan)
{
    uint8_t content[CMX_OTADATA_RECORD_LEN];
    int active = cmx_otadata_active(d), record = 0;
    uint32_t seq = slot + 1;

    plan->n = 0;
    if (active >= 0 && cmx_otadata_slot(d, active, slots) == slot) {
        record = active;
        seq = seq_of(d, active);
    } else if (active >= 0) {
        record = 1 - active;
        seq = seq_for(seq_of(d, active), slot, slots);
    }
    memset(content, 0xff, sizeof content);
    cmx_put_le32(content + SEQ_AT, seq);
    cmx_put_le32(content + STATE_AT, CMX_OTA_NEW);
    rewrite(plan, record, content);
}

cmx_err cmx_otadata_plan_confirm(const struct cmx_otadata *d, struct cmx_otadata_plan *plan)
{
    int active = cmx_otadata_active(d);

    plan->n = 0;
    if (active < 0)
        return CMX_ENOENT;
    if (cmx_otadata_state(d, active) != CMX_OTA_VALID)
        rewrite_state(d, plan, active, CMX_OTA_VALID);
    return CMX_OK;
}

cmx_err cmx_otadata_plan_rollback(const struct cmx_otadata *d, const char *why, struct cmx_otadata_plan *plan)
{
    int active = cmx_otadata_active(d);
    size_t len = strnlen(why, CMX_OTADATA_LABEL_LEN);
    uint8_t content[CMX_OTADATA_RECORD_LEN];

    plan->n = 0;
    if (active < 0)
        return CMX_ENOENT;
    memcpy(content, d->record[active], sizeof content);
    memset(content + LABEL_AT, 0xff, CMX_OTADATA_LABEL_LEN);
    memcpy(content + LABEL_AT, why, len);
    cmx_put_le32(content + STATE_AT, CMX_OTA_INVALID);
    rewrite(plan, active, content);
    return CMX_OK;
}

/* ---- booting ---- */

/* Decides as bootloader_utility_get_selected_boot_partition does. */
void cmx_boot_decide(const struct cmx_otadata *d, unsigned slots, bool has_factory, struct cmx_boot *out)
{
    struct cmx_otadata now = *d;
    int active;

    memset(out, 0, sizeof *out);
    out->first = CMX_OTA_FACTORY;
    for (int i = 0; i < 2; i++) {
        if (cmx_otadata_state(&now, i) != CMX_OTA_PENDING_VERIFY || seq_of(&now, i) == SEQ_NONE || !crc_ok(&now, i))
            continue;
        rewrite_state(&now, &out->plan, i, CMX_OTA_ABORTED);
        cmx_put_le32(now.record[i] + STATE_AT, CMX_OTA_ABORTED);
        out->aborted = true;
    }
    if (slots == 0 || (select_invalid(&now, 0) && select_invalid(&now, 1))) {
        if (!has_factory)
            out->first = 0;
        out->initial = !has_factory && (seq_of(&now, 0) == SEQ_NONE || !crc_ok(&now, 0)) &&
                       (seq_of(&now, 1) == SEQ_NONE || !crc_ok(&now, 1));
        return;
    }
    active = cmx_otadata_active(&now);
    if (active < 0)
        return;
    out->first = (int)cmx_otadata_slot(&now, active, slots);
    if (cmx_otadata_state(&now, active) == CMX_OTA_NEW)
        rewrite_state(&now, &out->plan, active, CMX_OTA_PENDING_VERIFY);
}

bool cmx_boot_candidate(int first, unsigned slots, bool has_factory, unsigned k, int *out)
{
    unsigned down = (unsigned)(first + 1); /* number of slots from first down to 0 */

    if (k < down) {
        *out = first - (int)k;
        return true;
    }
    k -= down;
    if (has_factory) {
        if (k == 0) {
            *out = CMX_OTA_FACTORY;
            return true;
        }
        k--;
    }
    if (down + k >= slots)
        return false;
    *out = (int)(down + k);
    return true;
}

void cmx_otadata_plan_initial(unsigned slot, struct cmx_otadata_plan *plan)
{
    uint8_t content[CMX_OTADATA_RECORD_LEN];

    plan->n = 0;
    memset(content, 0xff, sizeof content);
    cmx_put_le32(content + SEQ_AT, slot + 1);
    cmx_put_le32(content + STATE_AT, CMX_OTA_VALID);
    rewrite(plan, 0, content);
}
