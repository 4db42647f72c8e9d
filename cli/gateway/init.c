#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/gateway/gw.h"
#include "cli/gateway/init.h"
#include "cmxsafe/core/text.h"

static const char about[] =
    "Sets up a gateway: its registry, host keys, the configuration of an sshd of its own, packet filter rules and (as "
    "root) a\n"
    "dedicated account and systemd units. Idempotent: again with other options changes those settings alone.\n"
    "--user needs no root: all of it lives in namespaces of your own while 'cmxsafe gateway serve' runs.\n"
    "--simple is the small deployment: one server, ports on its loopback, no virtual addresses.";

struct init_job {
    struct gw_common common;
    const char *fleet, *prefix, *mac, *listen, *host, *domain;
    bool user, simple, no_etc_hosts;
};

static int give_up(struct gw *g, struct gw_error *e)
{
    gw_registry_rollback(&g->registry);
    gw_close(g);
    return gw_fail("init failed", e);
}

/* Sets key to value when given, else to the default when it has none yet. */
static cmx_err settle(struct gw *g, const char *key, const char *given, const char *fallback, struct gw_error *e)
{
    char old[GW_HOST_MAX];

    if (given)
        return gw_meta_set(&g->registry, key, given, e);
    if (gw_meta_get(&g->registry, key, old, sizeof old) == CMX_OK)
        return CMX_OK;
    return gw_meta_set(&g->registry, key, fallback, e);
}

static cmx_err settle_fleet(struct gw *g, const struct init_job *job, struct gw_error *e)
{
    char old[GW_ADDRESS_MAX + 4];
    char text[GW_ADDRESS_MAX + 4];
    struct gw_fleet fleet;
    bool known = gw_meta_get(&g->registry, "fleet", old, sizeof old) == CMX_OK;
    cmx_err err;

    if (job->simple)
        return CMX_OK;
    if (known && !job->fleet && !job->prefix)
        return CMX_OK;
    err = job->prefix  ? gw_fleet_from_mac(&fleet, job->prefix, job->mac ? job->mac : "", e)
          : job->fleet ? gw_fleet_parse(&fleet, job->fleet, e)
                       : gw_fleet_random(&fleet, e);
    if (err)
        return err;
    gw_fleet_format(&fleet, text);
    if (known && strcmp(old, text) != 0)
        return gw_error_set(e, CMX_EEXIST, "set a new gateway up in another folder",
                            "the fleet's prefix is %s, and devices have their addresses in it", old);
    return gw_meta_set(&g->registry, "fleet", text, e);
}

/* "2222", "0.0.0.0:2222", "[::]:2222", in one form. */
static cmx_err check_listen(const char *text, char out[GW_HOST_MAX], struct gw_error *e)
{
    const char *colon = strrchr(text, ':');
    uint64_t port;

    if (cmx_text_u64(colon ? colon + 1 : text, 1, 65535, &port) || strlen(text) >= GW_HOST_MAX - 8 || colon == text)
        return gw_error_set(e, CMX_EINVAL, "give PORT, ADDRESS:PORT or [ADDRESS]:PORT",
                            "'%.60s' is not where to listen", text);
    snprintf(out, GW_HOST_MAX, "%s%s", colon ? "" : "[::]:", text);
    return CMX_OK;
}

static cmx_err settle_listen(struct gw *g, const struct init_job *job, struct gw_error *e)
{
    char listen[GW_HOST_MAX];
    cmx_err err = check_listen(job->listen ? job->listen : "2222", listen, e);

    return err ? err : settle(g, "listen", job->listen ? listen : NULL, listen, e);
}

/* The two ends of the system mode's link, outside the fleet. */
static cmx_err settle_link(struct gw *g, const struct init_job *job, struct gw_error *e)
{
    char old[GW_ADDRESS_MAX];
    char text[GW_ADDRESS_MAX + 4];
    struct gw_fleet link;
    cmx_err err;

    if (job->user || job->simple || gw_meta_get(&g->registry, "link", old, sizeof old) == CMX_OK)
        return CMX_OK;
    err = gw_fleet_random(&link, e);
    if (err)
        return err;
    gw_fleet_format(&link, text);
    *strchr(text, '/') = '\0';
    return gw_meta_set(&g->registry, "link", text, e);
}

static cmx_err check_mode(struct gw *g, const struct init_job *job, struct gw_error *e)
{
    char mode[16];
    char simple[8];

    if (gw_meta_get(&g->registry, "mode", mode, sizeof mode) ||
        gw_meta_get(&g->registry, "simple", simple, sizeof simple))
        return CMX_OK;
    if ((strcmp(mode, "user") == 0) != job->user || (strcmp(simple, "1") == 0) != job->simple)
        return gw_error_set(e, CMX_EEXIST, "name the same again, or another --dir",
                            "this folder holds a gateway set up with%s%s%s", strcmp(mode, "user") == 0 ? " --user" : "",
                            strcmp(simple, "1") == 0 ? " --simple" : "",
                            strcmp(mode, "user") && strcmp(simple, "1") ? "out --user and --simple" : "");
    return CMX_OK;
}

static cmx_err settle_all(struct gw *g, const struct init_job *job, struct gw_error *e)
{
    char host[GW_HOST_MAX];
    cmx_err err = check_mode(g, job, e);

    if (gethostname(host, sizeof host) != 0)
        snprintf(host, sizeof host, "localhost");
    host[sizeof host - 1] = '\0';
    if (!err && job->domain)
        err = gw_name_check(job->domain, e);
    if (!err)
        err = settle(g, "mode", job->user ? "user" : "system", "", e);
    if (!err)
        err = settle(g, "simple", job->simple ? "1" : "0", "", e);
    if (!err)
        err = settle(g, "domain", job->domain, "cmx", e);
    if (!err)
        err = settle(g, "account", GW_ACCOUNT, "", e);
    if (!err)
        err = settle(g, "host", job->host, host, e);
    if (!err)
        err = settle(g, "etc_hosts", job->no_etc_hosts || job->user || job->simple ? "0" : NULL, "1", e);
    if (!err)
        err = settle_fleet(g, job, e);
    if (!err)
        err = settle_listen(g, job, e);
    return err ? err : settle_link(g, job, e);
}

static cmx_err open_or_create(struct gw *g, const struct init_job *job, struct gw_error *e)
{
    char path[GW_PATH_MAX];
    cmx_err err;

    gw_path(g, "registry.db", path);
    if (access(path, F_OK) == 0)
        return gw_registry_open(&g->registry, path, true, e);
    if (job->common.dry_run)
        return gw_registry_create(&g->registry, ":memory:", e);
    err = gw_mkdir(g->dir, 0755, e);
    return err ? err : gw_registry_create(&g->registry, path, e);
}

static int finish(struct gw *g, const struct init_job *job, bool fresh, struct gw_error *e)
{
    cmx_err err = gw_registry_commit(&g->registry, e);

    if (!err)
        err = gw_install(g, e);
    if (!err)
        err = gw_apply(g, e);
    if (err)
        return give_up(g, e);
    gw_print_init(g, job->common.json, fresh ? "set up " : "updated ");
    gw_close(g);
    return CLI_OK;
}

static int print_dry(const struct init_job *job, const struct gw *g, gw_outcome o)
{
    if (job->common.json)
        gw_json_outcome(&job->common, o);
    else
        printf(o == GW_ADDED ? "would set up a gateway in %s\n" : "would set the gateway in %s up again\n", g->dir);
    return CLI_OK;
}

static int run(const struct init_job *job)
{
    struct gw_error e = {0};
    struct gw g;
    char path[GW_PATH_MAX];
    bool fresh;
    cmx_err err;

    gw_find_dir(&g, &job->common);
    fresh = access(gw_path(&g, "registry.db", path), F_OK) != 0;
    err = open_or_create(&g, job, &e);
    if (!err)
        err = gw_registry_begin(&g.registry, &e);
    if (!err)
        err = settle_all(&g, job, &e);
    if (!err)
        err = gw_load(&g, &e);
    if (err) {
        gw_registry_rollback(&g.registry);
        gw_close(&g);
        if (fresh && !job->common.dry_run)
            unlink(path); /* half a gateway is none */
        return gw_fail("init failed", &e);
    }
    if (job->common.dry_run) {
        gw_registry_rollback(&g.registry);
        gw_close(&g);
        return print_dry(job, &g, fresh ? GW_ADDED : GW_CHANGED);
    }
    return finish(&g, job, fresh, &e);
}

int gw_cmd_init(int argc, char **argv)
{
    struct init_job job = {0};
    const struct gw_option options[] = {
        GW_DIR_OPTION(job.common),
        {"user", NULL, "no root: user and network namespaces of your own", &job.user},
        {"simple", NULL, "small deployment: loopback ports, no virtual addresses", &job.simple},
        {"fleet", "PREFIX", "the devices' IPv6 prefix (default: a random unique local /48)", &job.fleet},
        {"prefix", "HEX", "published CMX-GW form: the first two bytes, such as fd00; with --mac", &job.prefix},
        {"mac", "MAC", "published CMX-GW form: the gateway's MAC", &job.mac},
        {"listen", "[ADDRESS:]PORT", "where devices connect (default 2222)", &job.listen},
        {"host", "NAME", "what devices call this gateway (default: the host name)", &job.host},
        {"domain", "NAME", "the devices' domain (default cmx: cam-17.cmx)", &job.domain},
        {"no-etc-hosts", NULL, "keep the devices' names out of /etc/hosts (platforms then use addresses)",
         &job.no_etc_hosts},
        GW_JSON_OPTION(job.common),
        GW_DRY_RUN_OPTION(job.common),
    };
    struct gw_command_line line = {
        .command = "init", .operands = "", .about = about, .options = options, .n_options = GW_COUNT(options)};
    int status;

    if (gw_args(&line, argc, argv, &status))
        return status;
    if (job.simple && (job.fleet || job.prefix))
        return cli_usage("cmxsafe gateway init", "--simple has no fleet prefix");
    if (!job.prefix != !job.mac)
        return cli_usage("cmxsafe gateway init", "--prefix and --mac go together");
    if (!job.user && geteuid() != 0)
        return cli_fail("init failed", "setting up a system gateway needs root", "use sudo, or --user");
    return run(&job);
}
