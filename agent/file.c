#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmxsafe/core/mem.h"

#define SECRET_LINE_MAX 1024
#define SECRET_FILE_MAX (64 * 1024)

static cmx_err from_errno(int e)
{
    return e == ENOENT || e == ENOTDIR ? CMX_ENOENT : e == EACCES || e == EPERM ? CMX_EPERM : CMX_EIO;
}

static cmx_err fail(cmx_err err, char *why, size_t cap, const char *text)
{
    snprintf(why, cap, "%s", text);
    return err;
}

/* systemd gives a unit its credentials (LoadCredential=) through an ACL, whose mask shows as the group's read bit. */
static bool is_credential(const char *path)
{
    const char *dir = getenv("CREDENTIALS_DIRECTORY");
    size_t n = dir ? strlen(dir) : 0;

    return n > 1 && strncmp(path, dir, n) == 0 && path[n] == '/' && !strstr(path, "/../");
}

static cmx_err check_mode(const struct stat *st, const char *path, char *why, size_t cap)
{
    mode_t open_to = st->st_mode & (is_credential(path) ? 0037 : 0077);

    if (open_to == 0)
        return CMX_OK;
    snprintf(why, cap, "group or others can access it (mode %04o); run: chmod 600 %s", (unsigned)(st->st_mode & 07777),
             path);
    return CMX_EPERM;
}

/* A key that root made is not the agent's to read: the commonest mistake. */
static cmx_err fail_to_open(int e, const char *path, bool secret, char *why, size_t cap)
{
    const struct passwd *me = secret && e == EACCES ? getpwuid(geteuid()) : NULL;

    snprintf(why, cap, me ? "%s; run: chown %s: %s" : "%s", strerror(e), me ? me->pw_name : "", path);
    return from_errno(e);
}

/* Opens and checks by the descriptor, so that what is checked is what is read. */
static cmx_err open_checked(const char *path, size_t max, bool secret, int *fd, size_t *size, char *why, size_t cap)
{
    struct stat st;
    cmx_err err = CMX_OK;

    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (*fd < 0)
        return fail_to_open(errno, path, secret, why, cap);
    if (fstat(*fd, &st) != 0)
        err = fail(CMX_EIO, why, cap, strerror(errno));
    else if (!S_ISREG(st.st_mode))
        err = fail(CMX_EIO, why, cap, "not a regular file");
    else if (st.st_size < 0 || (size_t)st.st_size > max)
        err = fail(CMX_ENOSPC, why, cap, "too large");
    else if (secret)
        err = check_mode(&st, path, why, cap);
    if (err) {
        close(*fd);
        return err;
    }
    *size = (size_t)st.st_size;
    return CMX_OK;
}

cmx_err file_read(const char *path, size_t max, bool secret, char **out, size_t *len, char *why, size_t why_cap)
{
    size_t size = 0, n = 0;
    char *text;
    cmx_err err;
    int fd;

    err = open_checked(path, max, secret, &fd, &size, why, why_cap);
    if (err)
        return err;
    text = cmx_mem_alloc(size + 1);
    if (!text)
        err = fail(CMX_ENOMEM, why, why_cap, "out of memory");
    while (!err && n < size) {
        ssize_t got = read(fd, text + n, size - n);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            err = fail(CMX_EIO, why, why_cap, strerror(errno));
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    close(fd);
    if (err) {
        cmx_mem_free_secret(text);
        return err;
    }
    *out = text;
    *len = n;
    return CMX_OK;
}

cmx_err file_read_secret_line(const char *path, char **out, char *why, size_t why_cap)
{
    size_t len = 0, line;
    char *text = NULL;
    cmx_err err = file_read(path, SECRET_LINE_MAX, true, &text, &len, why, why_cap);

    if (err)
        return err;
    line = strcspn(text, "\r\n");
    if (line == 0 || (line < len && text[line] == 0)) {
        cmx_mem_free_secret(text);
        return fail(CMX_EFORMAT, why, why_cap, line ? "a NUL byte in the first line" : "its first line is empty");
    }
    text[line] = 0;
    *out = text;
    return CMX_OK;
}

cmx_err file_check_secret(const char *path, char *why, size_t why_cap)
{
    size_t size;
    int fd;
    cmx_err err = open_checked(path, SECRET_FILE_MAX, true, &fd, &size, why, why_cap);

    if (!err)
        close(fd);
    return err;
}
