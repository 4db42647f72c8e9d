#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/gateway/gw_command.h"
#include "cli/gateway/gw_incident.h"
#include "cli/gateway/gw_install.h"
#include "cmxsafe/core/ip.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/proxy/originator.h"
#include "gateway/folder/gw_copy.h"
#include "gateway/registry/term.h"
#include "gateway/server/gw_apply.h"
#include "gateway/server/gw_network.h"
#include "gateway/shared/shared.h"
#include "port/linux/host_name.h"

static const char about[] =
    "Sets up a gateway: registry, host keys, the configuration of its own sshd, packet filter rules and, as "
    "root, an account and systemd units. Running it again changes only the settings that are given, and "
    "repairs modes, owners and generated files.\n\n--user needs no root: the gateway runs in your own user and network "
    "namespaces while 'cmxsafe gateway serve' runs. --simple sets up a small deployment: "
    "one server, ports on its loopback, no virtual addresses.";

#define PROXY_BITS_MIN 8u /* a prefix is at most as large as 10.0.0.0/8 and fd00::/8 */

struct init_job {
    struct gw_common common;
    const char *fleet, *prefix, *mac, *listen, *host, *domain, *registry, *stale_after, *offline_after, *proxies;
    bool user, simple, etc_hosts, no_etc_hosts;
};

/* Sets a key in table meta to the given value. given NULL: sets it to fallback if it has no value yet. */
static cmx_err settle(struct gw *g, const char *key, const char *given, const char *fallback, struct cmx_why *e)
{
    char old[GW_HOST_MAX];

    if (given)
        return gw_meta_set(&g->registry, key, given, e);
    if (gw_meta_get(&g->registry, key, old, sizeof old) == CMX_OK)
        return CMX_OK;
    return gw_meta_set(&g->registry, key, fallback, e);
}

static cmx_err settle_fleet(struct gw *g, const struct init_job *job, struct cmx_why *e)
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
        return cmx_why_fail(e, CMX_EEXIST,
                            "the fleet's prefix %s can't be changed, because it is part of the devices' addresses; set "
                            "up a new gateway in another folder",
                            old);
    return gw_meta_set(&g->registry, "fleet", text, e);
}

static cmx_err bad_listen(const char *text, struct cmx_why *e)
{
    return cmx_why_fail(e, CMX_EINVAL, "'%.60s' is not a listen address; give PORT, ADDRESS:PORT or [ADDRESS]:PORT",
                        text);
}

/* Converts "2222", "0.0.0.0:2222" or "[::]:2222" to the form for the socket's systemd unit. */
static cmx_err check_listen(const char *text, char out[GW_HOST_MAX], struct cmx_why *e)
{
    const char *colon = strrchr(text, ':');
    size_t len = colon ? (size_t)(colon - text) : 0;
    char host[GW_ADDRESS_MAX];
    struct cmx_ip address;
    uint8_t raw[CMX_IPV6_LEN];
    uint64_t port;
    bool brackets;

    if (cmx_text_u64(colon ? colon + 1 : text, 1, 65535, &port))
        return bad_listen(text, e);
    if (!colon) {
        snprintf(out, GW_HOST_MAX, "[::]:%u", (unsigned)port);
        return CMX_OK;
    }
    brackets = len > 2 && text[0] == '[' && text[len - 1] == ']';
    len -= brackets ? 2 : 0;
    if (len >= sizeof host)
        return bad_listen(text, e);
    memcpy(host, text + brackets, len);
    host[len] = '\0';
    if (!brackets && inet_pton(AF_INET, host, raw) == 1) {
        snprintf(out, GW_HOST_MAX, "%s:%u", host, (unsigned)port);
        cmx_ip_v4(&address, raw);
    } else if (brackets && inet_pton(AF_INET6, host, raw) == 1) {
        snprintf(out, GW_HOST_MAX, "[%s]:%u", inet_ntop(AF_INET6, raw, host, sizeof host), (unsigned)port);
        cmx_ip_v6(&address, raw);
    } else {
        return bad_listen(text, e);
    }
    return cmx_ip_is_multicast(&address) || cmx_ip_is_link_local6(&address)
               ? cmx_why_fail(
                     e, CMX_EINVAL,
                     "no gateway can listen on '%.60s', a multicast or link-local address; give another one, or "
                     "only a port for all addresses",
                     text)
               : CMX_OK;
}

static cmx_err settle_listen(struct gw *g, const struct init_job *job, struct cmx_why *e)
{
    char listen[GW_HOST_MAX];
    cmx_err err = check_listen(job->listen ? job->listen : "2222", listen, e);

    return err ? err : settle(g, "listen", job->listen ? listen : NULL, listen, e);
}

/* Chooses a prefix, outside the fleet's own, for the link between the host and the fleet's namespace. Keeps a prefix
 * that was chosen before. */
static cmx_err settle_link(struct gw *g, const struct init_job *job, struct cmx_why *e)
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

static cmx_err check_mode(struct gw *g, const struct init_job *job, struct cmx_why *e)
{
    char mode[16];
    char simple[8];

    if (gw_meta_get(&g->registry, "mode", mode, sizeof mode) ||
        gw_meta_get(&g->registry, "simple", simple, sizeof simple))
        return CMX_OK;
    if ((strcmp(mode, "user") == 0) != job->user || (strcmp(simple, "1") == 0) != job->simple)
        return cmx_why_fail(
            e, CMX_EEXIST,
            "this folder holds a gateway set up with%s%s%s; give the same options again, or another --dir",
            strcmp(mode, "user") == 0 ? " --user" : "", strcmp(simple, "1") == 0 ? " --simple" : "",
            strcmp(mode, "user") && strcmp(simple, "1") ? "out --user and --simple" : "");
    return CMX_OK;
}

/* Checks --host, which is written into devices' configurations. */
static cmx_err check_host(const char *host, struct cmx_why *e)
{
    const char *fault = strlen(host) >= GW_HOST_MAX ? "is too long" : cmx_host_gateway_fault(host);

    if (!fault && strchr("-[", host[0]))
        fault = "is not a host name or address";
    return fault ? cmx_why_fail(e, CMX_EINVAL, "--host '%.60s' %s; give the name or address that devices connect to",
                                host, fault)
                 : CMX_OK;
}

/* Checks --domain, in which programs look up the devices' names. */
static cmx_err check_domain(const char *domain, struct cmx_why *e)
{
    /* RFC 6761 and RFC 7686: programs answer names in these domains themselves, or refuse them */
    static const char *const special[] = {"localhost", "invalid", "onion"};
    char host[GW_HOST_MAX];
    cmx_err err = gw_registry_name_check(domain, e);
    bool bad = false;

    for (size_t i = 0; i < GW_COUNT(special); i++)
        bad = bad || strcmp(domain, special[i]) == 0;
    snprintf(host, sizeof host, "name.%.63s", domain);
    if (!err && (bad || cmx_host_fault(host)))
        err = cmx_why_fail(e, CMX_EINVAL,
                           "--domain '%s': programs would not look up names such as cam-17.%s; give another domain, "
                           "such as cmx",
                           domain, domain);
    return err;
}

/* Stores a length of time such as "10m". given NULL: changes nothing. Fails if the time is shorter than least_s
 * seconds. Accepts "0" only if least_s is 0. */
static cmx_err settle_length(struct gw *g, const char *option, const char *key, const char *given, int64_t least_s,
                             struct cmx_why *e)
{
    char text[24];
    int64_t seconds = 0;
    cmx_err err = CMX_OK;

    if (!given)
        return CMX_OK;
    if (least_s || strcmp(given, "0") != 0)
        err = gw_term_parse_length(given, &seconds, e);
    if (!err && seconds < least_s)
        err = cmx_why_fail(e, CMX_EINVAL, "--%s must be at least %lld seconds", option, (long long)least_s);
    if (err)
        return err;
    snprintf(text, sizeof text, "%lld", (long long)seconds);
    return gw_meta_set(&g->registry, key, text, e);
}

/* True if a bit after the prefix is set, as in "10.0.0.1/8": the operator may have meant 10.0.0.1 or 10.0.0.0/8. */
static bool has_host_bits(const struct cmx_ip *ip, uint32_t bits)
{
    for (uint32_t i = bits + (cmx_ip_is_v4(ip) ? 96 : 0); i < 128; i++)
        if (((const uint8_t *)ip->w)[i / 8] & 0x80 >> i % 8)
            return true;
    return false;
}

/* The list may name only load balancers: a source in it may claim any source address for its connections. */
static cmx_err check_proxies(const char *list, struct cmx_why *e)
{
    static const char between[] = ", \t";
    size_t len;

    if (strlen(list) >= GW_PROXIES_MAX || cmx_originator_check_list(list) != CMX_OK)
        return cmx_why_fail(e, CMX_EINVAL,
                            "--proxy-protocol '%.60s': give the load balancers' addresses or prefixes, separated by "
                            "commas, or none",
                            list);
    for (const char *at = list + strspn(list, between); *at; at += len + strspn(at + len, between)) {
        struct cmx_ip ip;
        uint32_t bits;

        len = strcspn(at, between);
        if (!cmx_ip_parse_prefix(&ip, &bits, at, len) || bits < PROXY_BITS_MIN || cmx_ip_is_multicast(&ip) ||
            cmx_ip_is_any(&ip))
            return cmx_why_fail(e, CMX_EINVAL,
                                "--proxy-protocol '%.*s' is not the address of a load balancer, or has less than %u "
                                "bits: a client that connects from it may claim any source address; name only the load "
                                "balancers",
                                (int)len, at, PROXY_BITS_MIN);
        if (has_host_bits(&ip, bits))
            return cmx_why_fail(
                e, CMX_EINVAL,
                "--proxy-protocol '%.*s': the prefix has host bits; give one address, or a network such "
                "as 10.0.0.0/8",
                (int)len, at);
    }
    return CMX_OK;
}

static cmx_err settle_proxies(struct gw *g, const struct init_job *job, struct cmx_why *e)
{
    const bool none = job->proxies && strcmp(job->proxies, "none") == 0;
    cmx_err err = job->proxies && !none ? check_proxies(job->proxies, e) : CMX_OK;

    return err || !job->proxies ? err : gw_meta_set(&g->registry, "proxy_protocol", none ? "" : job->proxies, e);
}

static bool settle_all(struct gw *g, const struct init_job *job, struct cmx_why *e)
{
    char host[GW_HOST_MAX];
    const bool no_etc_hosts = job->no_etc_hosts || job->user || job->simple;
    const struct {
        const char *key, *given, *fallback;
    } settings[] = {
        {"mode", job->user ? "user" : "system", ""},
        {"simple", job->simple ? "1" : "0", ""},
        {"domain", job->domain, "cmx"},
        {"account", GW_ACCOUNT, ""},
        {"host", job->host, host},
        {"etc_hosts",
         no_etc_hosts     ? "0"
         : job->etc_hosts ? "1"
                          : NULL,
         "1"},
    };
    bool failed = check_mode(g, job, e) || (job->host && check_host(job->host, e)) ||
                  (job->domain && check_domain(job->domain, e));

    if (gethostname(host, sizeof host) != 0)
        snprintf(host, sizeof host, "localhost");
    host[sizeof host - 1] = '\0';
    for (size_t i = 0; !failed && i < GW_COUNT(settings); i++)
        failed = settle(g, settings[i].key, settings[i].given, settings[i].fallback, e);
    return !failed && !settle_fleet(g, job, e) && !settle_listen(g, job, e) &&
           !settle_length(g, "stale-after", "stale_after", job->stale_after, GW_STALE_AFTER_MIN_S, e) &&
           !settle_length(g, "offline-after", GW_AWAY_KEY, job->offline_after, 0, e) && !settle_proxies(g, job, e) &&
           !settle_link(g, job, e);
}

/* Opens the registry. If there is none, creates it; in a dry run, creates it in memory only. Locks the folder, except
 * in a dry run. Sets *created to true if it created the file. */
static cmx_err open_or_create(struct gw *g, const struct init_job *job, bool *created, struct cmx_why *e)
{
    char path[GW_PATH_MAX];
    cmx_err err;

    gw_path(g, "registry.db", path);
    if (job->common.dry_run && access(path, F_OK) != 0)
        return gw_registry_create(&g->registry, ":memory:", e);
    err = job->common.dry_run ? CMX_OK : gw_file_mkdir(g->dir, 0755, e);
    if (!err && !job->common.dry_run)
        err = gw_folder_lock(g, e);
    if (err)
        return err;
    *created = access(path, F_OK) != 0;
    return *created ? gw_registry_create(&g->registry, path, e) : gw_registry_open(&g->registry, path, true, e);
}

/* True if no earlier init of this gateway was completed. */
static bool is_fresh(struct gw *g)
{
    char mode[16];

    return gw_meta_get(&g->registry, "mode", mode, sizeof mode) == CMX_ENOENT;
}

/* Begins the transaction. If the registry is shared, this function connects to PostgreSQL only if the fleet's settings
 * or the registry's URL may change. So a gateway can be repaired while PostgreSQL can't be reached. */
static cmx_err begin_settings(struct gw *g, const struct init_job *job, bool fresh, struct cmx_why *e)
{
    struct gw_registry *r = &g->registry;
    char url[GW_REGISTRY_URL_MAX];
    bool shared = gw_copy_url(g, url)[0];
    cmx_err err;

    if (!shared && !job->registry)
        return gw_registry_begin(r, e);
    if (!shared && !fresh)
        return cmx_why_fail(e, CMX_EEXIST,
                            "this gateway has a registry of its own; move it with 'cmxsafe gateway migrate URL'");
    if (!shared)
        return gw_shared_found(r, job->registry, true, e);
    if (!job->registry && !job->domain && !job->fleet)
        return gw_registry_begin_own(r, e);
    err = gw_shared_attach(r, job->registry ? job->registry : url, e);
    if (err)
        return err;
    if (job->registry)
        gw_shared_trust_url(r);
    err = gw_registry_begin(r, e);
    return err || !job->registry ? err : gw_meta_set(r, "registry", job->registry, e);
}

static int finish(struct gw *g, const struct init_job *job, bool fresh, bool created, struct cmx_why *e)
{
    char path[GW_PATH_MAX];
    bool confirmed = g->registry.sharing && (fresh || job->registry);
    cmx_err err = gw_registry_commit(&g->registry, e);

    if (err && created)
        unlink(gw_path(g, "registry.db", path)); /* removes the incomplete gateway */
    if (err || (confirmed && gw_copy_confirm(g, e)) || !gw_install(g, e) || gw_apply_change(g, NULL, e)) {
        gw_registry_rollback(&g->registry);
        gw_folder_close(g);
        return gw_fail("init failed", e);
    }
    /* If the network is up, configure it again: after an upgrade, it may still be the network of the former version. */
    if (!g->user && !g->simple && gw_apply_is_up(g) && gw_network_up(g) != EXIT_SUCCESS) {
        gw_folder_close(g);
        return CLI_FAILED;
    }
    gw_install_print(g, job->common.json, fresh ? "set up " : "updated ");
    if (!job->common.json && g->user && !g->simple)
        printf("--user mode: sessions have no identities; set up a system gateway if services must know their "
               "consumers\n");
    gw_folder_close(g);
    return CLI_OK;
}

static int print_dry(const struct init_job *job, const struct gw *g, gw_outcome o)
{
    if (job->common.json)
        gw_command_print_outcome(&job->common, o);
    else
        printf(o == GW_ADDED ? "would set up a gateway in %s\n" : "would set the gateway in %s up again\n", g->dir);
    return CLI_OK;
}

static int run(const struct init_job *job)
{
    struct cmx_why e = {0};
    struct gw g;
    char path[GW_PATH_MAX];
    bool created = false;
    bool failed = gw_folder_find(&g, job->common.dir, &e) || (!job->user && gw_path_check(g.dir, &e)) ||
                  open_or_create(&g, job, &created, &e);
    bool fresh = !failed && is_fresh(&g);

    if (failed || begin_settings(&g, job, fresh, &e) || !settle_all(&g, job, &e) || gw_folder_load(&g, &e)) {
        gw_registry_rollback(&g.registry);
        if (created)
            unlink(gw_path(&g, "registry.db", path)); /* removes the incomplete gateway */
        gw_folder_close(&g);
        return gw_fail("init failed", &e);
    }
    if (job->common.dry_run) {
        gw_registry_rollback(&g.registry);
        gw_folder_close(&g);
        return print_dry(job, &g, fresh ? GW_ADDED : GW_CHANGED);
    }
    return finish(&g, job, fresh, created, &e);
}

int gw_cmd_init(int argc, char **argv)
{
    struct init_job job = {0};
    const struct cli_option options[] = {
        GW_CHANGE_OPTIONS(job.common),
        CLI_FLAG("user", "run without root, in user and network namespaces of your own", &job.user),
        CLI_FLAG("simple", "a small deployment: ports on the loopback, no virtual addresses", &job.simple),
        CLI_TEXT("fleet", "PREFIX", "the devices' IPv6 prefix (default: a random unique local /48)", &job.fleet),
        CLI_TEXT("prefix", "HEX",
                 "the first two bytes of the fleet's prefix, such as fd00, as in published CMX-GWs; needs --mac",
                 &job.prefix),
        CLI_TEXT("mac", "MAC", "the gateway's MAC, which follows these two bytes in the fleet's prefix; needs --prefix",
                 &job.mac),
        CLI_TEXT("listen", "[ADDRESS:]PORT", "where devices connect (default 2222)", &job.listen),
        CLI_TEXT("proxy-protocol", "PREFIX[,PREFIX]",
                 "TCP load balancers that begin each connection with a PROXY header, version 2; none: turn this off",
                 &job.proxies),
        CLI_TEXT("host", "NAME", "the name by which devices connect to this gateway (default: the host name)",
                 &job.host),
        CLI_TEXT("domain", "NAME", "the devices' domain (default cmx: cam-17.cmx)", &job.domain),
        CLI_TEXT("offline-after", "LENGTH",
                 "report an event when a device has been away for this long (default 1h); 0: never",
                 &job.offline_after),
        CLI_FLAG("etc-hosts", "write the devices' names to /etc/hosts (default for a system gateway)", &job.etc_hosts),
        CLI_FLAG("no-etc-hosts", "keep the devices' names out of /etc/hosts; local consumers then use addresses",
                 &job.no_etc_hosts),
        CLI_TEXT("registry", "URL", "share the registry in PostgreSQL: postgresql://... (docs/SCALE_OUT.md)",
                 &job.registry),
        CLI_TEXT("stale-after", "TIME",
                 "with --registry: refuse all logins once PostgreSQL has not been reached for this long (default 1h)",
                 &job.stale_after),
    };
    struct cli_line line = CLI_LINE("cmxsafe gateway init", "", about, 0, 0, options);
    int status;

    if (cli_parse(&line, argc, argv, &status))
        return status;
    if (job.simple && (job.fleet || job.prefix))
        return cli_usage("cmxsafe gateway init", "--simple takes no --fleet or --prefix: it has no virtual addresses");
    if (job.etc_hosts && (job.no_etc_hosts || job.user || job.simple))
        return cli_usage("cmxsafe gateway init", "--etc-hosts excludes --no-etc-hosts, --user and --simple");
    if (job.simple && (job.registry || job.stale_after))
        return cli_usage("cmxsafe gateway init",
                         "--simple can't be used with --registry or --stale-after: it sets up one gateway");
    if (job.fleet && job.prefix)
        return cli_usage("cmxsafe gateway init", "give --fleet or --prefix, not both");
    if (!job.prefix != !job.mac)
        return cli_usage("cmxsafe gateway init", "give both --prefix and --mac, or neither");
    if (!job.user && geteuid() != 0)
        return cli_fail("init failed", "setting up a system gateway needs root", "use sudo, or --user");
    return run(&job);
}
