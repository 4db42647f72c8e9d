#include "cli/gateway/gw.h"

#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cmxsafe/core/text.h"

void gw_find_dir(struct gw *g, const struct gw_common *c)
{
    const char *env = getenv("CMXSAFE_GATEWAY");
    const char *home = getenv("HOME");
    char cwd[GW_PATH_MAX / 2];

    memset(g, 0, sizeof *g);
    if (!c->dir && env && env[0])
        snprintf(g->dir, sizeof g->dir, "%s", env);
    else if (c->dir && c->dir[0] == '/')
        snprintf(g->dir, sizeof g->dir, "%s", c->dir);
    else if (c->dir && getcwd(cwd, sizeof cwd))
        snprintf(g->dir, sizeof g->dir, "%s/%.1900s", cwd, c->dir);
    else if (geteuid() == 0 || !home)
        snprintf(g->dir, sizeof g->dir, "%s", GW_SYSTEM_DIR);
    else
        snprintf(g->dir, sizeof g->dir, "%.3800s/.local/share/cmxsafe/gateway", home);
    for (size_t n = strlen(g->dir); n > 1 && g->dir[n - 1] == '/'; n--)
        g->dir[n - 1] = '\0';
}

const char *gw_path(const struct gw *g, const char *name, char out[GW_PATH_MAX])
{
    snprintf(out, GW_PATH_MAX, "%s/%.60s", g->dir, name);
    return out;
}

const char *gw_inside_dir(const struct gw *g)
{
    return g->user ? GW_INSIDE_DIR : g->dir;
}

int gw_fail(const char *what, const struct gw_error *e)
{
    return cli_fail(what, e->why, e->todo[0] ? e->todo : NULL);
}

static cmx_err load_port(struct gw *g, struct gw_error *e)
{
    const char *colon = strrchr(g->listen, ':');
    uint64_t port;

    if (!colon || cmx_text_u64(colon + 1, 1, 65535, &port))
        return gw_error_set(e, CMX_EFORMAT, "run 'cmxsafe gateway init' again", "the registry holds no listening port");
    g->port = (uint16_t)port;
    return CMX_OK;
}

cmx_err gw_load(struct gw *g, struct gw_error *e)
{
    struct gw_registry *r = &g->registry;
    char mode[16];
    char simple[8];
    cmx_err err = gw_meta_get(r, "mode", mode, sizeof mode);

    if (err || gw_meta_get(r, "domain", g->domain, sizeof g->domain) ||
        gw_meta_get(r, "account", g->account, sizeof g->account) ||
        gw_meta_get(r, "listen", g->listen, sizeof g->listen) || gw_meta_get(r, "host", g->host, sizeof g->host) ||
        gw_meta_get(r, "simple", simple, sizeof simple))
        return gw_error_set(e, CMX_EFORMAT, "run 'cmxsafe gateway init' again",
                            "the registry lacks the gateway's settings");
    g->user = strcmp(mode, "user") == 0;
    g->simple = strcmp(simple, "1") == 0;
    if (!g->simple) {
        if (gw_meta_get(r, "fleet", g->fleet_text, sizeof g->fleet_text))
            return gw_error_set(e, CMX_EFORMAT, "run 'cmxsafe gateway init' again",
                                "the registry lacks the fleet's prefix");
        err = gw_fleet_parse(&g->fleet, g->fleet_text, e);
    }
    return err ? err : load_port(g, e);
}

/* Nobody named a folder, and it is the user's own. */
static bool is_own_default(const struct gw_common *c)
{
    const char *env = getenv("CMXSAFE_GATEWAY");

    return !c->dir && !(env && env[0]) && geteuid() != 0;
}

int gw_open(struct gw *g, const struct gw_common *c, bool write)
{
    struct gw_error e = {0};
    char path[GW_PATH_MAX];
    cmx_err err;

    gw_find_dir(g, c);
    err = gw_registry_open(&g->registry, gw_path(g, "registry.db", path), write, &e);
    /* A reader can't heal what an interrupted writer left; a writer does it by opening. */
    if (err == CMX_EBUSY && !write && access(path, W_OK) == 0)
        err = gw_registry_open(&g->registry, path, true, &e);
    if (!err)
        err = gw_load(g, &e);
    if (!err)
        return CLI_OK;
    gw_close(g);
    if (err == CMX_ENOENT && is_own_default(c) && access(GW_SYSTEM_DIR, F_OK) == 0)
        snprintf(e.todo, sizeof e.todo, "the system's gateway is root's: use sudo; one of your own: 'init --user'");
    return gw_fail("the gateway can't be opened", &e);
}

void gw_close(struct gw *g)
{
    gw_registry_close(&g->registry);
}

void gw_device_host(const struct gw *g, const struct gw_device *d, char out[GW_HOST_MAX])
{
    if (g->simple)
        snprintf(out, GW_HOST_MAX, "localhost");
    else
        snprintf(out, GW_HOST_MAX, "%.63s.%.63s", d->name, g->domain);
}

int gw_begin(struct gw *g, const struct gw_common *c, const char *what, struct gw_error *e)
{
    int status = gw_open(g, c, true);

    if (status == CLI_OK && gw_registry_begin(&g->registry, e)) {
        status = gw_fail(what, e);
        gw_close(g);
    }
    return status;
}

/* The registry is changed: what is written from it, and the live sessions, whatever became of the files. With no
 * gateway running there are none. */
static int gw_follow(struct gw *g, struct gw_error *e)
{
    struct gw_error now = {0};
    cmx_err err = gw_apply(g, e);

    if (gw_control(g, "reload", NULL, &now) == CMX_EPERM && !err) {
        err = CMX_EPERM;
        *e = now;
    }
    gw_close(g);
    if (!e->todo[0])
        snprintf(e->todo, sizeof e->todo, "mend that, then 'cmxsafe gateway init'");
    return err ? gw_fail("the registry is changed, but not all that follows from it", e) : CLI_OK;
}

int gw_finish(struct gw *g, const struct gw_common *c, const char *what, cmx_err err, struct gw_error *e)
{
    if (err || c->dry_run)
        gw_registry_rollback(&g->registry);
    else
        err = gw_registry_commit(&g->registry, e);
    if (!err && !c->dry_run)
        return gw_follow(g, e);
    gw_close(g);
    return err ? gw_fail(what, e) : CLI_OK;
}

void gw_json_string(FILE *f, const char *s)
{
    fputc('"', f);
    for (; *s; s++) {
        if (*s == '"' || *s == '\\')
            fprintf(f, "\\%c", *s);
        else if ((unsigned char)*s < 0x20)
            fprintf(f, "\\u%04x", (unsigned)(unsigned char)*s);
        else
            fputc(*s, f);
    }
    fputc('"', f);
}

void gw_json_text(FILE *f, bool first, const char *key, const char *value)
{
    fprintf(f, "%s\"%s\":", first ? "" : ",", key);
    gw_json_string(f, value);
}

void gw_json_number(FILE *f, bool first, const char *key, int64_t value)
{
    fprintf(f, "%s\"%s\":%lld", first ? "" : ",", key, (long long)value);
}

void gw_json_device(FILE *f, const struct gw *g, const struct gw_device *d)
{
    char host[GW_HOST_MAX];

    gw_device_host(g, d, host);
    fputc('{', f);
    gw_json_text(f, true, "name", d->name);
    gw_json_text(f, false, "host", host);
    gw_json_text(f, false, "address", d->address);
    gw_json_text(f, false, "group", d->team);
    gw_json_text(f, false, "key", d->fingerprint);
    gw_json_text(f, false, "type", d->key_type);
    fprintf(f, ",\"ports\":[");
    for (size_t i = 0; i < d->n_ports; i++)
        fprintf(f, "%s%u", i ? "," : "", d->ports[i]);
    fprintf(f, "],\"opens\":[");
    for (size_t i = 0; i < d->n_directs; i++) {
        fputs(i ? "," : "", f);
        fputc('{', f);
        gw_json_text(f, true, "host", d->directs[i].host);
        gw_json_number(f, false, "port", d->directs[i].port);
        fputc('}', f);
    }
    fputc(']', f);
    gw_json_number(f, false, "enrolled", d->enrolled);
    gw_json_number(f, false, "revoked", d->revoked);
    fputc('}', f);
}

const char *gw_time_text(int64_t at, char out[32])
{
    time_t t = (time_t)at;
    struct tm tm;

    if (at == 0 || !gmtime_r(&t, &tm) || strftime(out, 32, "%Y-%m-%d %H:%M:%SZ", &tm) == 0)
        snprintf(out, 32, "-");
    return out;
}

const char *gw_outcome_text(gw_outcome o)
{
    static const char *const words[] = {"unchanged", "added", "changed"};
    return words[o];
}

const char *gw_dry_text(const struct gw_common *c)
{
    return c->dry_run ? " (dry run)" : "";
}

void gw_json_outcome(const struct gw_common *c, gw_outcome o)
{
    printf("{\"outcome\":\"%s\"%s}\n", gw_outcome_text(o), c->dry_run ? ",\"dry_run\":true" : "");
}
