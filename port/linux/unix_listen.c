#include "port/linux/unix_listen.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static cmx_err socket_error(int number)
{
    switch (number) {
    case EACCES:
    case EPERM:
    case EROFS:
        return CMX_EPERM;
    case ENOENT:
        return CMX_ENOENT;
    case EMFILE:
    case ENFILE:
    case ENOSPC:
        return CMX_ENOSPC;
    default:
        return CMX_EIO;
    }
}

/* True if another process listens at the address; its socket must not be replaced. */
static bool someone_listens(const struct sockaddr_un *a)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool yes = fd >= 0 && (connect(fd, (const struct sockaddr *)a, sizeof *a) == 0 || errno == EAGAIN);

    if (fd >= 0)
        close(fd);
    return yes;
}

static cmx_err bind_and_listen(int fd, const struct sockaddr_un *a, int backlog)
{
    mode_t mask = umask(0117); /* set before bind, so that other users can never connect */
    int rc = bind(fd, (const struct sockaddr *)a, sizeof *a);

    umask(mask);
    if (rc != 0)
        return socket_error(errno);
    return listen(fd, backlog) == 0 ? CMX_OK : CMX_EIO;
}

cmx_err cmx_unix_listen(const char *path, int backlog, int *fd)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    struct stat st;
    cmx_err err;

    if (strlen(path) >= sizeof a.sun_path)
        return CMX_ENOSPC;
    memcpy(a.sun_path, path, strlen(path) + 1);
    if (someone_listens(&a))
        return CMX_EBUSY;
    if (lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode))
        return CMX_EEXIST;
    if (unlink(path) != 0 && errno != ENOENT)
        return socket_error(errno);
    *fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (*fd < 0)
        return socket_error(errno);
    err = bind_and_listen(*fd, &a, backlog);
    if (err) {
        close(*fd);
        *fd = -1;
    }
    return err;
}
