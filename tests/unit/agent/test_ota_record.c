/* The record of an update on Linux: what each start of the agent concludes from it. Truncated or changed files are
 * refused. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/ota/ota_record.h"

static char folder_name[] = "/tmp/cmx-record.XXXXXX";
static int folder;

static struct ota_record record(ota_phase phase)
{
    return (struct ota_record){.phase = phase, .boot = "boot-1", .old_version = "1.0", .boots = 0};
}

/* Simulates one start of the agent, and checks the resolution and the phase. */
static void assert_start(struct ota_record *r, const char *boot, const char *version, ota_resolution resolution,
                         ota_phase phase)
{
    assert_int_equal(ota_record_resolve(r, boot, version, true, 5000), resolution);
    if (r->phase != phase)
        fail_msg("phase %d instead of %d", (int)r->phase, (int)phase);
}

static void test_an_agent_that_starts_again_confirms_nothing(void **state)
{
    struct ota_record r = record(OTA_INSTALLED);

    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_start(&r, "boot-1", "1.0", OTA_RESOLVED, OTA_INSTALLED);
        assert_start(&r, "boot-1", "2.0", OTA_RESOLVED, OTA_INSTALLED); /* the new version is already running */
    }
    assert_start(&r, "boot-2", "2.0", OTA_RESOLVED, OTA_TRIAL);
    assert_string_equal(r.new_version, "2.0");
    assert_int_equal(r.since_ms, 5000);
    r.since_ms = 1;
    assert_start(&r, "boot-2", "2.0", OTA_RESOLVED, OTA_TRIAL);
    assert_int_equal(r.since_ms, 1); /* an agent that crashes does not move the deadline */
}

static void test_the_old_version_after_a_boot_is_a_rollback(void **state)
{
    struct ota_record r = record(OTA_INSTALLED);

    (void)state;
    assert_start(&r, "boot-2", "1.0", OTA_RESOLVED, OTA_ROLLED_BACK);
    assert_string_equal(r.why, "the old version booted");
    assert_start(&r, "boot-3", "1.0", OTA_RESOLVED, OTA_ROLLED_BACK);
    r = record(OTA_TRIAL);
    assert_start(&r, "boot-3", "1.0", OTA_RESOLVED, OTA_ROLLED_BACK);
}

static void test_the_same_image_installed_again(void **state)
{
    struct ota_record r = record(OTA_INSTALLED);

    (void)state;
    strcpy(r.image, "aa");
    strcpy(r.last_image, "aa");
    strcpy(r.last_version, "1.0");
    assert_start(&r, "boot-1", "1.0", OTA_RESOLVED, OTA_INSTALLED);
    assert_start(&r, "boot-2", "1.0", OTA_RESOLVED, OTA_TRIAL);
    r.phase = OTA_GOING_BACK;
    assert_start(&r, "boot-3", "1.0", OTA_RESOLVED, OTA_ROLLED_BACK);
    r.phase = OTA_GOING_BACK;
    assert_start(&r, "boot-4", "2.0", OTA_RESOLVED, OTA_ROLLING_BACK);

    r = record(OTA_INSTALLED); /* the image that was installed is not last_image */
    strcpy(r.image, "bb");
    strcpy(r.last_image, "aa");
    strcpy(r.last_version, "1.0");
    assert_start(&r, "boot-2", "1.0", OTA_RESOLVED, OTA_ROLLED_BACK);
    r = record(OTA_INSTALLED); /* the last image was uploaded again while the device ran another version */
    strcpy(r.image, "aa");
    strcpy(r.last_image, "aa");
    strcpy(r.last_version, "2.0");
    assert_start(&r, "boot-2", "1.0", OTA_RESOLVED, OTA_ROLLED_BACK);
}

static void test_a_version_that_is_not_known_decides_nothing(void **state)
{
    static const ota_phase phases[] = {OTA_INSTALLING, OTA_INSTALLED, OTA_TRIAL, OTA_ROLLING_BACK, OTA_GOING_BACK};

    (void)state;
    for (size_t i = 0; i < sizeof phases / sizeof phases[0]; i++) {
        struct ota_record r = record(phases[i]);

        assert_start(&r, "boot-2", "", OTA_UNDECIDED, phases[i]);
        assert_string_equal(r.boot, "boot-1"); /* not boot-2, so the next call can still decide about this boot */
    }
}

static void test_an_install_that_was_cut(void **state)
{
    struct ota_record r = record(OTA_INSTALLING);

    (void)state;
    assert_start(&r, "boot-1", "1.0", OTA_INTERRUPTED_INSTALL, OTA_INSTALLING);
    assert_start(&r, "boot-2", "1.0", OTA_INTERRUPTED_INSTALL, OTA_NONE);
    r = record(OTA_INSTALLING); /* the hook had switched the slots before power was cut */
    assert_start(&r, "boot-2", "2.0", OTA_RESOLVED, OTA_TRIAL);
}

static void test_without_a_version_hook(void **state)
{
    struct ota_record r = record(OTA_INSTALLED);

    (void)state;
    r.old_version[0] = '\0';
    assert_int_equal(ota_record_resolve(&r, "boot-1", "", false, 0), OTA_RESOLVED);
    assert_int_equal(r.phase, OTA_INSTALLED);
    assert_int_equal(ota_record_resolve(&r, "boot-2", "", false, 0), OTA_RESOLVED);
    assert_int_equal(r.phase, OTA_TRIAL);
    r.phase = OTA_GOING_BACK;
    assert_int_equal(ota_record_resolve(&r, "boot-3", "", false, 0), OTA_RESOLVED);
    assert_int_equal(r.phase, OTA_ROLLED_BACK);
    r.phase = OTA_INSTALLING; /* the installation may be incomplete: nothing is confirmed */
    assert_int_equal(ota_record_resolve(&r, "boot-4", "", false, 0), OTA_INTERRUPTED_INSTALL);
    assert_int_equal(r.phase, OTA_NONE);
}

static void test_a_trial_of_too_many_boots(void **state)
{
    struct ota_record r = record(OTA_INSTALLED);
    char boot[16];

    (void)state;
    for (int i = 0; i < OTA_TRIAL_BOOTS_MAX; i++) {
        snprintf(boot, sizeof boot, "boot-%d", 2 + i);
        assert_start(&r, boot, "2.0", OTA_RESOLVED, OTA_TRIAL);
    }
    assert_start(&r, "boot-9", "2.0", OTA_RESOLVED, OTA_ROLLING_BACK);
    assert_string_equal(r.why, "restarted too often");
}

static void test_a_rollback_is_recorded_once_it_is_one(void **state)
{
    struct ota_record r = record(OTA_ROLLING_BACK);
    char boot[16];

    (void)state;
    strcpy(r.why, "no session");
    assert_start(&r, "boot-1", "2.0", OTA_RESOLVED, OTA_ROLLING_BACK); /* the rollback hook has not succeeded yet */
    r.phase = OTA_GOING_BACK;
    /* The rollback hook has succeeded, but the machine has not restarted yet. */
    assert_start(&r, "boot-1", "2.0", OTA_RESOLVED, OTA_GOING_BACK);
    assert_start(&r, "boot-2", "1.0", OTA_RESOLVED, OTA_ROLLED_BACK);
    assert_string_equal(r.why, "no session");

    r = record(OTA_GOING_BACK); /* if the new system boots again, the rollback is repeated a limited number of times */
    for (int i = 0; i < OTA_ROLLBACK_BOOTS_MAX - 1; i++) {
        snprintf(boot, sizeof boot, "boot-%d", 2 + i);
        assert_start(&r, boot, "2.0", OTA_RESOLVED, OTA_ROLLING_BACK);
        r.phase = OTA_GOING_BACK;
    }
    assert_start(&r, "boot-8", "2.0", OTA_RESOLVED, OTA_TRIAL);
    assert_true(r.stuck);
    for (int i = 0; i < 2000; i++) {
        snprintf(boot, sizeof boot, "boot-1%d", i);
        assert_start(&r, boot, "2.0", OTA_RESOLVED, OTA_TRIAL);
    }
    assert_int_equal(ota_record_write(folder, "r", &r), CMX_OK);
    assert_int_equal(ota_record_read(folder, "r", &r), CMX_OK);
}

/* ---- the file ---- */

static void put(const char *text, size_t len)
{
    int fd = openat(folder, "r", O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_int_equal(write(fd, text, len), len);
    close(fd);
}

static void test_written_is_read_back(void **state)
{
    static struct ota_record r, back; /* static: padding is zero, so that memcmp works */
    struct stat st;

    (void)state;
    r.phase = OTA_TRIAL;
    strcpy(r.boot, "0f2d-1");
    strcpy(r.old_version, "1.0 (build 7)");
    strcpy(r.new_version, "2.0");
    r.boots = 2;
    r.stuck = true;
    r.since_ms = 123456789012;
    strcpy(r.why, "no session");
    assert_int_equal(ota_record_read(folder, "none", &back), CMX_ENOENT);
    assert_int_equal(back.phase, OTA_NONE);
    assert_int_equal(ota_record_write(folder, "r", &r), CMX_OK);
    assert_int_equal(ota_record_read(folder, "r", &back), CMX_OK);
    assert_memory_equal(&back, &r, sizeof r);
    assert_int_equal(faccessat(folder, "r.new", F_OK, 0), -1);
    assert_int_equal(mknodat(folder, "r.new", S_IFREG | 0644, 0), 0); /* left by a process that was killed */
    memset(&r, 0, sizeof r);
    assert_int_equal(ota_record_write(folder, "r", &r), CMX_OK);
    assert_int_equal(ota_record_read(folder, "r", &back), CMX_OK);
    assert_memory_equal(&back, &r, sizeof r);
    assert_int_equal(fstatat(folder, "r", &st, AT_SYMLINK_NOFOLLOW), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
}

static void test_a_damaged_record_is_none(void **state)
{
    static const char *const bad[] = {"phase trial\n",
                                      "phase nonsense\nend\n",
                                      "end\nphase trial\nend\n",
                                      "phase\nend\n",
                                      "colour red\nend\n",
                                      "boots -1\nend\n",
                                      "boots 99999999\nend\n",
                                      "trial\n",
                                      "rolled-back no session\n",
                                      "",
                                      "\n"};
    struct ota_record r = {.phase = OTA_TRIAL, .boot = "0f2d-1", .old_version = "1.0", .boots = 1}, back;
    char text[600];
    ssize_t n;
    int fd;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        put(bad[i], strlen(bad[i]));
        if (ota_record_read(folder, "r", &back) != CMX_EFORMAT || back.phase != OTA_NONE)
            fail_msg("accepted: %s", bad[i]);
    }
    assert_int_equal(ota_record_write(folder, "r", &r), CMX_OK);
    fd = openat(folder, "r", O_RDONLY);
    n = read(fd, text, sizeof text);
    close(fd);
    for (ssize_t cut = 1; cut < n - 1; cut++) { /* not n - 1: a record without the newline after "end" is valid */
        put(text, (size_t)cut);
        if (ota_record_read(folder, "r", &back) != CMX_EFORMAT)
            fail_msg("cut after %zd bytes: accepted", cut);
    }
    text[5] = '\0';
    put(text, (size_t)n);
    assert_int_equal(ota_record_read(folder, "r", &back), CMX_EFORMAT);
    memset(text, 'x', sizeof text);
    put(text, sizeof text);
    assert_int_equal(ota_record_read(folder, "r", &back), CMX_EFORMAT);
}

static int setup(void **state)
{
    (void)state;
    folder = mkdtemp(folder_name) ? open(folder_name, O_RDONLY | O_DIRECTORY) : -1;
    return folder < 0;
}

static int teardown(void **state)
{
    (void)state;
    unlinkat(folder, "r", 0);
    close(folder);
    return rmdir(folder_name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_agent_that_starts_again_confirms_nothing),
        cmocka_unit_test(test_the_old_version_after_a_boot_is_a_rollback),
        cmocka_unit_test(test_the_same_image_installed_again),
        cmocka_unit_test(test_a_version_that_is_not_known_decides_nothing),
        cmocka_unit_test(test_an_install_that_was_cut),
        cmocka_unit_test(test_without_a_version_hook),
        cmocka_unit_test(test_a_trial_of_too_many_boots),
        cmocka_unit_test(test_a_rollback_is_recorded_once_it_is_one),
        cmocka_unit_test(test_written_is_read_back),
        cmocka_unit_test(test_a_damaged_record_is_none),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
