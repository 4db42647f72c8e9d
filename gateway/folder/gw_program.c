#include "gateway/folder/gw_program.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static mode_t callers_umask = 022;

void gw_program_environment(void)
{
    static const char folders[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    const char *path = getenv("PATH");
    char all[8192];

    callers_umask = umask(022);
    if (path && path[0] && (size_t)snprintf(all, sizeof all, "%s:%s", path, folders) < sizeof all)
        setenv("PATH", all, 1);
    else if (!path || !path[0])
        setenv("PATH", folders, 1);
}

mode_t gw_program_umask(void)
{
    return callers_umask;
}

static void silence(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (null >= 0) {
        dup2(null, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
    }
}

bool gw_program_run(bool quiet, const char *const argv[])
{
    int status = -1;
    pid_t pid;

    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        if (quiet)
            silence();
        execvp(argv[0], (char *const *)argv);
        _exit(127);
    }
    if (pid < 0)
        return false;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

bool gw_program_output(const char *const argv[], char **text, size_t *len)
{
    FILE *out = open_memstream(text, len);
    int status = -1;
    char piece[4096];
    ssize_t n;
    int fd[2];
    pid_t pid;

    if (!out || pipe2(fd, O_CLOEXEC) != 0) {
        if (out)
            fclose(out);
        return false;
    }
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        dup2(fd[1], STDOUT_FILENO);
        execvp(argv[0], (char *const *)argv);
        _exit(127);
    }
    close(fd[1]);
    while (pid > 0 && ((n = read(fd[0], piece, sizeof piece)) > 0 || (n < 0 && errno == EINTR)))
        if (n > 0)
            fwrite(piece, 1, (size_t)n, out);
    close(fd[0]);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return fclose(out) == 0 && pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}
