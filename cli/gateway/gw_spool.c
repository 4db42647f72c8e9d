#include "cli/gateway/gw_spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "port/linux/file_read.h"

static cmx_err spool_copy(FILE *out, int in, const struct gw_spool_source *from, struct cmx_why *e)
{
    static char buf[65536];
    const uint64_t most = from->exactly ? from->exactly : from->most;
    uint64_t total = 0;
    ssize_t n;

    while ((n = read(in, buf, sizeof buf)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return cmx_why_fail(e, CMX_EIO, "%s", strerror(errno));
        total += (uint64_t)n;
        if (total > most)
            return cmx_why_fail(e, CMX_ENOSPC, "it has more than %llu bytes", (unsigned long long)most);
        if (fwrite(buf, 1, (size_t)n, out) != (size_t)n)
            return cmx_why_fail(e, CMX_EIO, "can't write to the gateway's folder (%s)", strerror(errno));
        if (from->progress)
            from->progress(total, from->exactly);
    }
    if (from->exactly && total != from->exactly)
        return cmx_why_fail(e, CMX_ETRUNC, "%llu of %llu bytes arrived; send it again", (unsigned long long)total,
                            (unsigned long long)from->exactly);
    return fflush(out) == 0 ? CMX_OK
                            : cmx_why_fail(e, CMX_EIO, "can't write to the gateway's folder (%s)", strerror(errno));
}

static cmx_err spool_create(struct gw_spool *s, const struct gw *g, struct cmx_why *e)
{
    char path[GW_PATH_MAX];
    int fd;

    gw_path(g, ".image-XXXXXX", path);
    fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0 || unlink(path) != 0) {
        cmx_err err = cmx_why_fail(e, CMX_EPERM, "%s: %s", g->dir, strerror(errno));

        if (fd >= 0)
            close(fd);
        return err;
    }
    s->f = fdopen(fd, "w+b");
    if (!s->f) {
        close(fd);
        return cmx_why_fail(e, CMX_ENOMEM, "out of memory");
    }
    snprintf(s->path, sizeof s->path, "/proc/self/fd/%d", fd);
    return CMX_OK;
}

cmx_err gw_spool_open(struct gw_spool *s, const struct gw *g, const struct gw_spool_source *from, struct cmx_why *e)
{
    FILE *in = strcmp(from->path, "-") == 0 ? stdin : cmx_file_open(from->path);
    int number = errno;
    cmx_err err;

    *s = (struct gw_spool){0};
    if (!in)
        return cmx_why_fail(e, number == ENOENT ? CMX_ENOENT : CMX_EIO, "%s", strerror(number));
    err = spool_create(s, g, e);
    if (!err)
        err = spool_copy(s->f, fileno(in), from, e);
    if (in != stdin)
        fclose(in);
    return err;
}

void gw_spool_close(struct gw_spool *s)
{
    if (s->f)
        fclose(s->f);
    *s = (struct gw_spool){0};
}
