#include "port/linux/new_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmxsafe/core/text.h"

static bool same_file(const struct stat *st, const char *keep)
{
    struct stat other;

    return keep && stat(keep, &other) == 0 && st->st_dev == other.st_dev && st->st_ino == other.st_ino;
}

/* Returns the mode that the user's umask gives a new file. It replaces the mode 0600 that mkstemp sets. */
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

    n->temp[0] = '\0';
    if (there && same_file(&st, keep)) {
        errno = EEXIST;
        return CMX_EIO;
    }
    if (link || (there && (!S_ISREG(st.st_mode) || !realpath(path, n->path)))) {
        n->f = fopen(path, "wbe");
        return n->f ? CMX_OK : CMX_EIO;
    }
    if ((!there && cmx_text_copy(n->path, sizeof n->path, path)) ||
        (size_t)snprintf(n->temp, sizeof n->temp, "%s.XXXXXX", n->path) >= sizeof n->temp) {
        errno = ENAMETOOLONG;
        return CMX_EIO;
    }
    fd = mkstemp(n->temp);
    if (fd < 0)
        return CMX_EIO;
    n->f = fdopen(fd, "wb");
    if (there)
        (void)!fchown(fd, st.st_uid, st.st_gid); /* only root can keep another owner */
    if (n->f && fchmod(fd, there ? st.st_mode & 07777 : mode_of_new_files()) == 0)
        return CMX_OK;
    reason = errno;
    (void)unlink(n->temp);
    if (n->f)
        (void)fclose(n->f);
    else
        close(fd);
    errno = reason;
    return CMX_EIO;
}

cmx_err cmx_new_file_close(struct cmx_new_file *n, bool complete)
{
    bool ok = fflush(n->f) == 0 && !ferror(n->f) && (!n->temp[0] || fsync(fileno(n->f)) == 0);
    int reason = errno;

    if (fclose(n->f) != 0 && ok) {
        ok = false;
        reason = errno;
    }
    if (!n->temp[0])
        return ok ? CMX_OK : CMX_EIO;
    if (ok && complete && rename(n->temp, n->path) == 0)
        return CMX_OK;
    if (ok)
        reason = errno;
    (void)unlink(n->temp);
    errno = reason;
    return complete ? CMX_EIO : CMX_OK;
}

static bool write_synced(int fd, const char *data, size_t len)
{
    while (len) {
        ssize_t n = write(fd, data, len);

        if (n < 0 && errno != EINTR)
            return false;
        if (n > 0) {
            data += n;
            len -= (size_t)n;
        }
    }
    return fsync(fd) == 0;
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
    ok = write_synced(fd, data, len);
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
