#include "gateway/server/gw_links.h"

#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gateway/folder/gw_program.h"
#include "gateway/registry/node.h"
#include "gateway/render/gw_nft.h"
#include "gateway/server/gw_netstate.h"

#define NAME "cmxlink"
#define MTU_WIREGUARD "1420"
#define START_LIMIT_S "10"
#define RULE_PREF "1131"
#define IN_NETNS "ip -n " GW_NETNS " "
/* Without this limit, wg could wait forever for wireguard-go, while the caller holds the gateway's lock. */
#define WG_LIMIT_S "2"
#define WG "timeout " WG_LIMIT_S " ip netns exec " GW_NETNS " wg "

struct link_job {
    struct gw *g;
    const struct gw_node *own;
    const struct gw_node *peer;
    char name[IFNAMSIZ];
    char port[8];
    char interface[GW_NAME_MAX];   /* the interface that the operator named for plain links; "": WireGuard */
    bool exists[GW_NODES_MAX + 1]; /* exists[N]: the namespace has a link to node N */
};

/* Finds the nodes to which the namespace has a link, with a single call of ip. */
static bool links_read(bool exists[GW_NODES_MAX + 1])
{
    const char *show[] = {"ip", "-n", GW_NETNS, "-o", "link", "show", NULL};
    char *text = NULL;
    size_t len = 0;
    bool ok = gw_program_output(show, &text, &len);

    memset(exists, 0, (GW_NODES_MAX + 1) * sizeof *exists);
    for (const char *line = text; ok && *line; line += strcspn(line, "\n"), line += *line == '\n') {
        unsigned number;

        if (sscanf(line, "%*u: " NAME "%2u", &number) == 1 && number <= GW_NODES_MAX)
            exists[number] = true;
    }
    free(text); /* allocated by open_memstream */
    return ok;
}

/* ---- WireGuard in the kernel or, if the kernel lacks it, wireguard-go ---- */

/* wireguard-go continues in a child process, which looks its interface up by name and ends if it does not find it. So
 * waits until the child answers, before the interface is moved to another network namespace. */
static bool wireguard_add(const struct link_job *job)
{
    if (gw_program_runf(true, "ip link add dev %s type wireguard", job->name))
        return true;
    if (!gw_program_runf(true, "wireguard-go %s", job->name))
        return false;
    if (gw_program_runf(true, "timeout " START_LIMIT_S " wg show %s", job->name))
        return true;
    (void)gw_program_runf(true, "ip link delete dev %s", job->name); /* this also ends wireguard-go */
    return false;
}

/* Removes all peers except the other gateway, so that no other machine can send through the link. */
static bool remove_other_peers(const struct link_job *job)
{
    const char *show[] = {"timeout", WG_LIMIT_S, "ip",      "netns", "exec", GW_NETNS,
                          "wg",      "show",     job->name, "peers", NULL};
    char *text = NULL;
    size_t len = 0;
    bool ok = gw_program_output(show, &text, &len);
    char *rest = text;

    for (char *key = NULL; ok && (key = strsep(&rest, "\n")) != NULL;)
        if (key[0] && strcmp(key, job->peer->link_key) != 0)
            ok = gw_program_runf(false, WG "set %s peer %s remove", job->name, key);
    free(text); /* allocated by open_memstream */
    return ok;
}

/* Sets everything that gw_links_add_state reads. */
static bool wireguard_configure(const struct link_job *job)
{
    char key[GW_PATH_MAX];
    char endpoint[GW_ADDRESS_MAX + 12];

    gw_path(job->g, GW_LINK_KEY, key);
    snprintf(endpoint, sizeof endpoint, strchr(job->peer->underlay, ':') ? "[%s]:%s" : "%s:%s", job->peer->underlay,
             job->port);
    return gw_program_runf(false,
                           WG "set %s private-key %s listen-port %s fwmark 0 peer %s endpoint %s allowed-ips ::/0 "
                              "preshared-key /dev/null persistent-keepalive 0",
                           job->name, key, job->port, job->peer->link_key, endpoint) &&
           remove_other_peers(job);
}

/* ---- plain links: VXLAN over the operator's interface ---- */

static bool plain_add(const struct link_job *job)
{
    return gw_program_runf(false, "ip link add dev %s type vxlan id %s local %s remote %s dstport %s dev %s nolearning",
                           job->name, job->port, job->own->underlay, job->peer->underlay, job->port, job->interface);
}

/* ---- setting up one link ---- */

/* Creates the interface in the host's network namespace, where its UDP socket stays, and moves it into the fleet's
 * namespace. */
static bool link_add(const struct link_job *job)
{
    return (job->interface[0] ? plain_add(job) : wireguard_add(job)) &&
           gw_program_runf(false, "ip link set dev %s netns " GW_NETNS, job->name);
}

static bool address_set(const struct link_job *job)
{
    return (job->interface[0] || gw_program_runf(false, IN_NETNS "link set dev %s mtu " MTU_WIREGUARD, job->name)) &&
           gw_program_runf(false, IN_NETNS "link set dev %s up", job->name) &&
           gw_program_runf(false, IN_NETNS "-6 address replace %s peer %s dev %s nodad", job->own->link,
                           job->peer->link, job->name);
}

static unsigned node_mark(unsigned number)
{
    return GW_NFT_FROM_NODE_MARK | GW_NFT_TO_NODE_BIT | number;
}

/* Sets the route for answers to the local users and units of the gateway at the other end of the link. Only rules of
 * the packet filter set the mark that selects this route. */
static bool answers_set(const struct link_job *job)
{
    unsigned table = GW_NODE_TABLE_FIRST + job->peer->number;

    /* Fails if the rule exists already. */
    (void)gw_program_runf(true, IN_NETNS "-6 rule add pref " RULE_PREF " fwmark %#x lookup %u",
                          node_mark(job->peer->number), table);
    return gw_program_runf(false, IN_NETNS "-6 route replace default via %s dev %s table %u", job->peer->link,
                           job->name, table);
}

/* Lets local users and units reach devices on other nodes: the namespace forwards their packets, and an accepted socket
 * inherits the mark of its first packet. */
static bool forwarding_set(void)
{
    static const char set[] =
        "echo 1 >/proc/sys/net/ipv6/conf/all/forwarding && echo 1 >/proc/sys/net/ipv4/tcp_fwmark_accept";
    const char *argv[] = {"ip", "netns", "exec", GW_NETNS, "sh", "-c", set, NULL};

    return gw_program_run(false, argv);
}

static cmx_err key_lost(struct cmx_why *e, const char *fault)
{
    return cmx_why_fail(e, CMX_ENOKEY,
                        GW_LINK_KEY ", the WireGuard key of this gateway, %s; restore it from a backup, or run "
                                    "'cmxsafe gateway join --from GATEWAY' again, which registers a new key",
                        fault);
}

static cmx_err link_up(struct link_job *job, struct cmx_why *e)
{
    bool plain = job->interface[0] != '\0';
    char key[GW_PATH_MAX];

    snprintf(job->name, sizeof job->name, NAME "%u", job->peer->number);
    snprintf(job->port, sizeof job->port, "%u", gw_node_port(job->own->number, job->peer->number));
    if (plain != (job->peer->link_key[0] == '\0'))
        return cmx_why_fail(
            e, CMX_EINVAL,
            "the link to %s uses WireGuard at one end and is plain at the other; on one of the two "
            "gateways, run 'cmxsafe gateway leave', then 'cmxsafe gateway join': with --interface for plain "
            "links, without it for WireGuard",
            job->peer->name);
    if (!plain && access(gw_path(job->g, GW_LINK_KEY, key), F_OK) != 0)
        return key_lost(e, "is missing");
    if (!job->exists[job->peer->number] && !link_add(job))
        return cmx_why_fail(e, CMX_EIO, "the link to %s can't be made; %s", job->peer->name,
                            plain ? "see ip's message above"
                                  : "install wireguard-tools, and wireguard-go where the kernel has no WireGuard");
    if ((!plain && !wireguard_configure(job)) || !address_set(job) || !answers_set(job))
        return cmx_why_fail(e, CMX_EIO, "the link to %s can't be configured; see above", job->peer->name);
    return CMX_OK;
}

static void remove_stale(const struct link_job *job, const struct gw_nodes *nodes)
{
    for (unsigned number = 1; number <= GW_NODES_MAX; number++) {
        bool known = false;

        for (size_t i = 0; i < nodes->n; i++)
            known |= nodes->list[i].number == number && &nodes->list[i] != nodes->own;
        if (known || !job->exists[number])
            continue;
        /* Fails if the link was removed meanwhile. */
        (void)gw_program_runf(true, IN_NETNS "link delete dev " NAME "%u", number);
        (void)gw_program_runf(true, IN_NETNS "-6 rule delete pref " RULE_PREF " fwmark %#x", node_mark(number));
    }
}

cmx_err gw_links_up(struct gw *g, struct cmx_why *e)
{
    struct link_job job = {.g = g};
    struct gw_nodes nodes;
    cmx_err err = gw_nodes_read(&g->registry, &g->fleet, &nodes, e);

    if (err)
        return err;
    if (gw_meta_get(&g->registry, "link_interface", job.interface, sizeof job.interface))
        job.interface[0] = '\0'; /* "" stands for WireGuard */
    if (!links_read(job.exists))
        return cmx_why_fail(e, CMX_EIO, "the interfaces of the namespace " GW_NETNS " can't be listed; see above");
    remove_stale(&job, &nodes);
    if (nodes.own && !forwarding_set())
        return cmx_why_fail(e, CMX_EPERM, "forwarding in the namespace " GW_NETNS " can't be set; see above");
    for (size_t i = 0; i < nodes.n; i++) {
        struct cmx_why now = {0};
        cmx_err one = CMX_OK;

        job.own = nodes.own;
        job.peer = &nodes.list[i];
        if (job.peer != job.own)
            one = link_up(&job, &now);
        if (one && !err) { /* keeps only the first error; the loop still sets up the other links */
            err = one;
            *e = now;
        }
    }
    return err;
}

cmx_err gw_links_add_state(const struct gw *g, uint8_t sum[CMX_SHA256_LEN])
{
    /* Leaves out the private key, because the public key depends on it. Also leaves out what WireGuard itself changes,
     * such as endpoints. The links have no preshared keys: this process never gets a secret of this gateway. */
    static const char show[] =
        "for field in public-key listen-port fwmark allowed-ips preshared-keys "
        "persistent-keepalive; do ip netns exec " GW_NETNS " wg show all $field 2>/dev/null || exit; done";
    const char *argv[] = {"timeout", WG_LIMIT_S, "sh", "-c", show, NULL};
    char path[GW_PATH_MAX];
    char *text = NULL;
    size_t len = 0;
    cmx_err err = CMX_OK;
    char *rest;

    if (access(gw_path(g, GW_LINK_KEY, path), F_OK) != 0)
        return CMX_OK;
    if (!gw_program_output(argv, &text, &len))
        err = gw_netstate_add_bytes(sum, "?", 1);
    else {
        rest = text;
        for (char *line = NULL; !err && (line = strsep(&rest, "\n")) != NULL;)
            if (strncmp(line, NAME, strlen(NAME)) == 0)
                err = gw_netstate_add_bytes(sum, line, strlen(line));
    }
    free(text); /* allocated by open_memstream */
    return err;
}

cmx_err gw_links_key(const struct gw *g, char out[GW_LINK_KEY_MAX], struct cmx_why *e)
{
    char path[GW_PATH_MAX];
    const char *make[] = {"sh", "-c", "umask 077 && wg genkey >\"$0\"", path, NULL};
    const char *show[] = {"sh", "-c", "wg pubkey <\"$0\"", path, NULL};
    char *text = NULL;
    size_t len = 0;
    bool ok;

    gw_path(g, GW_LINK_KEY, path);
    if (access(path, F_OK) != 0 && !gw_program_run(false, make)) {
        unlink(path);
        return cmx_why_fail(e, CMX_EIO, "wg can't make a key; install wireguard-tools");
    }
    ok = gw_program_output(show, &text, &len) && strcspn(text, "\n") == 44;
    snprintf(out, GW_LINK_KEY_MAX, "%.44s", ok ? text : "");
    free(text); /* allocated by open_memstream */
    return ok ? CMX_OK : cmx_why_fail(e, CMX_EIO, "wg can't read %s; restore it from a backup, or remove it", path);
}

cmx_err gw_links_check_key(struct gw *g, struct cmx_why *e)
{
    struct gw_nodes nodes;
    char path[GW_PATH_MAX];
    char key[GW_LINK_KEY_MAX];
    cmx_err err = gw_nodes_read(&g->registry, &g->fleet, &nodes, e);

    if (err || !nodes.own || !nodes.own->link_key[0])
        return err;
    if (access(gw_path(g, GW_LINK_KEY, path), F_OK) != 0)
        return key_lost(e, "is missing");
    err = gw_links_key(g, key, e);
    return err || strcmp(key, nodes.own->link_key) == 0 ? err : key_lost(e, "differs from the key in the registry");
}
