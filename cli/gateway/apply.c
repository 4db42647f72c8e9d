/* After the registry changed: what is generated from it follows. */
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/gateway/gw.h"
#include "cmxsafe/core/mem.h"

typedef cmx_err (*generator)(FILE *f, struct gw *g, struct gw_error *e);

static cmx_err generate(struct gw *g, const char *name, generator fn, struct gw_error *e)
{
    char path[GW_PATH_MAX];
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    cmx_err err;

    if (!f)
        return gw_error_set(e, CMX_ENOMEM, NULL, "out of memory");
    err = fn(f, g, e);
    if (fclose(f) != 0 && !err)
        err = gw_error_set(e, CMX_ENOMEM, NULL, "out of memory");
    gw_path(g, name, path);
    if (!err)
        err = fn == gw_hosts ? gw_write_in_place(path, text, len, e) : gw_write_file(path, text, len, 0644, e);
    free(text); /* open_memstream's own */
    return err;
}

static cmx_err load_inside(struct gw *g, struct gw_error *e)
{
    char path[GW_PATH_MAX];
    char *nft[] = {"nft", "-f", path, NULL};
    int status;

    snprintf(path, sizeof path, "%.4000s/fleet.nft", gw_inside_dir(g));
    status = gw_inside(g, -1, false, nft);
    if (status == 127) /* no gateway is up: it loads them when it comes up */
        return CMX_OK;
    return status == 0
               ? CMX_OK
               : gw_error_set(e, CMX_EPERM, "see above what nft says", "the packet filter's rules could not be loaded");
}

static cmx_err load_host(struct gw *g, struct gw_error *e)
{
    char path[GW_PATH_MAX];
    const char *nft[] = {"nft", "-f", gw_path(g, "host.nft", path), NULL};

    if (access("/sys/class/net/cmxsafe0", F_OK) != 0)
        return CMX_OK;
    return gw_run(false, nft)
               ? CMX_OK
               : gw_error_set(e, CMX_EPERM, "see above what nft says", "the host's rules could not be loaded");
}

#define BLOCK_BEGIN "# cmxsafe gateway: begin (written from the registry)\n"
#define BLOCK_END "# cmxsafe gateway: end\n"

/* Copies the system's hosts file without our block. */
static void copy_others(FILE *out)
{
    FILE *in = fopen("/etc/hosts", "re");
    char line[2048];
    bool ours = false;

    while (in && fgets(line, sizeof line, in)) {
        if (strcmp(line, BLOCK_BEGIN) == 0)
            ours = true;
        if (!ours)
            fputs(line, out);
        if (strcmp(line, BLOCK_END) == 0)
            ours = false;
    }
    if (in)
        fclose(in);
}

static cmx_err write_etc_hosts(struct gw *g, struct gw_error *e)
{
    char wanted[8];
    char *text = NULL;
    size_t len = 0;
    FILE *f;
    cmx_err err;

    if (gw_meta_get(&g->registry, "etc_hosts", wanted, sizeof wanted) || strcmp(wanted, "1") != 0)
        return CMX_OK;
    f = open_memstream(&text, &len);
    if (!f)
        return gw_error_set(e, CMX_ENOMEM, NULL, "out of memory");
    copy_others(f);
    fputs(BLOCK_BEGIN, f);
    err = gw_hosts(f, g, e);
    fputs(BLOCK_END, f);
    if (fclose(f) != 0 && !err)
        err = gw_error_set(e, CMX_ENOMEM, NULL, "out of memory");
    if (!err)
        err = gw_write_file("/etc/hosts", text, len, 0644, e);
    if (err == CMX_EBUSY) /* a container's is mounted: it can't be replaced, only written */
        err = gw_write_in_place("/etc/hosts", text, len, e);
    if (err && e)
        snprintf(e->todo, sizeof e->todo, "make it writable, or keep out of it: 'cmxsafe gateway init --no-etc-hosts'");
    free(text); /* open_memstream's own */
    return err;
}

static cmx_err apply_names(struct gw *g, struct gw_error *e)
{
    return generate(g, "hosts", gw_hosts, e);
}

static cmx_err apply_fleet(struct gw *g, struct gw_error *e)
{
    cmx_err err = g->simple ? CMX_OK : generate(g, "fleet.nft", gw_nft_fleet, e);

    return err || g->simple ? err : load_inside(g, e);
}

static cmx_err apply_host(struct gw *g, struct gw_error *e)
{
    cmx_err err;

    if (g->simple || g->user)
        return CMX_OK;
    err = generate(g, "host.nft", gw_nft_host, e);
    return err ? err : load_host(g, e);
}

static cmx_err apply_etc_hosts(struct gw *g, struct gw_error *e)
{
    return g->simple || g->user ? CMX_OK : write_etc_hosts(g, e);
}

cmx_err gw_apply(struct gw *g, struct gw_error *e)
{
    static cmx_err (*const steps[])(struct gw *, struct gw_error *) = {apply_names, apply_fleet, apply_host,
                                                                       apply_etc_hosts};
    cmx_err first = CMX_OK;

    for (size_t i = 0; i < GW_COUNT(steps); i++) {
        struct gw_error now = {0};
        cmx_err err = steps[i](g, &now);

        if (err && !first) {
            first = err;
            *e = now;
        }
    }
    return first;
}
