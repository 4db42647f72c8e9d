/* The update's file and record across starts of the agent: every boot of a system on trial is counted, an upload that
 * was cut is removed, and the agent continues if the record cannot be written to the disk. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
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

/* In place of the C library's function: locks of flock and of fcntl exclude each other, as on NFS. */
int flock(int fd, int operation)
{
    struct flock whole = {.l_type = operation & LOCK_EX ? F_WRLCK : operation & LOCK_SH ? F_RDLCK : F_UNLCK};

    return fcntl(fd, F_OFD_SETLK, &whole);
}

static void write_record(const struct ota_record *r)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY);

    assert_int_equal(ota_record_write(fd, "update.state", r), CMX_OK);
    close(fd);
}

static void unlink_record(void)
{
    char file[96];

    snprintf(file, sizeof file, "%s/update.state", folder);
    assert_int_equal(unlink(file), 0);
}

static struct ota_record read_record(void)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY);
    struct ota_record r;

    assert_int_equal(ota_record_read(fd, "update.state", &r), CMX_OK);
    close(fd);
    return r;
}

static const char *install = "cat >/dev/null"; /* the install hook */
static bool restarts = true;

static cmx_err open_spool(const char *boot, const char *version)
{
    char command[64];
    const struct runner_command commands[RUNNER_HOOKS] = {
        [RUNNER_VERSION] = {command, 60000}, [RUNNER_INSTALL] = {install, 60000}};
    const struct ota_spool_config config = {
        .path = path, .max_len = 1000000, .restarts = restarts, .has_version = true, .runner = &runner};
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
    struct cmx_slots slots;
    char boot[16];

    (void)state;
    write_record(&installed);
    for (unsigned i = 1; i <= OTA_TRIAL_BOOTS_MAX; i++) {
        snprintf(boot, sizeof boot, "boot-%u", i);
        for (int again = 0; again < 2; again++) { /* the second start in the same boot counts nothing */
            assert_true(start(boot, "2.0").pending);
            slots = ota_spool_slots(&spool);
            assert_int_equal(slots.begin(slots.arg), CMX_EBUSY);
            end();
            assert_int_equal(read_record().boots, i);
            assert_string_equal(read_record().boot, boot);
        }
    }
    assert_int_equal(start("boot-9", "2.0").trial_ms, UINT32_MAX); /* the deadline has passed: rollback */
    end();
    assert_int_equal(read_record().phase, OTA_ROLLING_BACK);
    assert_string_equal(read_record().why, "restarted too often");
}

/* A trial that, by the clock, began in the future does not end. The clock may have started again without a reboot, for
 * example in another container. */
static void test_a_trial_that_began_in_the_future(void **state)
{
    struct ota_record trial = {.phase = OTA_TRIAL, .boot = "boot-1", .old_version = "1.0", .boots = 1};

    (void)state;
    trial.since_ms = cmx_port_now_ms() + 1000000;
    write_record(&trial);
    assert_int_equal(start("boot-1", "2.0").trial_ms, 0);
    end();
    trial.since_ms = 0;
    write_record(&trial);
    assert_true(start("boot-1", "2.0").trial_ms > 0);
    end();
    unlink_record();
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

/* A confirmation that cannot be stored is tried again. */
static void test_a_confirmation_that_is_not_stored(void **state)
{
    const struct ota_record trial = {.phase = OTA_TRIAL, .boot = "boot-1", .old_version = "1.0", .boots = 1};
    struct cmx_slots slots;
    struct cmx_why why = {""};
    char record[96];

    (void)state;
    snprintf(record, sizeof record, "%s/update.state", folder);
    write_record(&trial);
    assert_true(start("boot-1", "2.0").pending);
    slots = ota_spool_slots(&spool);
    unlink_record();
    assert_int_equal(mkdir(record, 0700), 0);
    assert_int_equal(slots.confirm(slots.arg, &why), CMX_EIO);
    assert_true(status_of_spool().pending);
    assert_int_equal(rmdir(record), 0);
    assert_int_equal(slots.confirm(slots.arg, &why), CMX_OK);
    assert_false(status_of_spool().pending);
    end();
    assert_int_equal(read_record().phase, OTA_NONE);
    unlink_record();
}

static off_t spool_size(void)
{
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    return st.st_size;
}

/* A process that is killed while it stores an upload leaves a part of the upload in the file. */
static void test_an_upload_that_was_cut(void **state)
{
    const char part[] = "a part of an update";
    struct cmx_slots slots;
    int ready[2];
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
    end();
    close(ready[0]);
}

static void update_write(const char *text)
{
    const struct cmx_slots slots = ota_spool_slots(&spool);

    assert_int_equal(slots.begin(slots.arg), CMX_OK);
    assert_int_equal(slots.write(slots.arg, 0, text, strlen(text)), CMX_OK);
}

static cmx_err update_install(const char *text, struct cmx_why *why)
{
    const struct cmx_slots slots = ota_spool_slots(&spool);
    const struct cmx_image image = {.signed_len = (uint32_t)strlen(text)};

    cmx_why_clear(why);
    update_write(text);
    return slots.activate(slots.arg, &image, why);
}

/* The hook runs only after the record is written, and gets the signed bytes. Afterwards the file is empty. */
static void test_what_an_install_hook_gets(void **state)
{
    const struct cmx_image image = {.signed_len = 6};
    char command[256], record[96];
    struct cmx_slots slots;
    struct cmx_why why;

    (void)state;
    snprintf(record, sizeof record, "%s/update.state", folder);
    snprintf(command, sizeof command, "[ -s %s ] && [ \"$(cat)\" = update ]", record);
    install = command;
    start("boot-1", "1.0");
    slots = ota_spool_slots(&spool);
    update_write("update and trailer");
    assert_int_equal(slots.activate(slots.arg, &image, &why), CMX_OK);
    assert_int_equal(spool_size(), 0);
    assert_true(status_of_spool().activated);
    assert_int_equal(read_record().phase, OTA_INSTALLED);
    end();
    unlink_record();
    snprintf(command, sizeof command, "rmdir %s", record);
    start("boot-1", "1.0");
    assert_int_equal(mkdir(record, 0700), 0); /* the record cannot be written */
    assert_int_equal(update_install("update", &why), CMX_EIO);
    assert_int_equal(rmdir(record), 0); /* the hook did not run */
    assert_false(status_of_spool().activated);
    end();
}

/* Installs an update with this hook, and then boots version 2.0. Returns the status after the boot. */
static struct cmx_slots_status install_and_boot(const char *hook, cmx_err expected)
{
    struct cmx_why why;

    install = hook;
    start("boot-1", "1.0");
    assert_int_equal(update_install("update", &why), expected);
    end();
    return start("boot-2", "2.0");
}

/* The agent was killed while the install hook ran. Returns what the next boot finds. */
static struct cmx_slots_status boot_after_kill(void)
{
    const struct ota_record installing = {.phase = OTA_INSTALLING, .boot = "boot-1", .old_version = "1.0"};

    write_record(&installing);
    return start("boot-2", "2.0");
}

/* An installer that was killed may have installed the new system. If the next boot runs another version, that system is
 * on trial, as after a success. An installer that reports a failure has installed nothing. */
static void test_an_install_hook_without_outcome(void **state)
{
    const struct ota_record trial = {.phase = OTA_TRIAL, .boot = "boot-1", .old_version = "1.0", .boots = 1};
    struct cmx_why why;

    (void)state;
    assert_true(install_and_boot("true", CMX_OK).pending);
    end();
    unlink_record();
    assert_true(install_and_boot("kill -9 $$", CMX_ECLOSED).pending);
    end();
    unlink_record();
    assert_false(install_and_boot("exit 3", CMX_EPERM).pending);
    end();
    unlink_record();
    start("boot-1", "1.0");
    ota_runner_stop(&runner); /* without a runner, the hook is not run */
    assert_int_equal(update_install("update", &why), CMX_EIO);
    end();
    assert_false(start("boot-2", "2.0").pending);
    end();
    unlink_record();
    restarts = false; /* an update takes effect at once: there is no trial */
    assert_false(install_and_boot("true", CMX_OK).pending);
    end();
    unlink_record();
    assert_false(install_and_boot("kill -9 $$", CMX_ECLOSED).pending);
    end();
    unlink_record();
    assert_false(boot_after_kill().pending);
    end();
    write_record(&trial); /* the trial began before the hook `restart` was removed from the configuration */
    assert_true(start("boot-1", "2.0").pending);
    end();
    restarts = true;
    unlink_record();
    assert_true(boot_after_kill().pending);
    end();
    unlink_record();
}

static pid_t pid_in_file(void)
{
    char file[96], text[16] = "";
    FILE *f;

    snprintf(file, sizeof file, "%s/reader", folder);
    f = fopen(file, "r");
    if (!f)
        return 0;
    if (!fgets(text, sizeof text, f))
        text[0] = '\0';
    fclose(f);
    unlink(file);
    return (pid_t)strtol(text, NULL, 10);
}

/* A process of the hook outlives both runners (ota_runner.h), for example because they were killed. It must not get the
 * bytes of another update, nor an early end of the file. */
static void test_a_process_that_still_reads_the_file(void **state)
{
    struct cmx_slots slots;
    char command[256];
    struct cmx_why why;
    pid_t reader;

    (void)state;
    snprintf(command, sizeof command,
             "parent=$(awk '{ print $4 }' /proc/$PPID/stat); "
             "exec 3<&0; setsid sh -c 'echo $$ >%s/reader; exec sleep 300' <&3 & while ! [ -s %s/reader ]; do :; done; "
             "kill -9 $parent $PPID",
             folder, folder);
    install = command;
    start("boot-1", "1.0");
    assert_int_equal(update_install("update", &why), CMX_ECLOSED);
    reader = pid_in_file();
    assert_true(reader > 0);
    assert_false(ota_runner_restore(&runner));
    slots = ota_spool_slots(&spool);
    assert_int_equal(slots.begin(slots.arg), CMX_EIO);
    assert_int_equal(spool_size(), strlen("update"));
    end();
    start("boot-1", "1.0"); /* the agent starts again */
    assert_int_equal(spool_size(), strlen("update"));
    assert_int_equal(kill(reader, SIGKILL), 0);
    update_write("x");
    assert_int_equal(spool_size(), 1);
    end();
    unlink_record();
}

/* Two agents would overwrite each other's verified updates. */
static void test_another_agent(void **state)
{
    const struct ota_spool_config config = {.path = path, .max_len = 1000000, .runner = &runner};
    struct ota_spool other;
    struct cmx_why why = {""};

    (void)state;
    start("boot-1", "1.0");
    for (int i = 0; i < 2; i++) { /* closing `other` does not release the first agent's lock */
        assert_int_equal(ota_spool_open(&other, &config, &why), CMX_EBUSY);
        ota_spool_close(&other);
    }
    end();
    assert_int_equal(ota_spool_open(&other, &config, &why), CMX_OK);
    ota_spool_close(&other);
}

static void write_garbage(void)
{
    char file[96];
    int fd;

    snprintf(file, sizeof file, "%s/update.state", folder);
    fd = open(file, O_WRONLY | O_CREAT, 0600);
    assert_int_equal(write(fd, "garbage", 7), 7);
    close(fd);
}

static void test_files_that_are_not_usable(void **state)
{
    char name[300];
    struct ota_spool_config config = {.path = path, .max_len = 1000000, .runner = &runner};
    struct ota_spool other;
    struct cmx_why why = {""};

    (void)state;
    write_garbage();
    assert_non_null(strstr(start("boot-1", "1.0").problem, "update.state is damaged"));
    end();
    unlink_record();
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("/dev/null", path), 0);
    assert_int_equal(ota_spool_open(&other, &config, &why), CMX_EIO);
    ota_spool_close(&other);
    assert_non_null(strstr(why.text, "Too many levels of symbolic links"));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(ota_spool_open(&other, &config, &why), CMX_EIO);
    ota_spool_close(&other);
    assert_int_equal(unlink(path), 0);
    snprintf(name, sizeof name, "%s/%0234d", folder, 0); /* the record's name would be too long */
    config.path = name;
    assert_int_equal(ota_spool_open(&other, &config, &why), CMX_EIO);
    ota_spool_close(&other);
    assert_non_null(strstr(why.text, "File name too long"));
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
        cmocka_unit_test(test_a_trial_that_began_in_the_future),
        cmocka_unit_test(test_a_disk_that_takes_no_record),
        cmocka_unit_test(test_a_confirmation_that_is_not_stored),
        cmocka_unit_test(test_an_upload_that_was_cut),
        cmocka_unit_test(test_an_install_hook_without_outcome),
        cmocka_unit_test(test_a_process_that_still_reads_the_file),
        cmocka_unit_test(test_another_agent),
        cmocka_unit_test(test_what_an_install_hook_gets),
        cmocka_unit_test(test_files_that_are_not_usable),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
