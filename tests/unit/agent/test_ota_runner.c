/* The runners, which are the processes that run the update hooks: results, time limits, what a hook inherits, and how a
 * hook's processes end. */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/ota/ota_runner.h"
#include "cmxsafe/port/port.h"

static char folder[] = "/tmp/cmx-runner.XXXXXX";

static struct runner start(const char *command, uint64_t limit_ms)
{
    struct runner_command commands[RUNNER_HOOKS] = {{0}};
    struct runner r;

    for (int i = 0; i < RUNNER_HOOKS; i++)
        commands[i] = (struct runner_command){command, limit_ms};
    assert_int_equal(ota_runner_start(&r, commands), CMX_OK);
    return r;
}

static cmx_err run(const char *command, uint64_t limit_ms, int in, char line[256])
{
    struct runner r = start(command, limit_ms);
    cmx_err err = ota_runner_call(&r, RUNNER_INSTALL, in, line, 256);

    ota_runner_stop(&r);
    return err;
}

/* Returns the pid that a hook wrote to this file, or 0 if it has not written it yet. */
static pid_t pid_in(const char *name)
{
    char path[128], text[16] = "";
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    f = fopen(path, "r");
    if (!f)
        return 0;
    if (!fgets(text, sizeof text, f))
        text[0] = '\0';
    fclose(f);
    return strchr(text, '\n') ? (pid_t)strtol(text, NULL, 10) : 0;
}

static pid_t await_pid(const char *name)
{
    pid_t pid = 0;

    for (int i = 0; i < 1000 && (pid = pid_in(name)) == 0; i++)
        cmx_port_sleep_ms(10);
    assert_true(pid > 0);
    return pid;
}

/* Returns the parent of a process; 0 if the process no longer exists or is a zombie. */
static pid_t parent_of(pid_t pid)
{
    char path[64], text[256] = "";
    const char *after;
    FILE *f;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    f = fopen(path, "r");
    if (!f)
        return 0;
    if (!fgets(text, sizeof text, f))
        text[0] = '\0';
    fclose(f);
    after = strrchr(text, ')');
    return after && after[2] != 'Z' ? (pid_t)strtol(after + 4, NULL, 10) : 0;
}

static bool ended(pid_t pid)
{
    return parent_of(pid) == 0;
}

/* Returns the only child of a process. */
static pid_t child_of(pid_t parent)
{
    const struct dirent *entry;
    DIR *proc = opendir("/proc");
    pid_t child = 0;

    assert_non_null(proc);
    while ((entry = readdir(proc)) != NULL) {
        pid_t pid = isdigit((unsigned char)entry->d_name[0]) ? (pid_t)strtol(entry->d_name, NULL, 10) : 0;

        if (pid > 0 && parent_of(pid) == parent) {
            assert_int_equal(child, 0);
            child = pid;
        }
    }
    closedir(proc);
    assert_true(child > 0);
    return child;
}

static void assert_ends(pid_t pid)
{
    for (int i = 0; i < 1500; i++) {
        if (ended(pid))
            return;
        cmx_port_sleep_ms(10);
    }
    fail_msg("process %d still runs", (int)pid);
}

static void test_the_outcome_is_the_exit_status(void **state)
{
    char line[256];

    (void)state;
    assert_int_equal(run("echo first; echo last; echo", 60000, -1, line), CMX_OK);
    assert_string_equal(line, "last");
    assert_int_equal(run("echo 'a\tb\033[2J'; exit 3", 60000, -1, line), CMX_EPERM);
    assert_string_equal(line, "the install hook failed: a?b?[2J");
    assert_int_equal(run("kill -9 $$", 60000, -1, line), CMX_ECLOSED);
    assert_string_equal(line, "the install hook was ended by signal 9");
    assert_int_equal(run("echo half; exit 143", 60000, -1, line), CMX_ECLOSED);
    assert_string_equal(line, "the install hook was ended by signal 15: half");
    assert_int_equal(run("exit 255", 60000, -1, line), CMX_EPERM);
    assert_string_equal(line, "the install hook failed");
    assert_int_equal(run(NULL, 60000, -1, line), CMX_OK);
    assert_string_equal(line, "");
    assert_int_equal(run("head -c 1000000 /dev/zero; echo; echo end", 60000, -1, line), CMX_OK);
    assert_string_equal(line, "end");
}

static void test_standard_input(void **state)
{
    char line[256];
    int p[2];

    (void)state;
    assert_int_equal(pipe(p), 0);
    assert_int_equal(write(p[1], "hello", 5), 5);
    close(p[1]);
    assert_int_equal(run("cat", 60000, p[0], line), CMX_OK);
    assert_string_equal(line, "hello");
    close(p[0]);
    assert_int_equal(run("cat; echo nothing", 60000, -1, line), CMX_OK);
    assert_string_equal(line, "nothing");
}

static void test_a_background_child_does_not_delay_the_outcome(void **state)
{
    char command[256], line[256];
    const uint64_t before = cmx_port_now_ms();
    pid_t child;

    (void)state;
    snprintf(command, sizeof command, "(echo $$ >/dev/null; exec sleep 300) & echo $! >%s/background; echo done",
             folder);
    assert_int_equal(run(command, 600000, -1, line), CMX_OK);
    assert_string_equal(line, "done");
    assert_true(cmx_port_now_ms() - before < 250000);
    child = await_pid("background");
    assert_ends(child);
}

static void test_descendants_in_sessions_of_their_own_are_ended(void **state)
{
    char command[512], line[256];

    (void)state;
    snprintf(command, sizeof command,
             "setsid sh -c 'trap \"\" TERM HUP; echo $$ >%s/escaped; sleep 300 & echo $! >%s/below; wait' & "
             "while ! [ -s %s/below ]; do sleep 0.02; done; exit 4",
             folder, folder, folder);
    assert_int_equal(run(command, 60000, -1, line), CMX_EPERM);
    assert_ends(await_pid("escaped"));
    assert_ends(await_pid("below"));
}

static void test_a_hook_is_ended_at_its_limit(void **state)
{
    char command[256], line[256];
    struct runner r;

    (void)state;
    snprintf(command, sizeof command, "echo $$ >%s/slow; echo working; trap '' TERM; sleep 300; sleep 300", folder);
    r = start(command, 1000);
    assert_int_equal(ota_runner_call(&r, RUNNER_RESTART, -1, line, sizeof line), CMX_ETIMEOUT);
    assert_string_equal(line, "the restart hook was ended after 1 s: working");
    assert_true(ended(await_pid("slow"))); /* the hook has ended before the call returns */
    /* The runner still runs hooks: it starts the next one, which also reaches its limit. */
    assert_int_equal(ota_runner_call(&r, RUNNER_RESTART, -1, line, sizeof line), CMX_ETIMEOUT);
    ota_runner_stop(&r);
}

static void *call_in_thread(void *arg)
{
    char line[256];

    return (void *)(uintptr_t)ota_runner_call(arg, RUNNER_INSTALL, -1, line, sizeof line);
}

static void test_abort_ends_the_hook_that_runs(void **state)
{
    char command[256], line[256];
    struct runner r;
    pthread_t thread;
    void *result;
    pid_t pid;

    (void)state;
    snprintf(command, sizeof command, "echo $$ >%s/aborted; sleep 300", folder);
    r = start(command, 600000);
    assert_int_equal(pthread_create(&thread, NULL, call_in_thread, &r), 0);
    pid = await_pid("aborted");
    ota_runner_abort(&r);
    pthread_join(thread, &result);
    assert_int_equal((uintptr_t)result, CMX_ECLOSED);
    assert_true(ended(pid));
    assert_int_equal(ota_runner_call(&r, RUNNER_INSTALL, -1, line, sizeof line), CMX_EIO);
    assert_string_equal(line, "the agent is stopping: the install hook was not run");
    ota_runner_stop(&r);
    ota_runner_stop(&r);
}

/* A terminal or systemd sends these signals to the runners too. They end when the agent does. */
static void test_signals_for_the_agent(void **state)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
    struct runner r = start("echo ran", 60000);
    const pid_t parent = child_of(getpid()), child = child_of(parent);
    char line[256];

    (void)state;
    assert_int_equal(ota_runner_call(&r, RUNNER_CONFIRM, -1, line, sizeof line), CMX_OK); /* the child has started */
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        assert_int_equal(kill(child, signals[i]), 0);
        assert_int_equal(kill(parent, signals[i]), 0);
    }
    assert_int_equal(ota_runner_call(&r, RUNNER_CONFIRM, -1, line, sizeof line), CMX_OK);
    assert_string_equal(line, "ran");
    assert_int_equal(child_of(getpid()), parent);
    assert_int_equal(child_of(parent), child);
    ota_runner_stop(&r);
}

static void kill_runner(pid_t pid)
{
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_ends(pid);
}

/* There are two runners, a parent and its child. If one is killed, for example by the kernel when memory is short, the
 * remaining one starts another. If both are killed, hooks no longer run. */
static void test_a_runner_that_was_killed(void **state)
{
    struct runner r = start("echo ran", 60000);
    char line[256];
    pid_t parent = child_of(getpid()), child = child_of(parent);

    (void)state;
    kill_runner(child);
    assert_int_equal(ota_runner_call(&r, RUNNER_CONFIRM, -1, line, sizeof line), CMX_OK);
    assert_string_equal(line, "ran");
    child = child_of(parent);
    kill_runner(parent);
    assert_true(ota_runner_restore(&r));
    parent = child;
    child = child_of(parent);
    kill_runner(child);
    assert_int_equal(ota_runner_call(&r, RUNNER_CONFIRM, -1, line, sizeof line), CMX_OK);
    child = child_of(parent);
    kill_runner(parent);
    kill_runner(child);
    assert_int_equal(ota_runner_call(&r, RUNNER_CONFIRM, -1, line, sizeof line), CMX_EIO);
    assert_string_equal(line, "the confirm hook was not run: the processes that run hooks were killed");
    assert_false(ota_runner_restore(&r));
    ota_runner_stop(&r);
}

/* The runner is killed while its hook runs: the call reports it, and no process of the hook is left. */
static void test_a_runner_that_was_killed_with_a_hook(void **state)
{
    char command[256], line[256];
    pthread_t thread;
    struct runner r;
    void *result;
    pid_t parent, below;

    (void)state;
    snprintf(command, sizeof command,
             "[ ! -e %s/deep ] || exec echo again; setsid sh -c 'trap \"\" TERM; echo $$ >%s/deep; sleep 300'; exit 0",
             folder, folder);
    r = start(command, 600000);
    parent = child_of(getpid());
    assert_int_equal(pthread_create(&thread, NULL, call_in_thread, &r), 0);
    below = await_pid("deep");
    assert_true(ota_runner_restore(&r)); /* does nothing while a hook runs */
    kill_runner(child_of(parent));
    pthread_join(thread, &result);
    assert_int_equal((uintptr_t)result, CMX_ECLOSED);
    assert_true(ended(below));
    assert_int_equal(ota_runner_call(&r, RUNNER_INSTALL, -1, line, sizeof line), CMX_OK);
    assert_string_equal(line, "again");
    ota_runner_stop(&r);
}

/* The runner that does not run the hook is killed. The hook's outcome is not lost, and another runner starts later. */
static void test_the_other_runner_is_killed(void **state)
{
    char command[256], line[256], path[128];
    pthread_t thread;
    struct runner r;
    void *result;

    (void)state;
    snprintf(command, sizeof command, "echo $$ >%s/busy; while ! [ -e %s/go ]; do sleep 0.05; done; echo gone", folder,
             folder);
    r = start(command, 600000);
    assert_int_equal(pthread_create(&thread, NULL, call_in_thread, &r), 0);
    await_pid("busy");
    kill_runner(child_of(getpid()));
    assert_true(ota_runner_restore(&r)); /* starts no runner while the hook runs */
    snprintf(path, sizeof path, "%s/go", folder);
    close(open(path, O_WRONLY | O_CREAT, 0600));
    pthread_join(thread, &result);
    assert_int_equal((uintptr_t)result, CMX_OK);
    assert_int_equal(ota_runner_call(&r, RUNNER_INSTALL, -1, line, sizeof line), CMX_OK);
    assert_string_equal(line, "gone");
    ota_runner_stop(&r);
}

/* Both runners are killed while a hook runs. No process is left that could end the hook, so the kernel does. */
static void test_a_hook_without_runners(void **state)
{
    char command[256];
    pthread_t thread;
    struct runner r;
    void *result;
    pid_t hook, parent, child;

    (void)state;
    snprintf(command, sizeof command, "echo $$ >%s/alone; exec sleep 300", folder);
    r = start(command, 600000);
    assert_int_equal(pthread_create(&thread, NULL, call_in_thread, &r), 0);
    hook = await_pid("alone");
    parent = child_of(getpid());
    child = child_of(parent);
    assert_int_equal(kill(parent, SIGKILL), 0);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_ends(hook);
    pthread_join(thread, &result);
    assert_int_equal((uintptr_t)result, CMX_ECLOSED);
    ota_runner_stop(&r);
}

/* When the agent is killed, the runner and its hook end too. */
static void test_a_hook_dies_with_the_agent(void **state)
{
    char command[256];
    pid_t agent, hook, parent, child;

    (void)state;
    snprintf(command, sizeof command, "echo $$ >%s/orphan; sleep 300", folder);
    agent = fork();
    if (agent == 0) {
        struct runner r = start(command, 600000);
        char line[256];

        _exit(ota_runner_call(&r, RUNNER_INSTALL, -1, line, sizeof line) != CMX_OK);
    }
    hook = await_pid("orphan");
    parent = child_of(agent);
    child = child_of(parent);
    kill(agent, SIGKILL);
    waitpid(agent, NULL, 0);
    assert_ends(hook);
    assert_ends(parent);
    assert_ends(child);
}

/* The hook runs grep, which inherits the hook's signal sets and prints them from its own /proc/self/status. */
static void test_what_a_hook_inherits(void **state)
{
    char command[256], line[256], path[128];
    struct rlimit limit, own;
    int fd;
    sigset_t set, old;

    (void)state;
    snprintf(path, sizeof path, "%s/held", folder);
    fd = open(path, O_RDWR | O_CREAT, 0600); /* this descriptor is open without close-on-exec */
    assert_int_equal(dup2(fd, 77), 77);
    signal(SIGTERM, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, &old);
    snprintf(command, sizeof command, "grep -E '^Sig(Blk|Ign)' /proc/self/status | tr '\\t\\n' '  '");
    assert_int_equal(run(command, 60000, -1, line), CMX_OK);
    assert_string_equal(line, "SigBlk: 0000000000000000 SigIgn: 0000000000000000 ");
    assert_int_equal(run("exec ls /proc/self/fd | tr '\\n' ' '", 60000, -1, line), CMX_OK);
    assert_string_equal(line, "0 1 2 3 "); /* descriptor 3 is the folder that ls reads */
    assert_int_equal(run("awk '{ print $1 == $6 }' /proc/$$/stat", 60000, -1, line), CMX_OK);
    assert_string_equal(line, "1"); /* the hook has a session of its own */
    assert_int_equal(getrlimit(RLIMIT_DATA, &limit), 0);
    own = limit;
    own.rlim_cur = 1u << 30; /* the agent's limit of its heap */
    assert_int_equal(setrlimit(RLIMIT_DATA, &own), 0);
    assert_int_equal(run("[ \"$(ulimit -d)\" = \"$(ulimit -H -d)\" ]", 60000, -1, line), CMX_OK);
    assert_int_equal(setrlimit(RLIMIT_DATA, &limit), 0);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    signal(SIGTERM, SIG_DFL);
    signal(SIGPIPE, SIG_DFL);
    close(77);
    close(fd);
}

/* The runner keeps none of the agent's descriptors. Otherwise the control socket would stay open in the runner, and the
 * agent could not open it again. */
static void test_what_the_runner_keeps(void **state)
{
    char path[64];
    struct runner r;
    pid_t runner;
    int fd = open("/dev/null", O_RDWR); /* this descriptor is open without close-on-exec */

    (void)state;
    assert_int_equal(dup2(fd, 78), 78);
    r = start("true", 60000);
    runner = getpid();
    for (int n = 0; n < 2; n++) {
        runner = child_of(runner);
        snprintf(path, sizeof path, "/proc/%d/fd/78", (int)runner);
        for (int i = 0; i < 500 && access(path, F_OK) == 0; i++)
            cmx_port_sleep_ms(10);
        assert_int_not_equal(access(path, F_OK), 0);
    }
    ota_runner_stop(&r);
    close(78);
    close(fd);
}

/* Runs as an agent of another user. In /proc, root owns the files of a process whose memory its user may not read. */
static int owner_of_runners(void)
{
    char path[64], line[256];
    struct runner r;
    struct stat st;
    pid_t runner = getpid();

    if ((geteuid() == 0 && setuid(65534) != 0) || prctl(PR_SET_DUMPABLE, 1) != 0)
        return -1;
    r = start("true", 60000);
    if (ota_runner_call(&r, RUNNER_CONFIRM, -1, line, sizeof line) != CMX_OK)
        return -1;
    for (int n = 0; n < 2; n++) {
        runner = child_of(runner);
        snprintf(path, sizeof path, "/proc/%d/status", (int)runner);
        if (stat(path, &st) != 0 || st.st_uid != 0)
            return -1;
    }
    ota_runner_stop(&r);
    return 0;
}

/* The runners' memory is a copy of the agent's, with its credentials. */
static void test_the_memory_of_runners_is_private(void **state)
{
    pid_t agent = fork();
    int status;

    (void)state;
    if (agent == 0)
        _exit(owner_of_runners() == 0 ? 0 : 1);
    assert_int_equal(waitpid(agent, &status, 0), agent);
    assert_int_equal(status, 0);
}

static int setup(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state)
{
    static const char *const names[] = {"background", "escaped", "below", "slow", "aborted", "orphan",
                                        "held",       "deep",    "alone", "busy", "go"};
    char path[128];

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_outcome_is_the_exit_status),
        cmocka_unit_test(test_standard_input),
        cmocka_unit_test(test_a_background_child_does_not_delay_the_outcome),
        cmocka_unit_test(test_descendants_in_sessions_of_their_own_are_ended),
        cmocka_unit_test(test_a_hook_is_ended_at_its_limit),
        cmocka_unit_test(test_abort_ends_the_hook_that_runs),
        cmocka_unit_test(test_signals_for_the_agent),
        cmocka_unit_test(test_a_runner_that_was_killed),
        cmocka_unit_test(test_a_runner_that_was_killed_with_a_hook),
        cmocka_unit_test(test_the_other_runner_is_killed),
        cmocka_unit_test(test_a_hook_without_runners),
        cmocka_unit_test(test_a_hook_dies_with_the_agent),
        cmocka_unit_test(test_what_a_hook_inherits),
        cmocka_unit_test(test_what_the_runner_keeps),
        cmocka_unit_test(test_the_memory_of_runners_is_private),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
