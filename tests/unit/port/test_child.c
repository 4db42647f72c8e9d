/* cmx_child_fork: a signal ends the child, although the parent has a handler and blocks the signal; the parent keeps
 * both. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "port/linux/child.h"

static volatile sig_atomic_t handled;

static void handle(int signo)
{
    (void)signo;
    handled = 1;
}

static void test_signals(void **state)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGPIPE, SIGXFSZ, SIGUSR1};
    const struct sigaction action = {.sa_handler = handle};

    (void)state;
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        sigset_t set, mask;
        int status;
        pid_t pid;

        sigemptyset(&set);
        sigaddset(&set, signals[i]);
        assert_int_equal(sigaction(signals[i], &action, NULL), 0);
        assert_int_equal(sigprocmask(SIG_BLOCK, &set, NULL), 0);
        pid = cmx_child_fork();
        if (pid == 0) {
            alarm(20); /* ends a child that the signal does not end */
            pause();
            _exit(0);
        }
        assert_true(pid > 0);
        assert_int_equal(kill(pid, signals[i]), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), signals[i]);
        assert_int_equal(sigprocmask(SIG_UNBLOCK, &set, &mask), 0);
        assert_true(sigismember(&mask, signals[i]));
        handled = 0;
        assert_int_equal(raise(signals[i]), 0);
        assert_int_equal(handled, 1);
    }
}

static void test_wait(void **state)
{
    pid_t pid = cmx_child_fork();

    (void)state;
    if (pid == 0)
        _exit(7);
    assert_int_equal(cmx_child_wait(pid), 7);
    assert_int_equal(cmx_child_wait(pid), -1); /* an earlier call has waited for this child */
    assert_int_equal(cmx_child_wait(0), -1);
    assert_int_equal(cmx_child_wait(-1), -1);
    pid = cmx_child_fork();
    if (pid == 0) {
        pause();
        _exit(0);
    }
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(cmx_child_wait(pid), 128 + SIGKILL);
}

/* A child ends with its parent. If the parent has already ended, cmx_child_end_with returns false. */
static void test_end_with_parent(void **state)
{
    char byte;
    int pipe_fd[2];
    pid_t pid;

    (void)state;
    assert_int_equal(pipe(pipe_fd), 0);
    pid = cmx_child_fork();
    if (pid == 0) {
        pid_t parent = getpid();

        if (cmx_child_fork() == 0) {
            if (cmx_child_end_with(parent, SIGKILL) && write(pipe_fd[1], "u", 1) == 1)
                pause(); /* the end of this process closes the pipe */
            _exit(0);
        }
        _exit(read(pipe_fd[0], &byte, 1) == 1 ? 0 : 1);
    }
    close(pipe_fd[1]);
    assert_int_equal(cmx_child_wait(pid), 0);
    assert_int_equal(read(pipe_fd[0], &byte, 1), 0);
    close(pipe_fd[0]);
    assert_false(cmx_child_end_with(getpid(), SIGKILL)); /* this process is not its own parent */
    assert_true(cmx_child_end_with(getppid(), 0));
}

/* The first process of a container becomes the parent of every orphan. cmx_child_reap_others waits for the orphans and
 * not for the process's own child. */
static void test_orphans(void **state)
{
    siginfo_t si = {0};
    pid_t own[2] = {0};
    pid_t orphan;
    int pipe_fd[2];

    (void)state;
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    assert_int_equal(pipe(pipe_fd), 0);
    own[1] = cmx_child_fork();
    if (own[1] == 0) {
        orphan = cmx_child_fork();
        if (orphan == 0)
            _exit(0);
        _exit(write(pipe_fd[1], &orphan, sizeof orphan) == (ssize_t)sizeof orphan ? 3 : 4);
    }
    assert_int_equal(read(pipe_fd[0], &orphan, sizeof orphan), sizeof orphan);
    assert_int_equal(waitid(P_PID, (id_t)own[1], &si, WEXITED | WNOWAIT), 0);
    cmx_child_reap_others(own, 2);
    assert_int_equal(cmx_child_wait(own[1]), 3);
    for (int i = 0; i < 1000 && kill(orphan, 0) == 0; i++) {
        cmx_child_reap_others(own, 2);
        usleep(10000);
    }
    assert_int_equal(kill(orphan, 0), -1);
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_signals),
        cmocka_unit_test(test_wait),
        cmocka_unit_test(test_end_with_parent),
        cmocka_unit_test(test_orphans),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
