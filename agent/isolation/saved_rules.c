#include "agent/isolation/saved_rules.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NAME "isolation.nft"

const char *saved_rules_folder(void)
{
    const char *folder = getenv("STATE_DIRECTORY");

    return folder && folder[0] == '/' && !strchr(folder, ':') ? folder : NULL; /* a colon separates several folders */
}

static cmx_err path_of(const char *suffix, char path[PATH_MAX])
{
    const char *folder = saved_rules_folder();
    int n = folder ? snprintf(path, PATH_MAX, "%s/" NAME "%s", folder, suffix) : -1;

    return n > 0 && n < PATH_MAX ? CMX_OK : CMX_ENOENT;
}

static cmx_err write_all(int fd, const char *text, size_t len)
{
    while (len) {
        ssize_t n = write(fd, text, len);

        if (n < 0 && errno != EINTR)
            return CMX_EIO;
        if (n > 0) {
            text += n;
            len -= (size_t)n;
        }
    }
    return fsync(fd) == 0 ? CMX_OK : CMX_EIO;
}

cmx_err saved_rules_write(const char *text)
{
    char path[PATH_MAX], temp[PATH_MAX];
    cmx_err err = path_of("", path);
    int fd;

    if (!err)
        err = path_of(".new", temp);
    if (err)
        return err;
    fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return CMX_EIO;
    err = write_all(fd, text, strlen(text));
    if (close(fd) != 0 && !err)
        err = CMX_EIO;
    if (!err && rename(temp, path) != 0)
        err = CMX_EIO;
    if (err)
        unlink(temp);
    return err;
}

cmx_err saved_rules_read(struct cmx_buf *out)
{
    char path[PATH_MAX], chunk[4096];
    cmx_err err = path_of("", path);
    ssize_t n = 0;
    int fd;

    if (err)
        return err;
    fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK); /* a FIFO reads as empty */
    if (fd < 0)
        return errno == ENOENT ? CMX_ENOENT : CMX_EIO;
    while (!err && (n = read(fd, chunk, sizeof chunk)) > 0)
        err = cmx_buf_put(out, chunk, (size_t)n);
    close(fd);
    return n < 0 ? CMX_EIO : err;
}

void saved_rules_remove(void)
{
    char path[PATH_MAX];

    if (path_of("", path) == CMX_OK)
        unlink(path);
}
