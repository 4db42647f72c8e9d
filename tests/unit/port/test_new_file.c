/* Files that appear only when they are complete: what they replace, and what is left if the process is killed. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "port/linux/child.h"
#include "port/linux/new_file.h"

static char folder[] = "/tmp/cmx-new-file.XXXXXX";
static char path[64];

static size_t files_in_folder(void)
{
    const struct dirent *entry;
    DIR *d = opendir(folder);
    size_t n = 0;

    assert_non_null(d);
    while ((entry = readdir(d)) != NULL)
        n += entry->d_name[0] != '.';
    closedir(d);
    return n;
}

static void assert_content(const char *expected)
{
    char text[64] = "";
    int fd = open(path, O_RDONLY);

    assert_true(fd >= 0);
    assert_int_equal(read(fd, text, sizeof text - 1), strlen(expected));
    assert_string_equal(text, expected);
    close(fd);
}

static void write_file(const char *text, bool complete)
{
    struct cmx_new_file n;

    assert_int_equal(cmx_new_file_open(&n, path, NULL), CMX_OK);
    assert_true(fputs(text, n.f) >= 0);
    assert_int_equal(cmx_new_file_close(&n, complete), CMX_OK);
}

static void test_a_file_is_replaced_when_it_is_complete(void **state)
{
    struct stat st;

    (void)state;
    write_file("old", true);
    assert_int_equal(chmod(path, 0604), 0);
    write_file("not complete", false);
    assert_content("old");
    write_file("new", true);
    assert_content("new");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0604);
    assert_int_equal(files_in_folder(), 1);
    assert_int_equal(unlink(path), 0);
}

/* A process is killed, or ended by Ctrl-C, while it writes. */
static void test_nothing_is_left_of_a_process_that_is_killed(void **state)
{
    struct cmx_new_file n;
    int ready[2];
    char byte;
    pid_t pid;

    (void)state;
    assert_int_equal(pipe(ready), 0);
    pid = cmx_child_fork();
    if (pid == 0) {
        if (!cmx_new_file_open(&n, path, NULL) && fputs("half", n.f) >= 0 && fflush(n.f) == 0 &&
            write(ready[1], n.temp, 1) == 1)
            pause();
        _exit(1);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    if (byte != '\0')
        print_message("files in %s always have a name\n", folder);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(cmx_child_wait(pid), 128 + SIGKILL);
    assert_int_equal(files_in_folder(), byte == '\0' ? 0 : 1);
    close(ready[0]);
    close(ready[1]);
}

/* If the file system does not support files without a name, an incomplete file has a temporary name. */
static void test_a_file_with_a_temporary_name(void **state)
{
    char temp[CMX_NEW_FILE_PATH_MAX];
    int fd;

    (void)state;
    for (int complete = 0; complete < 2; complete++) {
        snprintf(temp, sizeof temp, "%s.XXXXXX", path);
        fd = mkstemp(temp);
        assert_int_equal(write(fd, "named", 5), 5);
        if (complete)
            assert_true(cmx_file_temp_keep(fd, temp, path));
        else
            cmx_file_temp_drop(temp);
        close(fd);
        assert_int_equal(files_in_folder(), complete);
    }
    assert_content("named");
    assert_int_equal(unlink(path), 0);
}

static void test_a_file_that_cannot_be_replaced(void **state)
{
    char temp[CMX_NEW_FILE_PATH_MAX], missing[96];
    int fd = cmx_file_temp_open(path, temp);
    struct stat st;

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    snprintf(missing, sizeof missing, "%s/missing/file", folder);
    assert_false(cmx_file_temp_keep(fd, temp, missing));
    assert_int_equal(errno, ENOENT);
    assert_string_equal(temp, ""); /* cmx_file_temp_drop must remove no file of another program */
    errno = EISDIR;
    cmx_file_temp_drop(missing);
    assert_int_equal(errno, EISDIR);
    close(fd);
    assert_int_equal(mkdir(path, 0700), 0);
    fd = cmx_file_temp_open(path, temp);
    assert_false(cmx_file_temp_keep(fd, temp, path));
    assert_int_equal(errno, EISDIR);
    close(fd);
    assert_int_equal(files_in_folder(), 1);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(cmx_file_temp_open(missing, temp), -1);
    assert_int_equal(errno, ENOENT);
}

static int setup(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/file", folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_file_is_replaced_when_it_is_complete),
        cmocka_unit_test(test_nothing_is_left_of_a_process_that_is_killed),
        cmocka_unit_test(test_a_file_with_a_temporary_name),
        cmocka_unit_test(test_a_file_that_cannot_be_replaced),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
