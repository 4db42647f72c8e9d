#include "port/linux/unix_listen.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "cmxsafe/port/port.h"

enum { LOCK_TRIES = 300, LOCK_STEP_MS = 10 }; /* their product exceeds the time for which a program needs the lock */

static cmx_err socket_error(int number)
{
    switch (number) {
    case EACCES:
    case EPERM:
    case EROFS:
        return CMX_EPERM;
    case ENOENT:
        return CMX_ENOENT;
    case EADDRINUSE: /* a file exists at the path */
        return CMX_EEXIST;
    case EMFILE:
    case ENFILE:
    case ENOSPC:
        return CMX_ENOSPC;
    default:
        return CMX_EIO;
    }
}

/* Removes the socket at the address if no process listens there. Only then does connect fail with ECONNREFUSED; after
 * other errors the socket may be in use. */
static cmx_err remove_stale(const struct sockaddr_un *a)
{
    struct stat st;
    int fd, reason;

    if (lstat(a->sun_path, &st) == 0 && !S_ISSOCK(st.st_mode))
        return CMX_EEXIST;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return socket_error(errno);
    reason = connect(fd, (const struct sockaddr *)a, sizeof *a) == 0 ? 0 : errno;
    close(fd);
    if (reason == EACCES || reason == EPERM)
        return CMX_EPERM;
    if (reason != ECONNREFUSED && reason != ENOENT)
        return CMX_EBUSY;
    return unlink(a->sun_path) == 0 || errno == ENOENT ? CMX_OK : socket_error(errno);
}

static cmx_err bind_private(int fd, const struct sockaddr_un *a)
{
    mode_t mask = umask(0117); /* set before bind, so that other users can never connect */
    cmx_err err = bind(fd, (const struct sockaddr *)a, sizeof *a) == 0 ? CMX_OK : socket_error(errno);

    umask(mask);
    return err;
}

/* Locks the folder of the socket, for as long as the returned descriptor is open. Otherwise, of two programs that start
 * at the same time, one could take the other's new socket for a stale one, because the other does not listen yet. Any
 * program may lock the folder, so after LOCK_TRIES the caller continues without the lock. */
static int lock_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    char folder[PATH_MAX];
    int fd;

    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; fd >= 0 && i < LOCK_TRIES && flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK; i++)
        cmx_port_sleep_ms(LOCK_STEP_MS);
    return fd;
}

cmx_err cmx_unix_listen(const char *path, int backlog, int *fd)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int folder;
    cmx_err err;

    if (strlen(path) >= sizeof a.sun_path)
        return CMX_ENOSPC;
    memcpy(a.sun_path, path, strlen(path) + 1);
    *fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (*fd < 0)
        return socket_error(errno);
    folder = lock_folder(path);
    err = bind_private(*fd, &a);
    if (err == CMX_EEXIST) {
        err = remove_stale(&a);
        if (!err)
            err = bind_private(*fd, &a);
    }
    if (!err && listen(*fd, backlog) != 0)
        err = CMX_EIO;
    if (folder >= 0)
        close(folder);
    if (err) {
        close(*fd);
        *fd = -1;
    }
    return err;
}
