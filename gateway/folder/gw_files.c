#include "gateway/folder/gw_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "gateway/folder/gw_folder.h"
#include "port/linux/new_file.h"

#define TEMPORARY ".XXXXXX" /* the end of the names that cmx_file_temp_open and cmx_file_temp_keep choose */
#define TEMPORARY_AGE_S 60

/* Returns the cmx_err for errno. CMX_EBUSY: a mount point; CMX_EPERM: this process is not permitted to change the
 * folder or the file. */
static cmx_err write_error(void)
{
    switch (errno) {
    case EBUSY:
        return CMX_EBUSY;
    case EACCES:
    case EPERM:
    case EROFS:
        return CMX_EPERM;
    default:
        return CMX_EIO;
    }
}

/* Replaces path with a new file that has this mode and, unless owner is NULL, this owner. */
static cmx_err replace(const char *path, const char *text, size_t len, unsigned mode, const struct stat *owner,
                       struct cmx_why *e)
{
    char temp[CMX_NEW_FILE_PATH_MAX];
    int fd = cmx_file_temp_open(path, temp);
    cmx_err err;
    bool ok;

    if (fd < 0)
        return cmx_why_fail(e, write_error(), "can't write %s (%s); check the folder's permissions", path,
                            strerror(errno));
    ok = (!owner || fchown(fd, owner->st_uid, owner->st_gid) == 0) && fchmod(fd, mode) == 0 &&
         cmx_file_write_all(fd, text, len) && fsync(fd) == 0 && cmx_file_temp_keep(fd, temp, path);
    if (!ok) {
        err = write_error();
        cmx_why_set(e, "can't write %s (%s)", path, strerror(errno));
        cmx_file_temp_drop(temp);
    }
    close(fd);
    return ok ? CMX_OK : err;
}

cmx_err gw_file_write(const char *path, const char *text, size_t len, unsigned mode, struct cmx_why *e)
{
    return replace(path, text, len, mode, NULL, e);
}

/* Allocates disk space for the first len bytes, without changing the file's size or content. Also true if the file
 * system can't do this. */
static bool reserve(int fd, size_t len)
{
    return len == 0 || fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)len) == 0 || errno == EOPNOTSUPP || errno == ENOSYS;
}

cmx_err gw_file_write_in_place(const char *path, const char *text, size_t len, unsigned mode, struct cmx_why *e)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    bool ok = fd >= 0 && (mode == 0 || fchmod(fd, mode) == 0) && reserve(fd, len) &&
              cmx_file_write_all(fd, text, len) && ftruncate(fd, (off_t)len) == 0;

    if (fd >= 0)
        close(fd);
    return ok ? CMX_OK : cmx_why_fail(e, CMX_EIO, "can't write %s (%s)", path, strerror(errno));
}

cmx_err gw_file_rewrite(const char *path, const char *text, size_t len, struct cmx_why *e)
{
    char target[PATH_MAX]; /* the size that realpath requires */
    struct stat st;
    cmx_err err;

    if (!realpath(path, target) || stat(target, &st) != 0)
        return gw_file_write_in_place(path, text, len, 0644, e); /* path or its link's target does not exist */
    err = replace(target, text, len, st.st_mode & 07777, &st, e);
    /* A mount point, or a file in a folder that this process is not permitted to change, can't be replaced and is
     * overwritten. After other errors, such as a full disk, the old text stays. */
    return err == CMX_EBUSY || err == CMX_EPERM ? gw_file_write_in_place(target, text, len, 0, e) : err;
}

cmx_err gw_file_end_text(FILE *f, cmx_err err, struct cmx_why *e)
{
    if (!f || (fclose(f) != 0 && !err))
        err = CMX_ENOMEM;
    return err == CMX_ENOMEM ? cmx_why_fail(e, err, "out of memory") : err;
}

cmx_err gw_file_read(const char *path, char **text, size_t *len, struct cmx_why *e)
{
    char chunk[4096];
    FILE *in = fopen(path, "re");
    FILE *out = open_memstream(text, len);
    size_t n;
    bool ok = out && (in || errno == ENOENT);

    while (ok && in && (n = fread(chunk, 1, sizeof chunk, in)) > 0)
        ok = fwrite(chunk, 1, n, out) == n;
    ok = ok && (!in || !ferror(in));
    if (in)
        fclose(in);
    if (out && fclose(out) != 0)
        ok = false;
    return ok ? CMX_OK : cmx_why_fail(e, CMX_EIO, "can't read %s (%s)", path, strerror(errno));
}

static bool is_temporary_of(const char *file, const char *name)
{
    size_t len = strlen(name);

    return strncmp(file, name, len) == 0 && file[len] == '.' && strlen(file + len) == strlen(TEMPORARY) &&
           strspn(file + len + 1, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") ==
               strlen(TEMPORARY) - 1;
}

void gw_file_remove_temporary(const char *folder, const char *const names[], size_t n)
{
    DIR *dir = opendir(folder);
    const struct dirent *entry;
    struct stat st;

    while (dir && (entry = readdir(dir)) != NULL)
        for (size_t i = 0; i < n; i++)
            if (is_temporary_of(entry->d_name, names[i]) &&
                fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
                st.st_mtime < time(NULL) - TEMPORARY_AGE_S)
                (void)unlinkat(dirfd(dir), entry->d_name, 0); /* after a failure, the next call tries again */
    if (dir)
        closedir(dir);
}

cmx_err gw_file_mkdir(const char *path, unsigned mode, struct cmx_why *e)
{
    char part[GW_PATH_MAX];
    struct stat st;

    snprintf(part, sizeof part, "%s", path);
    for (char *slash = part + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        if (mkdir(part, 0755) == 0 ? chmod(part, 0755) != 0 : errno != EEXIST)
            return cmx_why_fail(e, CMX_EPERM, "can't make the folder %s (%s)", part, strerror(errno));
        *slash = '/';
    }
    if ((mkdir(path, mode) != 0 && (errno != EEXIST || stat(path, &st) != 0 || !S_ISDIR(st.st_mode))) ||
        chmod(path, mode) != 0)
        return cmx_why_fail(e, CMX_EPERM, "can't make the folder %s (%s)", path, strerror(errno));
    return CMX_OK;
}

bool gw_file_put(int dir, const char *path, const char *text)
{
    int fd = openat(dir, path, O_WRONLY | O_CLOEXEC);
    bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    int error = errno;

    if (fd >= 0)
        close(fd);
    errno = error;
    return ok;
}
