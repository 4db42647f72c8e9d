#include "port/linux/file_probe.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "port/linux/child.h"

static void probe(const char *path)
{
    char byte;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    _exit(fd >= 0 && pread(fd, &byte, 1, 0) < 0); /* even an error shows that the file system answers */
}

bool cmx_file_answers(const char *path, int ms)
{
    static char silent[PATH_MAX]; /* the last path that did not answer */
    struct pollfd end = {.events = POLLIN};
    int fds[2];
    pid_t pid;
    int rc;

    if (strcmp(path, silent) == 0)
        return false;
    if (pipe2(fds, O_CLOEXEC) != 0)
        return true; /* too few descriptors for the probe */
    pid = cmx_child_fork();
    if (pid == 0)
        probe(path);
    close(fds[1]);
    end.fd = fds[0];
    do
        rc = pid > 0 ? poll(&end, 1, ms) : 1; /* when the child ends, the last copy of fds[1] is closed */
    while (rc < 0 && errno == EINTR);
    close(fds[0]);
    if (pid > 0 && rc != 0)
        (void)cmx_child_wait(pid);
    if (rc == 0) {
        (void)kill(pid, SIGKILL); /* the child may end only when the file system answers, so do not wait */
        snprintf(silent, sizeof silent, "%s", path);
    }
    return rc != 0;
}
