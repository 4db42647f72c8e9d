/* The update's file and record across starts of the agent: every boot of a system on trial is counted, an upload that
 * was cut is removed, and a disk that takes no record does not stop the agent. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/ota/ota_spool.h"
#include "cmxsafe/port/port.h"
#include "port/linux/child.h"

static char folder[] = "/tmp/cmx-spool.XXXXXX";
static char path[64];
static struct runner runner;
static struct ota_spool spool;

static void write_record(const struct ota_record *r)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY);

    assert_int_equal(ota_record_write(fd, "update.state", r), CMX_OK);
    close(fd);
}

static struct ota_record read_record(void)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY);
    struct ota_record r;

    assert_int_equal(ota_record_read(fd, "update.state", &r), CMX_OK);
    close(fd);
    return r;
}

static cmx_err open_spool(const char *boot, const char *version)
{
    char command[64];
    const struct runner_command commands[RUNNER_HOOKS] = {[RUNNER_VERSION] = {command, 60000}};
    const struct ota_spool_config config = {
        .path = path, .max_len = 1000000, .restarts = true, .has_version = true, .runner = &runner};
    struct cmx_why why = {""};

    snprintf(command, sizeof command, "echo %s", version);
    setenv("CMXSAFED_BOOT_ID", boot, 1);
    assert_int_equal(ota_runner_start(&runner, commands), CMX_OK);
    return ota_spool_open(&spool, &config, &why);
}

static struct cmx_slots_status status_of_spool(void)
{
    const struct cmx_slots slots = ota_spool_slots(&spool);
    struct cmx_slots_status status;

    assert_int_equal(slots.status(slots.arg, &status), CMX_OK);
    return status;
}

/* Simulates a start of the agent in this boot of the machine. */
static struct cmx_slots_status start(const char *boot, const char *version)
{
    assert_int_equal(open_spool(boot, version), CMX_OK);
    return status_of_spool();
}

static void end(void)
{
    ota_spool_close(&spool);
    ota_runner_stop(&runner);
}

static void test_each_boot_of_a_trial_is_counted(void **state)
{
    const struct ota_record installed = {.phase = OTA_INSTALLED, .boot = "boot-0", .old_version = "1.0"};
    char boot[16];

    (void)state;
    write_record(&installed);
    for (unsigned i = 1; i <= OTA_TRIAL_BOOTS_MAX; i++) {
        snprintf(boot, sizeof boot, "boot-%u", i);
        for (int again = 0; again < 2; again++) { /* the second start in the same boot counts nothing */
            assert_true(start(boot, "2.0").pending);
            end();
            assert_int_equal(read_record().boots, i);
            assert_string_equal(read_record().boot, boot);
        }
    }
    assert_int_equal(start("boot-9", "2.0").trial_ms, UINT32_MAX); /* past its deadline: it is rolled back */
    end();
    assert_int_equal(read_record().phase, OTA_ROLLING_BACK);
    assert_string_equal(read_record().why, "restarted too often");
}

static void test_a_disk_that_takes_no_record(void **state)
{
    const struct ota_record installed = {.phase = OTA_INSTALLED, .boot = "boot-0", .old_version = "1.0"};
    struct rlimit limit, none;
    cmx_err err;

    (void)state;
    write_record(&installed);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    none = (struct rlimit){0, limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    err = open_spool("boot-1", "2.0");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    signal(SIGXFSZ, SIG_DFL);
    assert_int_equal(err, CMX_OK);
    assert_true(status_of_spool().pending);
    assert_string_equal(status_of_spool().problem, "update.state cannot be written: File too large");
    end();
    assert_int_equal(read_record().phase, OTA_INSTALLED);
}

static off_t spool_size(void)
{
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    return st.st_size;
}

/* A process that is killed while it stores an upload leaves a part of the upload in the file, which the next start
 * empties. While a hook reads the file, nothing empties or overwrites it: otherwise the hook would install a part of
 * the update, or other bytes. */
static void test_an_upload_that_was_cut(void **state)
{
    const char part[] = "a part of an update";
    struct cmx_slots slots;
    int ready[2], hook;
    char byte;
    pid_t pid;

    (void)state;
    assert_int_equal(pipe(ready), 0);
    pid = cmx_child_fork();
    if (pid == 0) {
        start("boot-1", "1.0");
        slots = ota_spool_slots(&spool);
        if (slots.begin(slots.arg) == CMX_OK && slots.write(slots.arg, 0, part, sizeof part) == CMX_OK &&
            write(ready[1], "r", 1) == 1)
            pause();
        _exit(1);
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(spool_size(), sizeof part);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(cmx_child_wait(pid), 128 + SIGKILL);
    assert_int_equal(spool_size(), sizeof part);
    start("boot-1", "1.0");
    assert_int_equal(spool_size(), 0);
    assert_int_equal(write(spool.fd, part, sizeof part), sizeof part);
    hook = dup(spool.fd); /* what a hook gets as its standard input */
    end();
    start("boot-1", "1.0");
    slots = ota_spool_slots(&spool);
    assert_int_equal(slots.begin(slots.arg), CMX_EIO);
    ota_spool_empty(&spool);
    assert_int_equal(spool_size(), sizeof part);
    close(hook);
    assert_int_equal(slots.begin(slots.arg), CMX_OK);
    assert_int_equal(spool_size(), 0);
    end();
    close(ready[0]);
}

static int setup(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/update", folder);
    return 0;
}

static int teardown(void **state)
{
    static const char *const names[] = {"update", "update.state"};
    char file[96];

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(file, sizeof file, "%s/%s", folder, names[i]);
        unlink(file);
    }
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_boot_of_a_trial_is_counted),
        cmocka_unit_test(test_a_disk_that_takes_no_record),
        cmocka_unit_test(test_an_upload_that_was_cut),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
