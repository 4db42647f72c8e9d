#include "agent/isolation/saved_rules.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "port/linux/new_file.h"

#define NAME "isolation.nft"

const char *saved_rules_folder(void)
{
    const char *folder = getenv("STATE_DIRECTORY");

    /* Several folders, which a colon separates, are not supported. */
    return folder && folder[0] == '/' && !strchr(folder, ':') ? folder : NULL;
}

static cmx_err path_of(char path[PATH_MAX])
{
    const char *folder = saved_rules_folder();
    int n = folder ? snprintf(path, PATH_MAX, "%s/" NAME, folder) : -1;

    return n > 0 && n < PATH_MAX ? CMX_OK : CMX_ENOENT;
}

cmx_err saved_rules_write(const char *text)
{
    char path[PATH_MAX];
    cmx_err err = path_of(path);

    return err ? err : cmx_file_replace(AT_FDCWD, path, text, strlen(text));
}

cmx_err saved_rules_read(struct cmx_buf *out)
{
    char path[PATH_MAX], chunk[4096];
    cmx_err err = path_of(path);
    ssize_t n = 0;
    int fd;

    if (err)
        return err;
    fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK); /* O_NONBLOCK: does not wait if it is a FIFO */
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

    if (path_of(path) == CMX_OK)
        unlink(path);
}
