#include "port/linux/new_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmxsafe/core/text.h"

/* Opens a file without a name in the folder of path. -1: this is not possible here. */
static int open_unnamed(const char *path)
{
    const char *slash = strrchr(path, '/');
    char folder[CMX_NEW_FILE_PATH_MAX];

    if (access("/proc/self/fd", X_OK) != 0) /* link_unnamed needs it */
        return -1;
    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
    return open(folder, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
}

/* Gives the file a new name that begins with path, and writes the name to temp. */
static bool link_unnamed(int fd, const char *path, char temp[CMX_NEW_FILE_PATH_MAX])
{
    char self[40];
    uint32_t random;

    snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    for (;;) {
        if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random ||
            (size_t)snprintf(temp, CMX_NEW_FILE_PATH_MAX, "%s.%06x", path, (unsigned)(random & 0xffffff)) >=
                CMX_NEW_FILE_PATH_MAX)
            break;
        if (linkat(AT_FDCWD, self, AT_FDCWD, temp, AT_SYMLINK_FOLLOW) == 0)
            return true;
        if (errno != EEXIST)
            break;
    }
    temp[0] = '\0';
    return false;
}

int cmx_file_temp_open(const char *path, char temp[CMX_NEW_FILE_PATH_MAX])
{
    int fd;

    if ((size_t)snprintf(temp, CMX_NEW_FILE_PATH_MAX, "%s.XXXXXX", path) >= CMX_NEW_FILE_PATH_MAX) {
        errno = ENAMETOOLONG;
        return -1;
    }
    fd = open_unnamed(path);
    if (fd < 0)
        return mkostemp(temp, O_CLOEXEC);
    temp[0] = '\0';
    return fd;
}

bool cmx_file_temp_keep(int fd, char temp[CMX_NEW_FILE_PATH_MAX], const char *path)
{
    if (!temp[0] && !link_unnamed(fd, path, temp))
        return false;
    if (rename(temp, path) == 0)
        return true;
    cmx_file_temp_drop(temp);
    return false;
}

void cmx_file_temp_drop(const char *temp)
{
    int reason = errno;

    if (temp[0])
        (void)unlink(temp);
    errno = reason;
}

static bool same_file(const struct stat *st, const char *keep)
{
    struct stat other;

    return keep && stat(keep, &other) == 0 && st->st_dev == other.st_dev && st->st_ino == other.st_ino;
}

/* Returns the mode that the user's umask gives a new file. The file of cmx_file_temp_open has the mode 0600 at first.
 */
static mode_t mode_of_new_files(void)
{
    mode_t mask = umask(077);

    umask(mask);
    return 0666 & ~mask;
}

cmx_err cmx_new_file_open(struct cmx_new_file *n, const char *path, const char *keep)
{
    struct stat st;
    const bool there = stat(path, &st) == 0;
    const bool link = !there && lstat(path, &st) == 0;
    int fd, reason;

    n->path[0] = '\0';
    if (there && same_file(&st, keep)) {
        errno = EEXIST;
        return CMX_EIO;
    }
    if (link || (there && (!S_ISREG(st.st_mode) || !realpath(path, n->path)))) {
        n->path[0] = '\0'; /* realpath may have written to it */
        n->f = fopen(path, "wbe");
        return n->f ? CMX_OK : CMX_EIO;
    }
    if (!there && cmx_text_copy(n->path, sizeof n->path, path)) {
        errno = ENAMETOOLONG;
        return CMX_EIO;
    }
    fd = cmx_file_temp_open(n->path, n->temp);
    if (fd < 0)
        return CMX_EIO;
    n->f = fdopen(fd, "wb");
    if (there)
        (void)!fchown(fd, st.st_uid, st.st_gid); /* only root can keep another owner */
    if (n->f && fchmod(fd, there ? st.st_mode & 07777 : mode_of_new_files()) == 0)
        return CMX_OK;
    reason = errno;
    cmx_file_temp_drop(n->temp);
    if (n->f)
        (void)fclose(n->f);
    else
        close(fd);
    errno = reason;
    return CMX_EIO;
}

cmx_err cmx_new_file_close(struct cmx_new_file *n, bool complete)
{
    const bool direct = !n->path[0];
    bool ok = fflush(n->f) == 0 && !ferror(n->f) && (direct || fsync(fileno(n->f)) == 0);
    bool kept = ok && complete && !direct && cmx_file_temp_keep(fileno(n->f), n->temp, n->path);
    int reason = errno;

    if (fclose(n->f) != 0 && ok && !kept) {
        ok = false;
        reason = errno;
    }
    if (!direct && !kept)
        cmx_file_temp_drop(n->temp);
    errno = reason;
    return direct ? (ok ? CMX_OK : CMX_EIO) : kept || !complete ? CMX_OK : CMX_EIO;
}

bool cmx_file_write_all(int fd, const void *data, size_t len)
{
    const char *p = data;

    while (len) {
        ssize_t n = write(fd, p, len);

        if (n < 0 && errno != EINTR)
            return false;
        if (n > 0) {
            p += n;
            len -= (size_t)n;
        }
    }
    return true;
}

cmx_err cmx_file_replace(int folder, const char *name, const void *data, size_t len)
{
    char temp[PATH_MAX];
    int fd, reason;
    bool ok;

    if ((size_t)snprintf(temp, sizeof temp, "%s.new", name) >= sizeof temp) {
        errno = ENAMETOOLONG;
        return CMX_EIO;
    }
    (void)unlinkat(folder, temp, 0); /* a killed process may have left this file */
    fd = openat(folder, temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return CMX_EIO;
    ok = cmx_file_write_all(fd, data, len) && fsync(fd) == 0;
    reason = errno;
    close(fd);
    if (ok && renameat(folder, temp, folder, name) == 0)
        return CMX_OK;
    if (ok)
        reason = errno;
    (void)unlinkat(folder, temp, 0);
    errno = reason;
    return CMX_EIO;
}
