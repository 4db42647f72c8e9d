#include "gateway/server/gw_network.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gateway/folder/gw_fail.h"
#include "gateway/folder/gw_files.h"
#include "gateway/folder/gw_program.h"
#include "gateway/render/gw_nft.h"
#include "gateway/server/gw_links.h"
#include "gateway/server/gw_load.h"
#include "port/linux/child.h"

#define GW_LOCALS_PREF "1130"
#define IN_NETNS "ip -n " GW_NETNS " "

/* A namespace inherits disable_ipv6 from the machine, so IPv6 is turned on here. With fwmark_reflect, the packet
 * filter's resets are routed like the packets that they answer. gw_links.c sets the last two. */
static const struct {
    const char *path, *value;
} sysctls[GW_NETWORK_SYSCTLS] = {
    {"/proc/sys/net/ipv6/conf/all/disable_ipv6", "0"},      {"/proc/sys/net/ipv6/conf/default/disable_ipv6", "0"},
    {"/proc/sys/net/ipv6/conf/lo/disable_ipv6", "0"},       {"/proc/sys/net/ipv6/ip_nonlocal_bind", "1"},
    {"/proc/sys/net/ipv4/ip_unprivileged_port_start", "0"}, {"/proc/sys/net/ipv6/fwmark_reflect", "1"},
    {"/proc/sys/net/ipv6/conf/all/forwarding", NULL},       {"/proc/sys/net/ipv4/tcp_fwmark_accept", NULL},
};

static cmx_err set_sysctls(struct cmx_why *e)
{
    for (size_t i = 0; i < GW_NETWORK_FIXED_SYSCTLS; i++)
        if (!gw_file_put(AT_FDCWD, sysctls[i].path, sysctls[i].value))
            return cmx_why_fail(e, CMX_EPERM, "can't set %s (%s); see whether /proc/sys is writable here",
                                sysctls[i].path, strerror(errno));
    return CMX_OK;
}

void gw_network_open_sysctls(int fds[GW_NETWORK_SYSCTLS])
{
    for (size_t i = 0; i < GW_NETWORK_SYSCTLS; i++)
        fds[i] = open(sysctls[i].path, O_RDONLY | O_CLOEXEC);
}

bool gw_network_read_sysctls(const int *fds, size_t n, char out[GW_NETWORK_SYSCTLS_TEXT])
{
    size_t len = 0;

    memset(out, 0, GW_NETWORK_SYSCTLS_TEXT);
    for (size_t i = 0; i < n; i++) {
        ssize_t got = pread(fds[i], out + len, GW_NETWORK_SYSCTLS_TEXT - len, 0);

        if (got <= 0)
            return false;
        len += (size_t)got;
    }
    return true;
}

bool gw_network_sysctls_are_set(const int *fds, bool links)
{
    for (size_t i = 0; i < (links ? GW_NETWORK_SYSCTLS : GW_NETWORK_FIXED_SYSCTLS); i++) {
        char digit = 0;

        if (pread(fds[i], &digit, 1, 0) != 1 || digit != (sysctls[i].value ? sysctls[i].value[0] : '1'))
            return false;
    }
    return true;
}

/* True if the interface exists and has IPv6, which the kernel removes from interfaces with an MTU below 1280. */
static bool has_ipv6(const char *interface)
{
    char path[80];

    snprintf(path, sizeof path, "/proc/sys/net/ipv6/conf/%s", interface);
    return access(path, F_OK) == 0;
}

static bool enable_ipv6(const char *interface)
{
    char path[80];

    snprintf(path, sizeof path, "/proc/sys/net/ipv6/conf/%s/disable_ipv6", interface);
    return gw_file_put(AT_FDCWD, path, "0");
}

static bool configure_nowhere(void)
{
    return enable_ipv6("nowhere") && gw_program_runf(false, "ip link set nowhere mtu 65535 arp off up") &&
           gw_program_runf(false, "ip link set nowhere1 mtu 65535 arp off up");
}

/* Creates the pair of interfaces `nowhere` and `nowhere1`. Replaces an existing pair that can't be configured, for
 * example because one of the two interfaces was renamed or moved. */
static bool make_nowhere(void)
{
    if (has_ipv6("nowhere") && configure_nowhere())
        return true;
    /* The kernel deletes both interfaces of a pair when one is deleted, so the second command usually fails. Either
     * command fails if its interface does not exist. Both failures are harmless. */
    (void)gw_program_runf(true, "ip link delete nowhere");
    (void)gw_program_runf(true, "ip link delete nowhere1");
    return gw_program_runf(false, "ip link add nowhere type veth peer name nowhere1") && configure_nowhere();
}

/* System mode: the fleet's addresses are local only for packets that the packet filter has marked. All other packets
 * are routed to an interface that drops them, so that a missing rule lets no packet through. TCP derives its segment
 * size from the first route that it finds, which leads to this interface. The interface therefore has the loopback's
 * MTU. */
static bool route_marked(const char *fleet)
{
    if (!make_nowhere())
        return false;
    /* Removes the rules of an earlier call, which would be duplicated, and the route with which an older version made
     * every address local. */
    (void)gw_program_runf(true, "ip -6 route delete local %s dev lo table local", fleet);
    (void)gw_program_runf(true, "ip -6 rule delete pref " GW_RULE_PREF);
    (void)gw_program_runf(true, "ip -6 rule delete pref " GW_LOCALS_PREF);
    return gw_program_runf(false, "ip -6 route replace local %s dev lo table " GW_FLEET_TABLE, fleet) &&
           gw_program_runf(false, "ip -6 route replace %s dev nowhere", fleet) &&
           gw_program_runf(false,
                           "ip -6 rule add pref " GW_RULE_PREF " fwmark " GW_NFT_MARK " lookup " GW_FLEET_TABLE) &&
           gw_program_runf(false, "ip -6 rule add pref " GW_LOCALS_PREF " fwmark " GW_NFT_LOCALS_MARK
                                  " lookup " GW_LOCALS_TABLE);
}

/* --user mode: makes every address of the fleet local (AnyIP). */
static bool route_fleet(const struct gw *g)
{
    return g->user ? gw_program_runf(false, "ip -6 route replace local %s dev lo", g->fleet_text)
                   : route_marked(g->fleet_text);
}

cmx_err gw_network_configure(struct gw *g, struct cmx_why *e)
{
    char rules[GW_PATH_MAX];
    cmx_err err = set_sysctls(e);

    if (err)
        return err;
    /* Load the rules before setting the routes, so that no packet passes unfiltered. */
    if (!gw_load_rules(g, gw_path(g, "fleet.nft", rules), -1))
        return cmx_why_fail(e, CMX_EPERM, "the packet filter's rules could not be loaded; install nftables");
    if (!gw_program_runf(false, "ip link set lo up") || !route_fleet(g))
        return cmx_why_fail(e, CMX_EPERM,
                            "the route to %s could not be set; install iproute2, and check that IPv6 is on",
                            g->fleet_text);
    return CMX_OK;
}

/* ---- the system mode's namespace ---- */

static bool netns_exists(void)
{
    return access("/run/netns/" GW_NETNS, F_OK) == 0;
}

/* Configures the namespace in a child process, which does not start cmxsafe again: after an upgrade of the package, the
 * file of the running program no longer exists. */
static bool configure_netns(struct gw *g)
{
    struct cmx_why e = {0};
    pid_t pid;

    fflush(NULL);
    pid = cmx_child_fork();
    if (pid == 0) {
        int fd = open("/run/netns/" GW_NETNS, O_RDONLY | O_CLOEXEC);

        if (fd < 0 || setns(fd, CLONE_NEWNET) != 0)
            _exit(cli_fail("the network namespace can't be entered", strerror(errno), "run this as root"));
        if (gw_network_configure(g, &e))
            _exit(gw_fail("the namespace can't be configured", &e));
        _exit(EXIT_SUCCESS);
    }
    return cmx_child_wait(pid) == EXIT_SUCCESS;
}

/* Each end asks for the other end's hardware address with its own link-local address as source. The kernel generates
 * link-local addresses, but these can't be used for seconds, until duplicate address detection has ended. The fixed
 * addresses work at once. */
static bool configure_link(const char *link)
{
    return enable_ipv6("cmxsafe0") && gw_program_runf(false, "ip -6 address replace %s1/64 dev cmxsafe0 nodad", link) &&
           gw_program_runf(false, "ip -6 address replace fe80::1/64 dev cmxsafe0 nodad") &&
           gw_program_runf(false, "ip link set cmxsafe0 arp on multicast on up") &&
           gw_program_runf(false, IN_NETNS "-6 address replace %s2/64 dev cmxsafe1 nodad noprefixroute", link) &&
           gw_program_runf(false, IN_NETNS "-6 address replace fe80::2/64 dev cmxsafe1 nodad") &&
           gw_program_runf(false, IN_NETNS "link set cmxsafe1 arp on multicast on up") &&
           gw_program_runf(false, IN_NETNS "-6 route replace %s/64 dev cmxsafe1 table " GW_FLEET_TABLE, link) &&
           gw_program_runf(false, IN_NETNS "-6 route replace %s/64 dev nowhere", link);
}

/* Creates the link. Replaces an existing link that can't be configured, as make_nowhere does. As with the fleet's
 * addresses, only marked packets are routed to the host's address. */
static bool make_link(const char *link)
{
    if (has_ipv6("cmxsafe0") && configure_link(link))
        return true;
    (void)gw_program_runf(true, "ip link delete cmxsafe0");
    (void)gw_program_runf(true, IN_NETNS "link delete cmxsafe1");
    return gw_program_runf(false, "ip link add cmxsafe0 type veth peer name cmxsafe1 netns " GW_NETNS) &&
           configure_link(link);
}

/* Sets the routes into the namespace and back. The host's rules drop packets from addresses other than the link's, so
 * the route names the link's address as source: cmxsafe0 may have further addresses, such as those of a former gateway.
 * No local process may send from a fleet address, but IPV6_FREEBIND lets any process bind to one. A routing rule
 * therefore refuses packets between two fleet addresses, even if the packet filter is missing. */
static bool lead_into(const char *fleet, const char *link)
{
    (void)gw_program_runf(true, "ip -6 rule delete pref " GW_RULE_PREF); /* the rule of an earlier 'net up' */
    return gw_program_runf(false, "ip -6 rule add pref " GW_RULE_PREF " from %s to %s prohibit", fleet, fleet) &&
           gw_program_runf(false, "ip -6 route replace %s via %s2 dev cmxsafe0 src %s1", fleet, link, link) &&
           gw_program_runf(false, IN_NETNS "-6 route replace %s/64 dev cmxsafe1 table " GW_LOCALS_TABLE, link) &&
           gw_program_runf(false, IN_NETNS "-6 route replace %s via %s1 dev cmxsafe1 table " GW_LOCALS_TABLE, fleet,
                           link);
}

int gw_network_up(struct gw *g)
{
    char link[GW_ADDRESS_MAX];
    char rules[GW_PATH_MAX];
    struct cmx_why e = {0};

    if (gw_meta_get(&g->registry, "link", link, sizeof link))
        return cli_fail("net up failed", "the registry lacks the link's addresses", "run 'cmxsafe gateway init' again");
    /* Load the rules before creating the link, so that nothing is reachable unfiltered. */
    if (!netns_exists() && !gw_program_runf(false, "ip netns add " GW_NETNS))
        return cli_fail("net up failed", "the network namespace can't be created",
                        "run this as root; install iproute2");
    if (!configure_netns(g))
        return cli_fail("net up failed", "the namespace can't be configured", "see above");
    if (!gw_load_rules(g, gw_path(g, "host.nft", rules), -1))
        return cli_fail("net up failed", "nft can't load host.nft", "install nftables");
    if (!make_link(link) || !lead_into(g->fleet_text, link))
        return cli_fail("net up failed", "the link into the namespace can't be created", "see ip's message above");
    if (gw_links_up(g, &e)) /* not fatal: this gateway still serves its own devices */
        (void)gw_fail("a link to another gateway is missing", &e);
    return EXIT_SUCCESS;
}

int gw_network_down(void)
{
    bool ok = access("/sys/class/net/cmxsafe0", F_OK) != 0 || gw_program_runf(false, "ip link delete cmxsafe0");

    /* This command fails if there is no rule. A rule that stays is harmless once the link is removed. */
    (void)gw_program_runf(true, "ip -6 rule delete pref " GW_RULE_PREF);
    /* The host's rules guard the link. They are therefore removed after the link. */
    ok = ok && (!gw_program_runf(true, "nft list table inet " GW_NFT_HOST_TABLE) ||
                gw_program_runf(false, "nft delete table inet " GW_NFT_HOST_TABLE));
    ok = ok && (!netns_exists() || gw_program_runf(false, "ip netns delete " GW_NETNS));
    return ok ? EXIT_SUCCESS
              : cli_fail("net down failed", "the link, the host's rules or the namespace could not be removed",
                         "see above; run this as root, with iproute2 and nftables installed");
}

void gw_network_forget(struct gw *g)
{
    struct cmx_why e = {0};

    if (gw_folder_lock(g, &e))
        (void)gw_fail("the former network remains", &e);
    else if (!gw_program_runf(true, IN_NETNS "link show dev cmxsafe1"))
        (void)gw_network_down();
    gw_folder_close(g);
}
