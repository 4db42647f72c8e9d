#include "port/linux/child.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

pid_t cmx_child_fork(void)
{
    sigset_t all, before, none;
    pid_t pid;

    sigfillset(&all);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &all, &before);
    pid = fork();
    for (int signo = 1; pid == 0 && signo < NSIG; signo++)
        (void)signal(signo, SIG_DFL); /* fails for SIGKILL, SIGSTOP and the C library's own signals */
    sigprocmask(SIG_SETMASK, pid == 0 ? &none : &before, NULL);
    return pid;
}

bool cmx_child_end_with(pid_t parent, int signo)
{
    return prctl(PR_SET_PDEATHSIG, signo) == 0 && getppid() == parent;
}

int cmx_child_wait(pid_t pid)
{
    int status;

    if (pid <= 0)
        return -1;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void cmx_child_reap_others(const pid_t own[], size_t n)
{
    siginfo_t si = {0};

    while (waitid(P_ALL, 0, &si, WEXITED | WNOHANG | WNOWAIT) == 0 && si.si_pid > 0) {
        for (size_t i = 0; i < n; i++)
            if (own[i] == si.si_pid)
                return; /* the caller reaps this child itself; a later call here reaps the others */
        (void)cmx_child_wait(si.si_pid);
        si.si_pid = 0;
    }
}
