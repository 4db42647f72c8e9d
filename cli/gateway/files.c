/* Files and programs, for the subcommands. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/gateway/gw.h"

static bool write_all(int fd, const char *text, size_t len)
{
    while (len) {
        ssize_t n = write(fd, text, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        text += n;
        len -= (size_t)n;
    }
    return true;
}

cmx_err gw_write_file(const char *path, const char *text, size_t len, unsigned mode, struct gw_error *e)
{
    char temp[GW_PATH_MAX + 16];
    cmx_err err;
    bool ok;
    int fd;

    snprintf(temp, sizeof temp, "%s.XXXXXX", path);
    fd = mkostemp(temp, O_CLOEXEC);
    if (fd < 0)
        return gw_error_set(e, CMX_EPERM, "check the folder's permissions", "can't write %s (%s)", path,
                            strerror(errno));
    ok = fchmod(fd, mode) == 0 && write_all(fd, text, len) && fsync(fd) == 0;
    ok = close(fd) == 0 && ok && rename(temp, path) == 0;
    if (ok)
        return CMX_OK;
    err = gw_error_set(e, errno == EBUSY ? CMX_EBUSY : CMX_EIO, NULL, "can't write %s (%s)", path, strerror(errno));
    unlink(temp);
    return err;
}

cmx_err gw_write_in_place(const char *path, const char *text, size_t len, struct gw_error *e)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    bool ok = fd >= 0 && fchmod(fd, 0644) == 0 && write_all(fd, text, len) && ftruncate(fd, (off_t)len) == 0;

    if (fd >= 0)
        close(fd);
    return ok ? CMX_OK : gw_error_set(e, CMX_EIO, NULL, "can't write %s (%s)", path, strerror(errno));
}

static void silence(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (null >= 0) {
        dup2(null, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
    }
}

bool gw_run(bool quiet, const char *const argv[])
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

cmx_err gw_mkdir(const char *path, unsigned mode, struct gw_error *e)
{
    char part[GW_PATH_MAX];
    struct stat st;

    snprintf(part, sizeof part, "%s", path);
    for (char *slash = part + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        if (mkdir(part, 0755) != 0 && errno != EEXIST)
            return gw_error_set(e, CMX_EPERM, NULL, "can't make the folder %s (%s)", part, strerror(errno));
        *slash = '/';
    }
    if (mkdir(path, mode) != 0 && (errno != EEXIST || stat(path, &st) != 0 || !S_ISDIR(st.st_mode)))
        return gw_error_set(e, CMX_EPERM, NULL, "can't make the folder %s (%s)", path, strerror(errno));
    return CMX_OK;
}
