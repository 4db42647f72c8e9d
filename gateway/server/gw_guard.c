#include "gateway/server/gw_guard.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <nftables/libnftables.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmxsafe/port/port.h"
#include "gateway/folder/gw_fail.h"
#include "gateway/registry/node.h"
#include "gateway/render/gw_nft.h"
#include "gateway/server/gw_apply.h"
#include "gateway/server/gw_control.h"
#include "gateway/server/gw_expiry.h"
#include "gateway/server/gw_links.h"
#include "gateway/server/gw_netstate.h"
#include "gateway/server/gw_network.h"
#include "gateway/server/gw_note.h"
#include "gateway/server/gw_refusals.h"
#include "gateway/server/gw_table.h"
#include "gateway/server/gw_unread.h"
#include "gateway/server/gw_worker_child.h"
#include "port/linux/child.h"

#define CHECK_MS 250           /* interval of checking whether the rules have changed */
#define NETWORK_CHECK_MS 10000 /* interval of network checks; a change that the kernel reports is checked at once */
#define RETRY_MS 2000
#define LOADS_MAX 5 /* maximum number of loads in a row, while another program interferes */
#define REPORT_MS 1000
#define REFUSALS_MS 1000
#define WRONG_MAX 160 /* size of the text that says what is wrong, NUL included */
#define NETNS_PATH "/run/netns/" GW_NETNS

/* What the guard checks in one network namespace, the fleet's or the host's. */
struct guarded {
    struct gw_table table;
    int events; /* socket on which the kernel reports changes to links, addresses, routes and routing rules */
    int route;  /* socket that reads links, addresses, routes and routing rules */
};

/* The files that define this machine's users and groups. */
static const char *const account_files[] = {"/etc/passwd", "/etc/group"};

struct sysctl_values {
    char fixed[GW_NETWORK_SYSCTLS_TEXT];
    char nodes[GW_NETWORK_SYSCTLS_TEXT]; /* values of the sysctls that are set for links to other gateways */
};

struct guard {
    struct gw *g;
    struct stat accounts[GW_COUNT(account_files)]; /* state of account_files before the rules were last loaded */
    bool accounts_moved;                           /* account_files changed between the last two loads of the rules */
    struct guarded sides[2];
    size_t n_sides;
    struct nft_ctx *scratch; /* nft context of scratch_ns */
    int scratch_ns;          /* a network namespace that only this process uses (gw_table_take_reference) */
    int host_ns;
    int sysctls[GW_NETWORK_SYSCTLS]; /* descriptors from gw_network_open_sysctls */
    struct sysctl_values values;     /* values of the sysctls when the network was last read */
    dev_t netns_dev;
    ino_t netns_ino;
    struct gw_netstate network;       /* state of the network after the last restore */
    struct gw_netstate network_first; /* state of the network after the first restore */
    bool network_first_set;           /* network_first has been read */
    struct gw_netstate network_found; /* state of the network before the last restore */
    bool network_added;               /* the network has additions that the last restore did not remove */
    char wrong[WRONG_MAX];            /* what is wrong now and could not be repaired; "": nothing */
    uint64_t network_ms, report_ms, refusals_ms, retry_ms;
    struct gw_expiry expiry;
    struct gw_unread unread;
    struct gw_worker_child worker;
};

/* ---- opening the namespaces ---- */

static bool open_side(struct guarded *t, const char *table, const char *file)
{
    struct timeval patience = {.tv_sec = 2};
    struct sockaddr_nl groups = {.nl_family = AF_NETLINK,
                                 .nl_groups = RTMGRP_LINK | RTMGRP_IPV6_IFADDR | RTMGRP_IPV6_ROUTE |
                                              1u << (RTNLGRP_IPV6_RULE - 1)};

    t->route = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    t->events = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
    if (t->route < 0 || t->events < 0 || bind(t->events, (const struct sockaddr *)&groups, sizeof groups) != 0)
        return false;
    setsockopt(t->route, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return gw_table_open(&t->table, table, file);
}

static void close_side(struct guarded *t)
{
    gw_table_close(&t->table);
    if (t->route >= 0)
        close(t->route);
    if (t->events >= 0)
        close(t->events);
}

static bool enter(int ns)
{
    return ns >= 0 && setns(ns, CLONE_NEWNET) == 0;
}

/* ---- the fleet's network ---- */

static bool read_sysctls(const struct guard *d, struct sysctl_values *out)
{
    return gw_network_read_sysctls(d->sysctls, GW_NETWORK_FIXED_SYSCTLS, out->fixed) &&
           gw_network_read_sysctls(d->sysctls + GW_NETWORK_FIXED_SYSCTLS, GW_NETWORK_SYSCTLS - GW_NETWORK_FIXED_SYSCTLS,
                                   out->nodes);
}

/* The kernel sends no event when a sysctl changes, so the guard compares the values. */
static bool sysctls_changed(const struct guard *d)
{
    struct sysctl_values now;

    return !read_sysctls(d, &now) || memcmp(&now, &d->values, sizeof now) != 0;
}

/* True if the sysctls still have the values that were set. The registry must be open. */
static bool sysctls_are_set(const struct guard *d)
{
    struct gw_nodes nodes;

    return gw_nodes_read(&d->g->registry, &d->g->fleet, &nodes, NULL) == CMX_OK &&
           gw_network_sysctls_are_set(d->sysctls, nodes.own != NULL);
}

/* Reads the state of the network. CMX_EBUSY: it changes too fast to be read (gw_netstate_add). */
static cmx_err read_network(struct guard *d, struct gw_netstate *out)
{
    cmx_err err;

    *out = (struct gw_netstate){0};
    if (!read_sysctls(d, &d->values))
        return CMX_EIO;
    err = gw_netstate_add_bytes(out->fixed, d->values.fixed, sizeof d->values.fixed);
    if (!err)
        err = gw_netstate_add_bytes(out->nodes, d->values.nodes, sizeof d->values.nodes);
    if (!err)
        err = gw_netstate_add(out, GW_NETSTATE_FLEET, d->sides[0].route, &d->g->fleet);
    if (!err)
        err = gw_links_add_state(d->g, out->nodes);
    return err ? err : gw_netstate_add(out, GW_NETSTATE_HOST, d->sides[1].route, &d->g->fleet);
}

static bool same_namespace(const struct guard *d)
{
    struct stat st;

    return stat(NETNS_PATH, &st) == 0 && st.st_dev == d->netns_dev && st.st_ino == d->netns_ino;
}

/* Reports "ok", "repaired WHAT", "bad WHAT" or "stop WHAT" to the server, which logs each "repaired" and "stop", but
 * "ok" or "bad" only if the state has changed. */
static void report(struct guard *d, const char *state, const char *what)
{
    char line[300];

    snprintf(line, sizeof line, "judge %s%s%s", state, what[0] ? " " : "", what);
    if (!gw_control_tell(d->g, line) && what[0])
        gw_note("%s: %s", state, what); /* no server received the report, so this process logs it */
}

/* Stores the state with which later checks compare. The caller has just loaded the rules and, if `network` is true,
 * set up the network. It holds the gateway's lock, so that no command changes them meanwhile. CMX_EBUSY: another
 * program changed a table or a sysctl nevertheless. */
static cmx_err take_state(struct guard *d, bool network, struct cmx_why *e)
{
    for (size_t i = 0; i < d->n_sides; i++) {
        struct gw_table *t = &d->sides[i].table;
        if (!gw_table_take_reference(t, d->g, d->scratch, d->scratch_ns))
            return cmx_why_fail(e, CMX_EIO, "the rules in %s can't be read", t->file);
        if (!gw_table_matches(t))
            return cmx_why_fail(e, CMX_EBUSY, "the packet filter's table inet %s was changed at the same time",
                                t->name);
    }
    if (network && read_network(d, &d->network))
        return cmx_why_fail(e, CMX_EIO, "the fleet's network can't be read");
    if (network && !sysctls_are_set(d))
        return cmx_why_fail(e, CMX_EBUSY, "a sysctl of the fleet's network was changed at the same time");
    return CMX_OK;
}

static cmx_err load(struct guard *d, bool network, struct cmx_why *e)
{
    char path[GW_PATH_MAX];
    cmx_err err = gw_apply_access(d->g, e);
    bool up;

    network = network && access(gw_path(d->g, "fleet.nft", path), F_OK) == 0; /* gw_network_up loads this file */
    up = !network || gw_network_up(d->g) == EXIT_SUCCESS;
    if (network && up && err)
        err = gw_apply_access(d->g, e); /* the first attempt fails if the link or routes were missing */
    if (err)
        d->g->unsettled = true; /* makes gw_unread_check remove all grants if the former rules stay in force */
    if (!up)
        return cmx_why_fail(e, CMX_EIO, "the fleet's network could not be set up again");
    return err ? err : take_state(d, network, e);
}

/* Loads again until no other program interferes. If a program changes the network while it is set up, the next load
 * undoes the change, so the network's state must be the same before and after the last load. A load can also fail with
 * CMX_EBUSY because a grant ended after the rules were rendered. */
static cmx_err load_settled(struct guard *d, bool network, struct cmx_why *e)
{
    cmx_err err = CMX_EBUSY;

    for (unsigned n = 0; err == CMX_EBUSY && n < LOADS_MAX; n++) {
        const struct gw_netstate before = d->network;

        err = load(d, network, e);
        if (!err && network && !gw_netstate_equal(&before, &d->network))
            err = cmx_why_fail(e, CMX_EBUSY, "the fleet's network was changed at the same time");
    }
    if (!err && network && !d->network_first_set) {
        d->network_first = d->network;
        d->network_first_set = true;
    }
    return err;
}

static cmx_err apply_locked(struct guard *d, bool network, struct cmx_why *e)
{
    cmx_err err = gw_folder_open(d->g, false, e);

    if (err)
        return err;
    err = gw_folder_lock(d->g, e);
    if (!err && !same_namespace(d)) /* 'net down' removed the namespace before this process got the lock */
        err = cmx_why_fail(e, CMX_ENOENT, "the network namespace " GW_NETNS " was removed");
    else if (!err) {
        /* A command holds the lock until it has loaded the rules. So if a table differs from its file here, another
         * program has changed the table. */
        for (size_t i = 0; i < d->n_sides; i++)
            gw_table_keep_found(&d->sides[i].table);
        if (network && read_network(d, &d->network_found))
            d->network_found = (struct gw_netstate){0}; /* makes the network count as changed */
        err = load_settled(d, network, e);
    }
    gw_folder_close(d->g);
    return err;
}

static void read_accounts(struct stat out[GW_COUNT(account_files)])
{
    for (size_t i = 0; i < GW_COUNT(account_files); i++)
        if (stat(account_files[i], &out[i]) != 0)
            out[i] = (struct stat){0};
}

/* True if one of account_files was changed or replaced since the last successful restore, or if there was none yet. */
static bool accounts_changed(const struct guard *d)
{
    struct stat now[GW_COUNT(account_files)];
    bool changed = false;

    read_accounts(now);
    for (size_t i = 0; i < GW_COUNT(account_files); i++)
        changed |= now[i].st_ino != d->accounts[i].st_ino || now[i].st_ctim.tv_sec != d->accounts[i].st_ctim.tv_sec ||
                   now[i].st_ctim.tv_nsec != d->accounts[i].st_ctim.tv_nsec;
    return changed;
}

/* Loads the rules from the registry again and, if `network` is true, sets up the network again. Sets d->wrong to what
 * could not be repaired, or to "". */
static void restore(struct guard *d, bool network)
{
    struct cmx_why e = {0};
    struct stat accounts[GW_COUNT(account_files)];
    cmx_err err;

    read_accounts(accounts);
    err = apply_locked(d, network, &e);
    d->accounts_moved = d->accounts[0].st_ino && accounts_changed(d);
    if (!err)
        memcpy(d->accounts, accounts, sizeof accounts);
    snprintf(d->wrong, sizeof d->wrong, "%.150s", !err ? "" : e.text[0] ? e.text : "the rules can't be loaded");
}

/* Call this after a restore. If the restore failed, reports every table. Otherwise reports each table that the restore
 * changed, because another program had changed it before. After a change to account_files, reports no table, because
 * the same registry then gives other rules. */
static void report_tables(struct guard *d)
{
    char what[100];

    for (size_t i = 0; i < d->n_sides; i++) {
        const struct gw_table *t = &d->sides[i].table;
        if (!d->wrong[0] && (d->accounts_moved || (t->found && strcmp(t->found, t->reference) == 0)))
            continue;
        snprintf(what, sizeof what, "the packet filter's table inet %s was changed", t->name);
        report(d, d->wrong[0] ? "bad" : "repaired", what);
    }
}

/* If the table has changed, loads all rules again from the registry. */
static void check_table(struct guard *d, struct gw_table *t)
{
    if (gw_table_is_unchanged(t) || gw_table_matches(t))
        return; /* a change in another table also changes the generation number */
    restore(d, false);
    report_tables(d);
}

/* Reports what is wrong and could not be repaired, or that the network is as configured. */
static void report_state(struct guard *d)
{
    static const char added[] =
        "the fleet's addresses, routes or routing rules were changed, and the additions remain: "
        "see 'ip -n cmxsafe -6 rule' and 'ip -n cmxsafe -6 route', and restart the gateway";

    report(d, d->wrong[0] || d->network_added ? "bad" : "ok", d->wrong[0] || !d->network_added ? d->wrong : added);
}

static gw_netstate_change restore_network(struct guard *d)
{
    restore(d, true);
    if (!d->wrong[0])
        report_tables(d);
    return gw_netstate_compare(&d->network_first, &d->network_found, &d->network);
}

/* Checks the network, and repairs it. thorough: also compares the network with its state after the first restore,
 * except for the links to other gateways. */
static void check_network(struct guard *d, bool thorough)
{
    static const char changed[] = "the fleet's link, routes or routing rules were changed";
    struct gw_netstate now;
    gw_netstate_change change;
    cmx_err err = read_network(d, &now);

    if (err == CMX_EBUSY)
        d->network_ms = 0; /* check again in the next round */
    if (err == CMX_EBUSY || (!err && gw_netstate_equal(&now, &d->network) &&
                             (!thorough || gw_netstate_compare(&d->network_first, &now, &now) != GW_NETSTATE_ADDED)))
        return;
    change = restore_network(d);
    d->network_added = !d->wrong[0] && change == GW_NETSTATE_ADDED;
    if (d->wrong[0])
        report(d, "bad", changed);
    else if (d->network_added)
        report_state(d);
    else if (change == GW_NETSTATE_REPAIRED)
        report(d, "repaired", changed);
}

/* Reads the kernel's reports of changes. True: something that the guard checks may have changed. */
static bool take_events(struct guard *d)
{
    bool any = false;
    char piece[8192];
    ssize_t n;

    for (size_t i = 0; i < d->n_sides; i++)
        while ((n = recv(d->sides[i].events, piece, sizeof piece, 0)) > 0 || errno == ENOBUFS)
            any = any || n <= 0 || gw_netstate_concerned(piece, (size_t)n);
    return any;
}

/* ---- the guard's loop ---- */

static bool open_guard(struct guard *d)
{
    struct stat st;
    int inside = open(NETNS_PATH, O_RDONLY | O_CLOEXEC);
    bool ok;

    for (size_t i = 0; i < GW_COUNT(d->sides); i++)
        d->sides[i].events = d->sides[i].route = -1;
    memset(d->sysctls, -1, sizeof d->sysctls);
    d->host_ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    ok = inside >= 0 && fstat(inside, &st) == 0 && unshare(CLONE_NEWNET) == 0 &&
         (d->scratch_ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC)) >= 0 &&
         (d->scratch = gw_table_context()) != NULL;
    if (!ok || !enter(inside))
        return false;
    d->netns_dev = st.st_dev;
    d->netns_ino = st.st_ino;
    d->n_sides = GW_COUNT(d->sides);
    ok = open_side(&d->sides[0], GW_NFT_TABLE, "fleet.nft");
    gw_network_open_sysctls(d->sysctls);
    close(inside);
    if (!enter(d->host_ns))
        _exit(EXIT_FAILURE); /* never continue in the wrong namespace */
    /* Make the first check restore everything: a command may be setting up the network at this moment, so the state
     * that is found now may be incomplete. */
    snprintf(d->wrong, sizeof d->wrong, "%s", "the fleet's network has not been checked yet");
    return open_side(&d->sides[1], GW_NFT_HOST_TABLE, "host.nft") && ok;
}

static void close_guard(struct guard *d)
{
    for (size_t i = 0; i < d->n_sides; i++)
        close_side(&d->sides[i]);
    if (d->scratch)
        nft_ctx_free(d->scratch);
    if (d->scratch_ns >= 0)
        close(d->scratch_ns);
    if (d->host_ns >= 0)
        close(d->host_ns);
    for (size_t i = 0; i < GW_NETWORK_SYSCTLS; i++)
        if (d->sysctls[i] >= 0)
            close(d->sysctls[i]);
}

static bool due(uint64_t *last, uint64_t every)
{
    uint64_t now = cmx_port_now_ms();

    if (now - *last < every)
        return false;
    *last = now;
    return true;
}

/* Reports the refused connections and removes them from the set `denied`, which changes the generation number of the
 * rules. */
static void check_refusals(struct guard *d)
{
    struct gw_table *t = &d->sides[0].table;

    if (due(&d->refusals_ms, REFUSALS_MS))
        gw_table_changed_here(t, gw_refusals_report(d->g, t->nft));
}

static void check_all(struct guard *d, pid_t child)
{
    bool look;

    gw_worker_watch(&d->worker, d->g, child);
    if (d->wrong[0] && due(&d->retry_ms, RETRY_MS))
        restore(d, true);
    if (!d->wrong[0])
        (void)gw_expiry_tick(&d->expiry, d->g); /* the result is not needed: check_table notices new rules */
    /* gw_unread_check comes after the attempts to apply the registry, so that it removes no grant if one of them has
     * just succeeded. */
    if (gw_unread_check(&d->unread, d->g, d->sides[0].table.nft, d->wrong, sizeof d->wrong))
        report(d, "bad", d->wrong);
    for (size_t i = 0; i < d->n_sides && !d->wrong[0]; i++)
        check_table(d, &d->sides[i].table);
    if (!d->wrong[0] && accounts_changed(d)) /* an id in a rule may now belong to another user or group */
        restore(d, false);
    look = !d->wrong[0] && due(&d->network_ms, NETWORK_CHECK_MS);
    if (!d->wrong[0] && (take_events(d) || sysctls_changed(d) || look))
        check_network(d, look);
    check_refusals(d);
    if (due(&d->report_ms, REPORT_MS))
        report_state(d);
}

/* Returns the child's exit status; -1: the child is still running, or there is none. */
static int child_status(pid_t child)
{
    int status;

    if (child <= 0 || waitpid(child, &status, WNOHANG) != child)
        return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE;
}

/* Ends the server, which runs in the old namespace. systemd then starts a server in the new one; without systemd, the
 * operator must start it. */
static int give_up_namespace(struct guard *d, pid_t child)
{
    gw_note("the network namespace " GW_NETNS " was replaced: ending all sessions and stopping the gateway");
    if (child > 0)
        kill(child, SIGTERM);
    else
        report(d, "stop", "the network namespace was replaced");
    gw_network_forget(d->g);
    return EXIT_FAILURE;
}

int gw_guard_run(struct gw *g, pid_t child, void (*ready)(void))
{
    struct guard d = {.g = g, .scratch_ns = -1, .host_ns = -1};
    struct pollfd p = {.events = POLLIN};
    struct signalfd_siginfo si;
    int status = -1;
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    p.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (p.fd < 0 || !open_guard(&d))
        status = cli_fail("the fleet's rules can't be watched",
                          "the network namespace is missing, or this process may not create one of its own",
                          "run 'cmxsafe gateway net up'");
    if (status == -1 && ready) {
        check_all(&d, child); /* send the first report to the server before the unit counts as started */
        ready();
    }
    while (status == -1) {
        (void)poll(&p, 1, CHECK_MS);
        while (read(p.fd, &si, sizeof si) == sizeof si)
            if (si.ssi_signo != SIGCHLD && child > 0)
                kill(child, (int)si.ssi_signo);
            else if (si.ssi_signo == SIGTERM || si.ssi_signo == SIGINT)
                status = EXIT_SUCCESS;
        if (status == -1)
            status = child_status(child);
        if (status == -1 && !same_namespace(&d))
            status = give_up_namespace(&d, child);
        else if (status == -1)
            check_all(&d, child);
    }
    if (child > 0 && child_status(child) == -1) {
        kill(child, SIGTERM);
        (void)cmx_child_wait(child);
    }
    gw_worker_stop(&d.worker);
    close_guard(&d);
    close(p.fd);
    return status;
}
