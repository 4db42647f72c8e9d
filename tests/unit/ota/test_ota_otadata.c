#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "board/idf/otadata.h"
#include "board/idf/partition_table.h"
#include "cmxsafe/ota/bytes.h"
#include "cmxsafe/ota/confirm.h"
#include "cmxsafe/ota/crc32.h"

static void set(struct cmx_otadata *d, int i, uint32_t seq, uint32_t state)
{
    memset(d->record[i], 0xff, sizeof d->record[i]);
    cmx_put_le32(d->record[i], seq);
    cmx_put_le32(d->record[i] + 24, state);
    cmx_put_le32(d->record[i] + 28, cmx_crc32_esp(d->record[i], 4));
}

/* Executes a plan on the records. As on flash, a write only clears bits. */
static void execute(struct cmx_otadata *d, const struct cmx_otadata_plan *plan)
{
    for (size_t i = 0; i < plan->n; i++) {
        const struct cmx_otadata_step *s = &plan->step[i];
        uint8_t *r = d->record[s->offset / CMX_OTADATA_SECTOR];
        uint32_t at = s->offset % CMX_OTADATA_SECTOR;

        if (s->erase) {
            assert_int_equal(s->len, CMX_OTADATA_SECTOR);
            assert_int_equal(at, 0);
            memset(r, 0xff, CMX_OTADATA_RECORD_LEN);
            continue;
        }
        assert_true(at + s->len <= CMX_OTADATA_RECORD_LEN);
        for (uint32_t k = 0; k < s->len; k++) {
            assert_int_equal(s->data[k] & ~r[at + k], 0);
            r[at + k] &= s->data[k];
        }
    }
}

static int boot_first(struct cmx_otadata *d, unsigned slots, bool factory, bool *initial)
{
    struct cmx_boot b;

    cmx_boot_decide(d, slots, factory, &b);
    execute(d, &b.plan);
    *initial = b.initial;
    return b.first;
}

static void test_empty(void **state)
{
    struct cmx_otadata d;
    struct cmx_otadata_plan plan;
    bool initial;

    (void)state;
    memset(&d, 0xff, sizeof d);
    assert_int_equal(cmx_otadata_active(&d), -1);
    assert_int_equal(boot_first(&d, 2, false, &initial), 0);
    assert_true(initial);
    assert_int_equal(boot_first(&d, 2, true, &initial), CMX_OTA_FACTORY);
    assert_false(initial);
    cmx_otadata_plan_initial(0, &plan);
    execute(&d, &plan);
    assert_int_equal(cmx_otadata_active(&d), 0);
    assert_int_equal(cmx_otadata_state(&d, 0), CMX_OTA_VALID);
    assert_int_equal(boot_first(&d, 2, false, &initial), 0);
    assert_false(initial);
    assert_int_equal(cmx_otadata_plan_rollback(&d, "", &plan), CMX_OK);
    memset(&d, 0, sizeof d); /* flash full of zeros has no valid record */
    assert_int_equal(cmx_otadata_active(&d), -1);
    assert_int_equal(cmx_otadata_plan_confirm(&d, &plan), CMX_ENOENT);
    assert_int_equal(cmx_otadata_plan_rollback(&d, "", &plan), CMX_ENOENT);
}

/* Checks that the choice of the slot is the same as ESP-IDF's: higher sequence number, CRC, state. */
static void test_choice(void **state)
{
    struct cmx_otadata d;
    bool initial;

    (void)state;
    set(&d, 0, 5, CMX_OTA_VALID);
    set(&d, 1, 6, CMX_OTA_VALID);
    assert_int_equal(boot_first(&d, 2, true, &initial), 1);
    d.record[1][28] ^= 1;
    assert_int_equal(boot_first(&d, 2, true, &initial), 0);
    set(&d, 1, 6, CMX_OTA_INVALID);
    assert_int_equal(boot_first(&d, 2, true, &initial), 0);
    assert_int_equal(cmx_otadata_failed(&d), 1);
    set(&d, 1, 6, 0xffffffffu); /* undefined state: the image need not be confirmed */
    assert_int_equal(boot_first(&d, 2, true, &initial), 1);
    assert_int_equal(cmx_otadata_failed(&d), -1);
    set(&d, 0, 7, CMX_OTA_ABORTED);
    set(&d, 1, 6, CMX_OTA_INVALID);
    assert_int_equal(boot_first(&d, 2, true, &initial), CMX_OTA_FACTORY);
    assert_int_equal(boot_first(&d, 2, false, &initial), 0);
    assert_false(initial);
    set(&d, 0, 8, CMX_OTA_VALID); /* three slots: (8 - 1) % 3 */
    assert_int_equal(boot_first(&d, 3, false, &initial), 1);
}

static void test_life(void **state)
{
    struct cmx_otadata d;
    struct cmx_otadata_plan plan;
    bool initial;
    char label[CMX_OTADATA_LABEL_LEN + 1];

    (void)state;
    set(&d, 0, 1, CMX_OTA_VALID);
    memset(d.record[1], 0xff, 32);
    cmx_otadata_plan_activate(&d, 1, 2, &plan);
    execute(&d, &plan);
    assert_int_equal(cmx_otadata_active(&d), 1);
    assert_int_equal(cmx_le32(d.record[1]), 2);
    assert_int_equal(cmx_otadata_state(&d, 1), CMX_OTA_NEW);
    assert_int_equal(boot_first(&d, 2, false, &initial), 1);
    assert_int_equal(cmx_otadata_state(&d, 1), CMX_OTA_PENDING_VERIFY);
    assert_int_equal(cmx_otadata_plan_rollback(&d, "a reason that is too long for it", &plan), CMX_OK);
    execute(&d, &plan);
    assert_int_equal(cmx_otadata_state(&d, 1), CMX_OTA_INVALID);
    cmx_otadata_label(&d, 1, label);
    assert_string_equal(label, "a reason that is too");
    assert_int_equal(boot_first(&d, 2, false, &initial), 0);
    /* The next image replaces the failed image and reuses its sequence number. */
    cmx_otadata_plan_activate(&d, 1, 2, &plan);
    execute(&d, &plan);
    cmx_otadata_label(&d, 1, label);
    assert_string_equal(label, "");
    assert_int_equal(boot_first(&d, 2, false, &initial), 1);
    assert_int_equal(cmx_otadata_plan_confirm(&d, &plan), CMX_OK);
    execute(&d, &plan);
    assert_int_equal(cmx_otadata_state(&d, 1), CMX_OTA_VALID);
    assert_int_equal(cmx_otadata_plan_confirm(&d, &plan), CMX_OK);
    assert_int_equal(plan.n, 0);
    cmx_otadata_plan_activate(&d, 0, 2, &plan);
    execute(&d, &plan);
    assert_int_equal(cmx_le32(d.record[0]), 3);
    assert_int_equal(boot_first(&d, 2, false, &initial), 0);
    assert_int_equal(boot_first(&d, 2, false, &initial), 1); /* the image restarted before it was confirmed */
    assert_int_equal(cmx_otadata_state(&d, 0), CMX_OTA_ABORTED);
}

static void test_release(void **state)
{
    struct cmx_otadata d;
    struct cmx_otadata_plan plan;

    (void)state;
    set(&d, 0, 1, CMX_OTA_VALID);
    set(&d, 1, 2, CMX_OTA_NEW);
    cmx_otadata_plan_release(&d, 1, 2, &plan);
    assert_int_equal(plan.n, 1);
    execute(&d, &plan);
    assert_int_equal(cmx_otadata_active(&d), 0);
    cmx_otadata_plan_release(&d, 1, 2, &plan);
    assert_int_equal(plan.n, 0);
}

static void test_candidates(void **state)
{
    static const struct {
        int first;
        unsigned slots;
        bool factory;
        int order[5];
        unsigned n;
    } t[] = {
        {1, 2, false, {1, 0}, 2},     {0, 2, false, {0, 1}, 2},  {1, 2, true, {1, 0, -1}, 3},
        {-1, 2, true, {-1, 0, 1}, 3}, {-1, 2, false, {0, 1}, 2}, {1, 4, true, {1, 0, -1, 2, 3}, 5},
    };
    int c;

    (void)state;
    for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
        for (unsigned k = 0; k < t[i].n; k++) {
            assert_true(cmx_boot_candidate(t[i].first, t[i].slots, t[i].factory, k, &c));
            assert_int_equal(c, t[i].order[k]);
        }
        assert_false(cmx_boot_candidate(t[i].first, t[i].slots, t[i].factory, t[i].n, &c));
    }
}

static void test_confirm(void **state)
{
    struct cmx_confirm_facts f = {0};

    (void)state;
    assert_int_equal(cmx_confirm_decide(0, 0, &f), CMX_CONFIRM_WAIT);
    assert_int_equal(cmx_confirm_decide(299999, 0, &f), CMX_CONFIRM_WAIT);
    assert_int_equal(cmx_confirm_decide(300000, 0, &f), CMX_CONFIRM_ROLLBACK);
    assert_string_equal(cmx_confirm_unmet(&f), "no session, no isol.");
    f.isolation_active = true;
    assert_int_equal(cmx_confirm_decide(49, 50, &f), CMX_CONFIRM_WAIT);
    assert_int_equal(cmx_confirm_decide(50, 50, &f), CMX_CONFIRM_ROLLBACK);
    assert_string_equal(cmx_confirm_unmet(&f), "no session");
    f.isolation_active = false;
    f.sessions_up = true;
    assert_int_equal(cmx_confirm_decide(50, 50, &f), CMX_CONFIRM_ROLLBACK);
    assert_string_equal(cmx_confirm_unmet(&f), "no isolation");
    f.isolation_active = true;
    assert_int_equal(cmx_confirm_decide(0, 50, &f), CMX_CONFIRM_NOW);
    assert_int_equal(cmx_confirm_decide(1000, 50, &f), CMX_CONFIRM_NOW);
    f.confirm_failed = true; /* the image stays on trial until the deadline */
    assert_int_equal(cmx_confirm_decide(49, 50, &f), CMX_CONFIRM_NOW);
    assert_int_equal(cmx_confirm_decide(50, 50, &f), CMX_CONFIRM_ROLLBACK);
    assert_string_equal(cmx_confirm_unmet(&f), "confirm failed");
    assert_true(strlen(cmx_confirm_unmet(&f)) <= CMX_OTADATA_LABEL_LEN);
}

static void entry(uint8_t *p, uint8_t type, uint8_t subtype, uint32_t offset, uint32_t size)
{
    memset(p, 0, 32);
    p[0] = 0xaa;
    p[1] = 0x50;
    p[2] = type;
    p[3] = subtype;
    cmx_put_le32(p + 4, offset);
    cmx_put_le32(p + 8, size);
}

static void test_partitions(void **state)
{
    struct cmx_partitions p = {0};
    uint8_t e[32];
    bool done;

    (void)state;
    entry(e, 1, 2, 0x9000, 0x5000);
    assert_int_equal(cmx_partition_entry(&p, e, 0x400000, &done), CMX_OK);
    entry(e, 1, 0, 0xe000, 0x2000);
    assert_int_equal(cmx_partition_entry(&p, e, 0x400000, &done), CMX_OK);
    entry(e, 0, 0x10, 0x10000, 0x140000);
    assert_int_equal(cmx_partition_entry(&p, e, 0x400000, &done), CMX_OK);
    assert_int_equal(cmx_partitions_check(&p), CMX_EFORMAT);                    /* a single slot is not usable */
    assert_int_equal(cmx_partition_entry(&p, e, 0x400000, &done), CMX_EFORMAT); /* a region occurs twice */
    entry(e, 0, 0x11, 0x150000, 0x2b1000);
    assert_int_equal(cmx_partition_entry(&p, e, 0x400000, &done), CMX_EFORMAT); /* the region is beyond the chip */
    entry(e, 0, 0x11, 0xfffff000, 0x2000);
    assert_int_equal(cmx_partition_entry(&p, e, 0x400000, &done), CMX_EFORMAT);
    entry(e, 0, 0x11, 0x150100, 0x140000);
    assert_int_equal(cmx_partition_entry(&p, e, 0x400000, &done), CMX_EFORMAT); /* the region is not aligned */
    entry(e, 0, 0x12, 0x150000, 0x140000);
    assert_int_equal(cmx_partition_entry(&p, e, 0x400000, &done), CMX_OK);
    assert_int_equal(cmx_partitions_check(&p), CMX_EFORMAT); /* the slots have a gap */
    entry(e, 0, 0x11, 0x290000, 0x140000);
    assert_int_equal(cmx_partition_entry(&p, e, 0x400000, &done), CMX_OK);
    assert_int_equal(cmx_partitions_check(&p), CMX_OK);
    assert_false(done);
    memset(e, 0xff, 32);
    assert_int_equal(cmx_partition_entry(&p, e, 0x400000, &done), CMX_OK);
    assert_true(done);
    memset(e, 0x11, 32);
    assert_int_equal(cmx_partition_entry(&p, e, 0x400000, &done), CMX_EFORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),      cmocka_unit_test(test_choice),     cmocka_unit_test(test_life),
        cmocka_unit_test(test_release),    cmocka_unit_test(test_candidates), cmocka_unit_test(test_confirm),
        cmocka_unit_test(test_partitions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
