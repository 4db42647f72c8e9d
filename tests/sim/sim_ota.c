/* Complete updates on simulated flash. A power cut interrupts each flash operation of the update, first boot,
 * confirmation and rollback, in five ways. Other tests make an operation fail or flip a bit. After each fault the board
 * must boot a complete image, either the old or the new one, and accept a further update. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "board/idf/slots_flash.h"
#include "cmxsafe/core/log.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/ota/upload.h"
#include "tests/sim/flash_sim.h"
#include "tests/support/ota_image.h"

enum { OTADATA_AT = 0xe000, SLOT_0 = 0x10000, SLOT_SIZE = 0x8000, FLASH_SIZE = 0x20000, PAYLOAD = 9000 };

static EVP_PKEY *key;
static struct test_image v1, v2, v3;
static uint8_t *fresh; /* flash of a board that runs v1 from ota_0, confirmed */

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

static struct cmx_image_policy policy(void)
{
    struct cmx_image_policy p = {.chip_id = TEST_CHIP};

    test_key_public(key, p.keys.key[0]);
    p.keys.n = 1;
    return p;
}

/* Boots the board and returns the version that runs, or NULL if no image boots. */
static const char *boot(struct cmx_slots_flash *s, struct cmx_boot_report *report)
{
    if (cmx_slots_flash_open(s) != CMX_OK || cmx_slots_flash_boot(s, TEST_CHIP, report) != CMX_OK)
        return NULL;
    return report->info.version;
}

static cmx_err update(struct cmx_slots_flash *s, const struct test_image *i)
{
    struct cmx_image_policy p = policy();
    struct cmx_upload *u = malloc(sizeof *u);
    struct cmx_slots door;
    cmx_err err;

    cmx_slots_flash_interface(s, &door);
    err = cmx_upload_begin(u, &door, &p);
    for (size_t at = 0; at < i->len && !err; at += 700)
        err = cmx_upload_data(u, i->data + at, i->len - at < 700 ? i->len - at : 700);
    if (!err)
        err = cmx_upload_verify(u);
    if (!err)
        err = cmx_upload_activate(u);
    cmx_upload_abort(u);
    free(u);
    return err;
}

static cmx_err confirm(struct cmx_slots_flash *s)
{
    struct cmx_slots door;

    cmx_slots_flash_interface(s, &door);
    return door.confirm(door.arg, NULL);
}

static cmx_err roll_back(struct cmx_slots_flash *s)
{
    struct cmx_slots door;

    cmx_slots_flash_interface(s, &door);
    return door.rollback(door.arg, "no session", NULL);
}

/* ---- scenarios: each begins on a board that runs v1, and returns early after a power cut ---- */

static void life_confirm(void)
{
    struct cmx_slots_flash s;
    struct cmx_boot_report r;

    if (boot(&s, &r) && update(&s, &v2) == CMX_OK && boot(&s, &r) && confirm(&s) == CMX_OK && boot(&s, &r))
        return;
}

static void life_rollback(void)
{
    struct cmx_slots_flash s;
    struct cmx_boot_report r;

    if (boot(&s, &r) && update(&s, &v2) == CMX_OK && boot(&s, &r) && roll_back(&s) == CMX_OK && boot(&s, &r))
        return;
}

static void life_crash(void)
{
    struct cmx_slots_flash s;
    struct cmx_boot_report r;

    if (boot(&s, &r) && update(&s, &v2) == CMX_OK && boot(&s, &r) &&
        boot(&s, &r)) /* restarts before the image is confirmed */
        return;
}

/* Rolls back, then updates again while one otadata record still names the failed image. */
static void life_after_rollback(void)
{
    struct cmx_slots_flash s;
    struct cmx_boot_report r;

    life_rollback();
    if (boot(&s, &r) && update(&s, &v2) == CMX_OK && boot(&s, &r) && confirm(&s) == CMX_OK && boot(&s, &r))
        return;
}

static void load(const uint8_t *content)
{
    memcpy(flash_sim.mem, content, flash_sim.size);
    flash_sim_power_on();
}

/* Checks that the board boots v1 or v2 three times in a row, and then accepts v3. */
static void check_recovers(const char *what, unsigned long n)
{
    struct cmx_slots_flash s;
    struct cmx_boot_report r;
    const char *version;

    flash_sim_power_on();
    for (int i = 0; i < 3; i++) {
        version = boot(&s, &r);
        if (!version || (strcmp(version, "1") != 0 && strcmp(version, "2") != 0))
            fail_msg("%s %lu: boot %d gives %s", what, n, i, version ? version : "nothing");
    }
    if (confirm(&s) != CMX_OK || update(&s, &v3) != CMX_OK)
        fail_msg("%s %lu: no further update", what, n);
    version = boot(&s, &r);
    if (!version || strcmp(version, "3") != 0 || !r.pending)
        fail_msg("%s %lu: after a further update: %s", what, n, version ? version : "nothing");
    assert_int_equal(confirm(&s), CMX_OK);
    version = boot(&s, &r);
    if (!version || strcmp(version, "3") != 0 || r.pending)
        fail_msg("%s %lu: after confirmation: %s", what, n, version ? version : "nothing");
    if (flash_sim.violations)
        fail_msg("%s %lu: a write without an erase", what, n);
}

static unsigned long points;

static void cut_everywhere(void (*life)(void), const char *what)
{
    unsigned long total, tried = 0;

    load(fresh);
    life();
    total = flash_sim.ops;
    assert_true(total > 10);
    for (unsigned long n = 1; n <= total; n++) {
        for (int tear = 0; tear < TEAR_KINDS; tear++) {
            load(fresh);
            flash_sim.cut_at = n;
            flash_sim.tear = (enum flash_tear)tear;
            life();
            assert_true(flash_sim.dead);
            check_recovers(what, n);
            tried++;
        }
    }
    points += tried;
    print_message("power cut: %-22s %lu operations, %lu points, all bootable\n", what, total, tried);
}

static void test_power_cut(void **state)
{
    (void)state;
    points = 0;
    cut_everywhere(life_confirm, "update, confirm");
    cut_everywhere(life_rollback, "update, rollback");
    cut_everywhere(life_crash, "update, crash");
    cut_everywhere(life_after_rollback, "update after rollback");
    print_message("power-cut points that leave a bootable board: %lu of %lu\n", points, points);
}

/* Power is cut a second time while the board recovers from the first cut. */
static void test_power_cut_twice(void **state)
{
    unsigned long total;
    uint8_t *torn = malloc(FLASH_SIZE);

    (void)state;
    load(fresh);
    life_confirm();
    total = flash_sim.ops;
    for (unsigned long n = 1; n <= total; n++) {
        load(fresh);
        flash_sim.cut_at = n;
        flash_sim.tear = TEAR_RANDOM_BITS;
        life_confirm();
        memcpy(torn, flash_sim.mem, FLASH_SIZE);
        for (unsigned long m = 1; m <= 9; m += 2) {
            load(torn);
            flash_sim.cut_at = m;
            flash_sim.tear = (enum flash_tear)(m % TEAR_KINDS);
            life_confirm();
            check_recovers("second cut", n);
        }
    }
    free(torn);
}

static void test_operations_that_fail(void **state)
{
    unsigned long total;

    (void)state;
    load(fresh);
    life_confirm();
    total = flash_sim.ops;
    for (unsigned long n = 1; n <= total; n++) {
        load(fresh);
        flash_sim.fail_at = n;
        life_confirm();
        check_recovers("failing operation", n);
    }
}

/* A flash operation flips a bit and reports success: the update is refused, or the image that boots is complete. */
static void test_bits_that_flip(void **state)
{
    unsigned long total;

    (void)state;
    load(fresh);
    life_confirm();
    total = flash_sim.ops;
    for (unsigned long n = 1; n <= total; n++) {
        for (int k = 0; k < 8; k++) {
            load(fresh);
            flash_sim.flip_at = n;
            life_confirm();
            flash_sim.violations = 0; /* not a defect: a bit of an erased sector may have flipped */
            check_recovers("flipped bit", n);
        }
    }
}

static void test_outcomes_without_trouble(void **state)
{
    struct cmx_slots_flash s;
    struct cmx_boot_report r;
    struct cmx_slots door;
    struct cmx_slots_status status;

    (void)state;
    load(fresh);
    life_confirm();
    assert_string_equal(boot(&s, &r), "2");
    assert_int_equal(s.running, 1);
    assert_false(r.pending);
    load(fresh);
    life_rollback();
    assert_string_equal(boot(&s, &r), "1");
    cmx_slots_flash_interface(&s, &door);
    assert_int_equal(door.status(door.arg, &status), CMX_OK);
    assert_true(status.rolled_back);
    assert_string_equal(status.rolled_back_version, "2");
    assert_string_equal(status.rolled_back_why, "no session");
    assert_string_equal(status.running, "ota_0");
    assert_string_equal(status.target, "ota_1");
    load(fresh);
    life_crash();
    assert_string_equal(boot(&s, &r), "1");
    assert_int_equal(door.status(door.arg, &status), CMX_OK);
    assert_string_equal(status.rolled_back_why, "restarted too early");
    life_after_rollback();
    assert_string_equal(boot(&s, &r), "2");
}

static void test_refusals(void **state)
{
    struct cmx_slots_flash s;
    struct cmx_boot_report r;
    struct test_image bad = test_image_make("2", PAYLOAD, TEST_CHIP, 0);
    struct test_image other = test_image_make("2", PAYLOAD, 9, 0);

    (void)state;
    load(fresh);
    assert_string_equal(boot(&s, &r), "1");
    flash_sim.ops = 0;
    test_image_sign(&other, key);
    assert_int_equal(update(&s, &other), CMX_EPERM);
    assert_int_equal(flash_sim.ops, 0); /* the header was refused before flash was written */
    assert_int_equal(update(&s, &bad), CMX_ENOKEY);
    assert_true(flash_sim.ops > 0);
    /* An image that was refused after its last byte cannot boot, even if otadata is lost. */
    memset(flash_sim.mem + OTADATA_AT, 0xff, 0x2000);
    memset(flash_sim.mem + SLOT_0, 0, 4096);
    assert_null(boot(&s, &r));
    load(fresh);
    assert_string_equal(boot(&s, &r), "1");
    assert_int_equal(update(&s, &v2), CMX_OK);
    assert_int_equal(update(&s, &v3), CMX_OK); /* replaces the update before the restart */
    assert_string_equal(boot(&s, &r), "3");
    assert_int_equal(update(&s, &v2), CMX_EBUSY); /* the running image is not confirmed */
    assert_int_equal(confirm(&s), CMX_OK);
    assert_int_equal(roll_back(&s), CMX_ENOENT); /* it is too late for a rollback */
    assert_int_equal(update(&s, &v2), CMX_OK);
    test_image_free(&bad);
    test_image_free(&other);
}

/* After an update the slot contains the file's bytes and then only 0xff, as the attestation of the flash expects. */
static void test_slot_content(void **state)
{
    struct cmx_slots_flash s;
    struct cmx_boot_report r;

    (void)state;
    load(fresh);
    memset(flash_sim.mem + SLOT_0 + SLOT_SIZE, 0x5a, SLOT_SIZE); /* as if from a longer, older image */
    assert_string_equal(boot(&s, &r), "1");
    assert_int_equal(update(&s, &v2), CMX_OK);
    assert_memory_equal(flash_sim.mem + SLOT_0 + SLOT_SIZE, v2.data, v2.len);
    for (size_t i = v2.len; i < SLOT_SIZE; i++)
        assert_int_equal(flash_sim.mem[SLOT_0 + SLOT_SIZE + i], 0xff);
}

static int setup(void **state)
{
    struct cmx_slots_flash s;
    struct cmx_boot_report r;

    (void)state;
    cmx_log_set_level(CMX_LOG_ERROR);
    key = test_key();
    v1 = test_image_make("1", PAYLOAD, TEST_CHIP, 0);
    v2 = test_image_make("2", PAYLOAD + 2000, TEST_CHIP, 0);
    v3 = test_image_make("3", PAYLOAD - 1000, TEST_CHIP, 0);
    test_image_sign(&v1, key);
    test_image_sign(&v2, key);
    test_image_sign(&v3, key);
    flash_sim_init(FLASH_SIZE);
    entry(flash_sim.mem + 0x8000, 1, 2, 0x9000, 0x5000);
    entry(flash_sim.mem + 0x8020, 1, 0, OTADATA_AT, 0x2000);
    entry(flash_sim.mem + 0x8040, 0, 0x10, SLOT_0, SLOT_SIZE);
    entry(flash_sim.mem + 0x8060, 0, 0x11, SLOT_0 + SLOT_SIZE, SLOT_SIZE);
    memcpy(flash_sim.mem + SLOT_0, v1.data, v1.len);
    if (!boot(&s, &r) || s.running != 0 || r.pending || !boot(&s, &r))
        return -1;
    fresh = malloc(FLASH_SIZE);
    memcpy(fresh, flash_sim.mem, FLASH_SIZE);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    EVP_PKEY_free(key);
    test_image_free(&v1);
    test_image_free(&v2);
    test_image_free(&v3);
    free(fresh);
    free(flash_sim.mem);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_outcomes_without_trouble),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_slot_content),
        cmocka_unit_test(test_power_cut),
        cmocka_unit_test(test_power_cut_twice),
        cmocka_unit_test(test_operations_that_fail),
        cmocka_unit_test(test_bits_that_flip),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
