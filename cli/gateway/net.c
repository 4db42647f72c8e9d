/* The fleet's network: what the kernel has to be told so that a stock sshd can listen on any device's address. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/gateway/serve.h"

static cmx_err set_sysctl(const char *path, const char *value, struct gw_error *e)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool ok = fd >= 0 && write(fd, value, strlen(value)) == (ssize_t)strlen(value);

    if (!ok)
        gw_error_set(e, CMX_EPERM, "see whether /proc/sys is writable here", "can't set %s (%s)", path,
                     strerror(errno));
    if (fd >= 0)
        close(fd);
    return ok ? CMX_OK : CMX_EPERM;
}

cmx_err gw_net_configure(struct gw *g, struct gw_error *e)
{
    char rules[GW_PATH_MAX];
    const char *up[] = {"ip", "link", "set", "lo", "up", NULL};
    const char *route[] = {"ip", "-6", "route", "replace", "local", g->fleet_text, "dev", "lo", NULL};
    const char *nft[] = {"nft", "-f", gw_path(g, "fleet.nft", rules), NULL};
    cmx_err err;

    if (!gw_run(false, up) || !gw_run(false, route))
        return gw_error_set(e, CMX_EPERM, "install iproute2; see whether IPv6 is on",
                            "the route of %s could not be set", g->fleet_text);
    err = set_sysctl("/proc/sys/net/ipv6/ip_nonlocal_bind", "1", e);
    if (!err)
        err = set_sysctl("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0", e);
    if (!err && !gw_run(false, nft))
        err = gw_error_set(e, CMX_EPERM, "install nftables", "the packet filter's rules could not be loaded");
    return err;
}

/* ---- the system mode's namespace ---- */

static bool netns_exists(void)
{
    return access("/run/netns/" GW_NETNS, F_OK) == 0;
}

static bool in_netns(const char *const argv[])
{
    const char *all[16] = {"ip", "netns", "exec", GW_NETNS};
    size_t n = 4;

    while (*argv && n < 15)
        all[n++] = *argv++;
    all[n] = NULL;
    return gw_run(false, all);
}

static bool make_link(const char *link)
{
    char host[GW_ADDRESS_MAX + 8];
    char inside[GW_ADDRESS_MAX + 8];
    const char *add[] = {"ip",   "link", "add",      "cmxsafe0", "type",   "veth",
                         "peer", "name", "cmxsafe1", "netns",    GW_NETNS, NULL};
    const char *address[] = {"ip", "-6", "address", "replace", host, "dev", "cmxsafe0", "nodad", NULL};
    const char *up[] = {"ip", "link", "set", "cmxsafe0", "up", NULL};
    const char *address_in[] = {"ip", "-6", "address", "replace", inside, "dev", "cmxsafe1", "nodad", NULL};
    const char *up_in[] = {"ip", "link", "set", "cmxsafe1", "up", NULL};

    snprintf(host, sizeof host, "%s1/64", link);
    snprintf(inside, sizeof inside, "%s2/64", link);
    if (access("/sys/class/net/cmxsafe0", F_OK) != 0 && !gw_run(false, add))
        return false;
    return gw_run(false, address) && gw_run(false, up) && in_netns(address_in) && in_netns(up_in);
}

static bool lead_into(const struct gw *g, const char *link)
{
    char via[GW_ADDRESS_MAX + 4];
    const char *route[] = {"ip", "-6", "route", "replace", g->fleet_text, "via", via, "dev", "cmxsafe0", NULL};

    snprintf(via, sizeof via, "%s2", link);
    return gw_run(false, route);
}

static int net_up(struct gw *g, struct gw_error *e)
{
    char link[GW_ADDRESS_MAX];
    char rules[GW_PATH_MAX];
    char program[GW_PATH_MAX];
    const char *add[] = {"ip", "netns", "add", GW_NETNS, NULL};
    const char *configure[] = {program, "gateway", "net", "inside", "--dir", g->dir, NULL};
    const char *host_rules[] = {"nft", "-f", gw_path(g, "host.nft", rules), NULL};
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);

    if (n <= 0 || gw_meta_get(&g->registry, "link", link, sizeof link))
        return cli_fail("net up failed", "the registry lacks the link's addresses", "run 'cmxsafe gateway init' again");
    program[n] = '\0';
    /* Written anew: a cgroup that has a grant may have gone since, and nft would load nothing of a file that names it.
     */
    if (gw_apply(g, e))
        return gw_fail("net up failed", e);
    /* The rules come first: nothing is reachable before it is filtered. */
    if (!netns_exists() && !gw_run(false, add))
        return cli_fail("net up failed", "the network namespace can't be made", "run it as root; install iproute2");
    if (!in_netns(configure))
        return cli_fail("net up failed", "the namespace can't be configured", "see above");
    if (!gw_run(false, host_rules))
        return cli_fail("net up failed", "nft does not load host.nft", "install nftables");
    if (!make_link(link) || !lead_into(g, link))
        return cli_fail("net up failed", "the link into the namespace can't be made", "see above what ip says");
    return CLI_OK;
}

static int net_down(void)
{
    const char *link[] = {"ip", "link", "delete", "cmxsafe0", NULL};
    const char *netns[] = {"ip", "netns", "delete", GW_NETNS, NULL};
    const char *table[] = {"nft", "delete", "table", "inet", "cmxsafe_host", NULL};

    (void)gw_run(true, link); /* what is gone already is as it should be */
    (void)gw_run(true, table);
    return !netns_exists() || gw_run(false, netns) ? CLI_OK : CLI_FAILED;
}

static const char about[] = "The system gateway's network: a namespace of its own, the fleet's route, the link from "
                            "the host and its filter. The\n"
                            "systemd units run it: 'up' and 'down'; 'heal' (before the gateway starts) finishes an "
                            "interrupted registry write;\n"
                            "'inside' configures the namespace that it is run in. 'rules' writes and loads the rules "
                            "anew: for units with a\n"
                            "grant by cgroup (ExecStartPre=+), which is another one after each start.";

int gw_cmd_net(int argc, char **argv)
{
    struct gw_common c = {0};
    const struct gw_option options[] = {GW_DIR_OPTION(c)};
    struct gw_command_line line = GW_COMMAND_LINE("net", "up|down|inside|heal|rules", about, 1, 1, options);
    struct gw_error e = {0};
    struct gw g;
    int status;
    const char *verb;

    if (gw_args(&line, argc, argv, &status))
        return status;
    verb = line.operand[0];
    if (strcmp(verb, "up") && strcmp(verb, "down") && strcmp(verb, "inside") && strcmp(verb, "heal") &&
        strcmp(verb, "rules"))
        return cli_usage("cmxsafe gateway net", "no '%s'", verb);
    if (gw_open(&g, &c, strcmp(verb, "heal") == 0))
        return CLI_FAILED;
    if (strcmp(verb, "heal") == 0)
        status = CLI_OK;
    else if (g.simple || g.user)
        status = cli_fail("net", "this gateway has no namespace of the system's", NULL);
    else if (strcmp(verb, "up") == 0)
        status = net_up(&g, &e);
    else if (strcmp(verb, "down") == 0)
        status = net_down();
    else if (strcmp(verb, "rules") == 0)
        status = gw_apply(&g, &e) ? gw_fail("the rules can't be loaded", &e) : CLI_OK;
    else
        status = gw_net_configure(&g, &e) ? gw_fail("the namespace can't be configured", &e) : CLI_OK;
    gw_close(&g);
    return status;
}
