#include "gateway/folder/gw_helper.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gateway/folder/gw_program.h"

static size_t prefix_len(const char *folder)
{
    const char *slash = strrchr(folder, '/');

    return slash ? (size_t)(slash - folder) : 0;
}

/* In a build tree, the helper is beside this program. If this program is installed as PREFIX/bin/cmxsafe, the helper is
 * in PREFIX/lib/cmxsafe. */
cmx_err gw_helper_source(char out[GW_PATH_MAX], struct cmx_why *e)
{
    char folder[GW_PATH_MAX - 48];
    ssize_t n = readlink("/proc/self/exe", folder, sizeof folder - 1);

    if (n > 0) {
        folder[n] = '\0';
        *strrchr(folder, '/') = '\0';
        snprintf(out, GW_PATH_MAX, "%s/cmxsafe-authkeys", folder);
        if (access(out, X_OK) == 0)
            return CMX_OK;
        snprintf(out, GW_PATH_MAX, "%.*s/lib/cmxsafe/cmxsafe-authkeys", (int)prefix_len(folder), folder);
        if (access(out, X_OK) == 0)
            return CMX_OK;
    }
    return cmx_why_fail(e, CMX_ENOENT,
                        "cmxsafe-authkeys is not installed with this program; install cmxsafe completely");
}

/* sshd runs an AuthorizedKeysCommand only if root owns the file and every folder above it, and no group or other user
 * may write to them. Like sshd, this resolves symbolic links first. */
static bool safe_for_sshd(const char *path)
{
    char part[GW_PATH_MAX]; /* the size that realpath requires */
    struct stat st;

    if (!realpath(path, part))
        return false;
    for (;;) {
        char *slash = strrchr(part, '/');
        if (stat(part, &st) != 0 || st.st_uid != 0 || (st.st_mode & 022))
            return false;
        if (slash == part)
            return stat("/", &st) == 0 && st.st_uid == 0 && !(st.st_mode & 022);
        *slash = '\0';
    }
}

static cmx_err copy_helper(const char *from, const char *to, struct cmx_why *e)
{
    const char *argv[] = {"install", "-m", "0755", from, to, NULL};

    return gw_program_run(false, argv) ? CMX_OK : cmx_why_fail(e, CMX_EIO, "can't copy the helper to %s", to);
}

cmx_err gw_helper_path(const struct gw *g, char out[GW_PATH_MAX], struct cmx_why *e)
{
    char source[GW_PATH_MAX];
    cmx_err err;

    if (g->user) {
        snprintf(out, GW_PATH_MAX, "/cmxsafe-authkeys"); /* the gateway copies the helper there when it starts */
        return CMX_OK;
    }
    err = gw_helper_source(source, e);
    if (err)
        return err;
    snprintf(out, GW_PATH_MAX, "%s", source);
    if (safe_for_sshd(source))
        return CMX_OK;
    gw_path(g, "cmxsafe-authkeys", out);
    err = copy_helper(source, out, e);
    if (err || safe_for_sshd(out))
        return err;
    return cmx_why_fail(
        e, CMX_EPERM,
        "sshd does not run the helper in %s: a user other than root owns this folder or one above it, or can write to "
        "it; use the default folder, or correct the owners and modes",
        g->dir);
}
