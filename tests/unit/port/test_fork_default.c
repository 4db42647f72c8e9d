/* cmx_fork_default: a signal ends the child, although the parent has a handler and blocks the signal; the parent keeps
 * both. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "port/linux/fork_default.h"

static volatile sig_atomic_t handled;

static void handle(int signo)
{
    (void)signo;
    handled = 1;
}

static void test_signals(void **state)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGPIPE};
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
        pid = cmx_fork_default();
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

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_signals)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
