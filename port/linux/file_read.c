#include "port/linux/file_read.h"

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
#define FIRST_READ 4096
#define PASSWD_ENTRY_MAX 1024

cmx_err cmx_file_error(int number)
{
    switch (number) {
    case ENOENT:
    case ENOTDIR:
        return CMX_ENOENT;
    case EEXIST:
        return CMX_EEXIST;
    case EACCES:
    case EPERM:
        return CMX_EPERM;
    default:
        return CMX_EIO;
    }
}

/* True if path is a credential of this unit (LoadCredential=). systemd grants access to it by an ACL, whose mask
 * appears as the group's read bit. */
static bool is_credential(const char *path)
{
    const char *dir = getenv("CREDENTIALS_DIRECTORY");
    size_t n = dir ? strlen(dir) : 0;

    return n > 1 && strncmp(path, dir, n) == 0 && path[n] == '/' && !strstr(path, "/../");
}

bool cmx_file_is_private(const struct stat *st, const char *path)
{
    return (st->st_mode & (is_credential(path) ? 0037 : 0077)) == 0;
}

static cmx_err check_mode(const struct stat *st, const char *path, struct cmx_why *why)
{
    if (cmx_file_is_private(st, path))
        return CMX_OK;
    cmx_why_set(why, "group or others can access it (mode %04o); run: chmod 600 %s", (unsigned)(st->st_mode & 07777),
                path);
    return CMX_EPERM;
}

/* Explains the most common mistake: root created the key file, and the agent's user cannot read it. */
static cmx_err fail_to_open(int e, const char *path, bool secret, struct cmx_why *why)
{
    struct passwd entry, *me = NULL;
    char room[PASSWD_ENTRY_MAX];

    if (secret && e == EACCES)
        (void)getpwuid_r(geteuid(), &entry, room, sizeof room, &me); /* sets me to NULL on an error */
    cmx_why_set(why, me ? "%s; run: chown %s: %s" : "%s", strerror(e), me ? me->pw_name : "", path);
    return cmx_file_error(e);
}

/* Opens the file and checks the open descriptor, so that the file that is read is the file that was checked. */
static cmx_err open_checked(const char *path, size_t max, bool secret, int *fd, struct cmx_why *why)
{
    struct stat st;
    cmx_err err = CMX_OK;

    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (*fd < 0)
        return fail_to_open(errno, path, secret, why);
    if (fstat(*fd, &st) != 0)
        err = cmx_why_fail(why, CMX_EIO, "%s", strerror(errno));
    else if (!S_ISREG(st.st_mode))
        err = cmx_why_fail(why, CMX_EIO, "not a regular file");
    else if (st.st_size < 0 || (size_t)st.st_size > max)
        err = cmx_why_fail(why, CMX_ENOSPC, "too large");
    else if (secret)
        err = check_mode(&st, path, why);
    if (err)
        close(*fd);
    return err;
}

/* Returns a larger block with the first n bytes of text, and frees text. If it returns NULL, text is unchanged. */
static char *text_grow(char *text, size_t n, size_t size)
{
    char *grown = cmx_mem_alloc(size);

    if (grown && n)
        memcpy(grown, text, n);
    if (grown)
        cmx_mem_free_secret(text);
    return grown;
}

/* Reads f to its end. CMX_ENOSPC: it has more than max bytes. Each read requests one byte more than `size`, to detect a
 * longer file. The caller frees *text, even after an error. */
static cmx_err read_up_to(FILE *f, size_t max, char **text, size_t *len, struct cmx_why *why)
{
    size_t size = max < FIRST_READ ? max : FIRST_READ, n = 0;

    for (*text = NULL;; size = size > max / 2 ? max : 2 * size) {
        char *grown = text_grow(*text, n, size + 1);

        if (!grown)
            return cmx_why_fail(why, CMX_ENOMEM, "out of memory");
        *text = grown;
        n += fread(grown + n, 1, size + 1 - n, f);
        if (ferror(f))
            return cmx_why_fail(why, CMX_EIO, "%s", strerror(errno));
        if (n <= size) {
            grown[n] = 0;
            *len = n;
            return CMX_OK;
        }
        if (size == max)
            return cmx_why_fail(why, CMX_ENOSPC, "too large");
    }
}

/* Removes the UTF-8 byte order mark that some editors write before the first character. CMX_EFORMAT: UTF-16 text. */
static cmx_err remove_mark(char *text, size_t *len, struct cmx_why *why)
{
    if (*len >= 2 && (memcmp(text, "\xff\xfe", 2) == 0 || memcmp(text, "\xfe\xff", 2) == 0))
        return cmx_why_fail(why, CMX_EFORMAT, "it is UTF-16 text; save it as UTF-8");
    if (*len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        *len -= 3;
        memmove(text, text + 3, *len + 1);
    }
    return CMX_OK;
}

/* Reads f up to its end, and closes it unless it is stdin. */
static cmx_err read_all(FILE *f, size_t max, bool is_text, char **out, size_t *len, struct cmx_why *why)
{
    char *text;
    cmx_err err;

    setvbuf(f, NULL, _IONBF, 0); /* unbuffered, so that no copy of a secret stays in libc's memory */
    err = read_up_to(f, max, &text, len, why);
    if (f != stdin)
        fclose(f);
    if (!err && is_text)
        err = remove_mark(text, len, why);
    if (err)
        cmx_mem_free_secret(text);
    else
        *out = text;
    return err;
}

cmx_err cmx_file_read(const char *path, size_t max, bool secret, char **out, size_t *len, struct cmx_why *why)
{
    FILE *f;
    int fd;
    cmx_err err = open_checked(path, max, secret, &fd, why);

    if (err)
        return err;
    f = fdopen(fd, "r");
    if (f)
        return read_all(f, max, true, out, len, why);
    close(fd);
    return cmx_why_fail(why, CMX_ENOMEM, "out of memory");
}

cmx_err cmx_file_read_secret_line(const char *path, char **out, struct cmx_why *why)
{
    size_t len = 0, line;
    char *text = NULL;
    cmx_err err = cmx_file_read(path, SECRET_LINE_MAX, true, &text, &len, why);

    if (err)
        return err;
    line = strcspn(text, "\r\n");
    if (line == 0 || (line < len && text[line] == 0)) {
        cmx_mem_free_secret(text);
        return cmx_why_fail(why, CMX_EFORMAT, "%s", line ? "a NUL byte in the first line" : "its first line is empty");
    }
    text[line] = 0;
    *out = text;
    return CMX_OK;
}

cmx_err cmx_file_check_secret(const char *path, struct cmx_why *why)
{
    int fd;
    cmx_err err = open_checked(path, SECRET_FILE_MAX, true, &fd, why);

    if (!err)
        close(fd);
    return err;
}

ssize_t cmx_file_read_begin(int folder, const char *name, char *out, size_t cap)
{
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t n = fd >= 0 ? read(fd, out, cap - 1) : -1;
    const int number = errno;

    if (fd >= 0)
        close(fd);
    out[n > 0 ? n : 0] = '\0';
    errno = number;
    return n;
}

FILE *cmx_file_open(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    FILE *f = NULL;

    if (fd < 0)
        return NULL;
    if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
        errno = EISDIR;
    else if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK) == 0)
        f = fdopen(fd, "re");
    if (!f) {
        int number = errno;

        close(fd);
        errno = number;
    }
    return f;
}

static cmx_err read_named(const char *path, size_t max, bool is_text, char **out, size_t *len, struct cmx_why *why)
{
    FILE *f = strcmp(path, "-") == 0 ? stdin : cmx_file_open(path);
    const int number = errno;

    return f ? read_all(f, max, is_text, out, len, why)
             : cmx_why_fail(why, cmx_file_error(number), "%s", strerror(number));
}

cmx_err cmx_file_read_any(const char *path, size_t max, char **out, size_t *len, struct cmx_why *why)
{
    return read_named(path, max, false, out, len, why);
}

cmx_err cmx_file_read_text(const char *path, size_t max, char **out, size_t *len, struct cmx_why *why)
{
    return read_named(path, max, true, out, len, why);
}
