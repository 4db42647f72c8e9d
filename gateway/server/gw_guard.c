#include "gateway/server/gw_guard.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
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

#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/port/port.h"
#include "gateway/folder/gw_fail.h"
#include "gateway/registry/party.h"
#include "gateway/render/gw_nft.h"
#include "gateway/server/gw_apply.h"
#include "gateway/server/gw_control.h"
#include "gateway/server/gw_expiry.h"
#include "gateway/server/gw_network.h"
#include "gateway/server/gw_server.h"
#include "gateway/server/gw_worker_child.h"

#define CHECK_MS 250           /* between looks at the rules' generation */
#define NETWORK_CHECK_MS 10000 /* the network is also checked at once when the kernel reports a change */
#define RETRY_MS 2000
#define REPORT_MS 1000
#define DENIED_MS 1000
#define NETWORK_TEXT 4096
#define ATTRIBUTE_HEAD 4 /* NLA_HDRLEN, without its sign */
#define NETNS_PATH "/run/netns/" GW_NETNS

/* One table, in one network namespace. */
struct guarded {
    const char *table;
    struct nft_ctx *nft;
    int netlink; /* asks for the generation of the rules */
    int events;  /* changes of links, addresses, routes and routing rules */
    uint32_t generation;
    char *reference; /* the table as it was listed after it was loaded */
    char *found;     /* the table before the last restore, NULL: there was none */
};

struct guard {
    struct gw *g;
    struct guarded tables[2];
    size_t n_tables;
    int host_ns;
    dev_t netns_dev;
    ino_t netns_ino;
    char network[NETWORK_TEXT]; /* link, routes and rules as they should be */
    char wrong[160];            /* what is wrong now and could not be repaired; "" nothing */
    uint64_t network_ms, report_ms, denied_ms, retry_ms;
    struct gw_expiry expiry;
    struct gw_worker_child worker;
};

/* ---- the packet filter ---- */

static char *copy_text(const char *text)
{
    return cmx_mem_strdup(text ? text : "");
}

/* Cuts " timeout ..." or " expires ..." out of every element: they depend on the time when the rules were loaded. */
static void strip_times(char *text, const char *word)
{
    char *at = text;

    while ((at = strstr(at, word)) != NULL) {
        char *end = at + strlen(word);
        end += strcspn(end, " ,}\n");
        memmove(at, end, strlen(end) + 1);
    }
}

/* Cuts the elements out of a set, which the kernel fills. nft lists them at its end. */
static void strip_elements(char *text, const char *set)
{
    char *at = strstr(text, set);
    char *end = at ? strstr(at, "\n\t}") : NULL;
    char *elements = at ? strstr(at, "\n\t\telements = {") : NULL;

    if (elements && end && elements < end)
        memmove(elements, end, strlen(end) + 1);
}

/* The table's text, or NULL when there is none; free with cmx_mem_free. What the kernel itself adds to sets is not part
 * of it. */
static char *table_text(struct guarded *t)
{
    char command[64];
    char *text;

    snprintf(command, sizeof command, "list table inet %s", t->table);
    if (nft_run_cmd_from_buffer(t->nft, command) != 0)
        return NULL;
    text = copy_text(nft_ctx_get_output_buffer(t->nft));
    if (!text)
        return NULL;
    strip_times(text, " expires ");
    strip_times(text, " timeout ");
    strip_elements(text, "\tset denied {");
    strip_elements(text, "\tset operators {");
    return text;
}

/* The kernel's counter of changes to the rules of this namespace. */
static bool read_generation(struct guarded *t, uint32_t *out)
{
    struct {
        struct nlmsghdr head;
        struct nfgenmsg nf;
    } ask = {.head = {.nlmsg_len = sizeof ask,
                      .nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN,
                      .nlmsg_flags = NLM_F_REQUEST},
             .nf = {.nfgen_family = AF_UNSPEC}};
    union {
        struct nlmsghdr head;
        uint8_t bytes[1024];
    } answer;
    ssize_t len;
    const struct nlattr *a;

    if (send(t->netlink, &ask, sizeof ask, 0) != sizeof ask)
        return false;
    len = recv(t->netlink, &answer, sizeof answer, 0);
    if (len < (ssize_t)(NLMSG_HDRLEN + sizeof ask.nf + ATTRIBUTE_HEAD + 4) || answer.head.nlmsg_type == NLMSG_ERROR)
        return false;
    a = (const struct nlattr *)(const void *)(answer.bytes + NLMSG_HDRLEN + NLMSG_ALIGN(sizeof ask.nf));
    if (a->nla_type != NFTA_GEN_ID)
        return false;
    memcpy(out, (const uint8_t *)a + ATTRIBUTE_HEAD, 4);
    return true;
}

static bool open_table(struct guarded *t, const char *table)
{
    struct timeval patience = {.tv_sec = 2};
    struct sockaddr_nl groups = {.nl_family = AF_NETLINK,
                                 .nl_groups = RTMGRP_LINK | RTMGRP_IPV6_IFADDR | RTMGRP_IPV6_ROUTE |
                                              1u << (RTNLGRP_IPV6_RULE - 1)};

    t->table = table;
    t->nft = nft_ctx_new(NFT_CTX_DEFAULT);
    t->netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
    t->events = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
    if (!t->nft || t->netlink < 0 || t->events < 0 ||
        bind(t->events, (const struct sockaddr *)&groups, sizeof groups) != 0 || nft_ctx_buffer_output(t->nft) ||
        nft_ctx_buffer_error(t->nft))
        return false;
    setsockopt(t->netlink, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    nft_ctx_output_set_flags(t->nft, NFT_CTX_OUTPUT_STATELESS);
    return true;
}

static void close_table(struct guarded *t)
{
    if (t->nft)
        nft_ctx_free(t->nft);
    if (t->netlink >= 0)
        close(t->netlink);
    if (t->events >= 0)
        close(t->events);
    cmx_mem_free(t->reference);
    cmx_mem_free(t->found);
    *t = (struct guarded){.netlink = -1, .events = -1};
}

/* ---- the network around it ---- */

/* Appends what a command prints. */
static void append_output(char *text, size_t cap, const char *command)
{
    size_t len = strlen(text);
    FILE *f = popen(command, "re");

    if (!f)
        return;
    len += fread(text + len, 1, cap - len - 1, f);
    text[len] = '\0';
    pclose(f);
}

static void read_network(struct guard *d, char out[NETWORK_TEXT])
{
    char command[600];

    out[0] = '\0';
    snprintf(
        command, sizeof command,
        "{ ip -6 rule show pref 1129; ip -6 route show %s; ip -o link show cmxsafe0 | cut -d'<' -f2 | cut -d'>' -f1;"
        " ip -6 -o address show dev cmxsafe0 scope global | cut -d'\\' -f1; } 2>&1",
        d->g->fleet_text);
    append_output(out, NETWORK_TEXT, command);
    snprintf(command, sizeof command,
             "ip netns exec " GW_NETNS " sh -c 'ip -6 rule show; ip -6 route show %s; ip -6 route show %s table all;"
             " ip -o link show cmxsafe1 | cut -d\"<\" -f2 | cut -d\">\" -f1;"
             " ip -6 -o address show dev cmxsafe1 scope global | cut -d\"\\\\\" -f1;"
             " ip -6 -o address show scope global | grep cmxlink | cut -d\"\\\\\" -f1;"
             " cat /proc/sys/net/ipv6/ip_nonlocal_bind' 2>&1",
             d->g->fleet_text, d->g->fleet_text);
    append_output(out, NETWORK_TEXT, command);
}

static bool same_namespace(const struct guard *d)
{
    struct stat st;

    return stat(NETNS_PATH, &st) == 0 && st.st_dev == d->netns_dev && st.st_ino == d->netns_ino;
}

static bool enter(int ns)
{
    return ns >= 0 && setns(ns, CLONE_NEWNET) == 0;
}

/* Takes what is in force now as the reference. */
static bool take_reference(struct guard *d)
{
    for (size_t i = 0; i < d->n_tables; i++) {
        struct guarded *t = &d->tables[i];
        char *text;
        if (!read_generation(t, &t->generation))
            return false;
        text = table_text(t);
        if (!text)
            return false;
        cmx_mem_free(t->reference);
        t->reference = text;
    }
    return true;
}

/* Tells the server: "ok", "repaired WHAT", "bad WHAT" or "stop WHAT". It logs all but the first. */
static void report(struct guard *d, const char *state, const char *what)
{
    struct cmx_why e = {0};
    char line[300];

    snprintf(line, sizeof line, "judge %s%s%s", state, what[0] ? " " : "", what);
    if (gw_control(d->g, line, NULL, &e) != CMX_OK && what[0])
        gw_note("%s: %s", state, what); /* without a server, only this process logs it */
}

static cmx_err apply_locked(struct guard *d, bool network, struct cmx_why *e)
{
    cmx_err err = gw_folder_open(d->g, false, e);

    if (err)
        return err;
    gw_party_forget_users();
    err = gw_folder_lock(d->g, e);
    if (!err) {
        /* The lock is held, so no command has changed the registry without loading the rules yet. */
        for (size_t i = 0; i < d->n_tables; i++) {
            cmx_mem_free(d->tables[i].found);
            d->tables[i].found = table_text(&d->tables[i]);
        }
        err = gw_apply(d->g, e);
        /* Without link or routes not all of it can be applied; 'net up' loads what was written. */
        if (network)
            err = gw_network_up(d->g) == EXIT_SUCCESS
                      ? CMX_OK
                      : cmx_why_fail(e, CMX_EIO, "the fleet's network could not be set up again");
    }
    gw_folder_close(d->g);
    return err;
}

/* Loads everything from the registry again. What remains wrong is in d->wrong. */
static void restore(struct guard *d, bool network)
{
    struct cmx_why e = {0};
    cmx_err err = apply_locked(d, network, &e);

    if (!err && !take_reference(d))
        err = cmx_why_fail(&e, CMX_EIO, "the rules could not be loaded again");
    if (!err && network)
        read_network(d, d->network);
    snprintf(d->wrong, sizeof d->wrong, "%.150s", err ? e.text : "");
}

/* Rules that a cmxsafe command loads are what a restore would load. Any other change is undone and reported. */
static void check_table(struct guard *d, struct guarded *t)
{
    uint32_t generation;
    char *text;
    char what[100];
    bool same;

    if (read_generation(t, &generation) && generation == t->generation)
        return;
    text = table_text(t);
    same = text && t->reference && strcmp(text, t->reference) == 0;
    cmx_mem_free(text);
    if (same) {
        t->generation = generation; /* another table changed */
        return;
    }
    restore(d, false);
    for (size_t i = 0; i < d->n_tables; i++) {
        t = &d->tables[i];
        if (!d->wrong[0] && t->found && strcmp(t->found, t->reference) == 0)
            continue;
        snprintf(what, sizeof what, "the packet filter's table inet %s was changed", t->table);
        report(d, d->wrong[0] ? "bad" : "repaired", what);
    }
}

static void check_network(struct guard *d)
{
    static const char what[] = "the fleet's link, routes or routing rules were changed";
    char now[NETWORK_TEXT];

    read_network(d, now);
    if (strcmp(now, d->network) == 0)
        return;
    restore(d, true);
    report(d, d->wrong[0] ? "bad" : "repaired", what);
}

/* Reads away what the kernel reported. True: something did change. */
static bool take_events(struct guard *d)
{
    bool any = false;
    char piece[8192];

    for (size_t i = 0; i < d->n_tables; i++)
        while (recv(d->tables[i].events, piece, sizeof piece, 0) > 0 || errno == ENOBUFS)
            any = true;
    return any;
}

/* ---- what was refused ---- */

/* An element of the set: "SOURCE . TARGET . PORT counter packets N bytes N expires ...". */
static void report_denied(struct guard *d, const char *element)
{
    char source[GW_ADDRESS_MAX];
    char target[GW_ADDRESS_MAX];
    char line[160];
    unsigned port;
    unsigned long long packets = 1;
    const char *counter = strstr(element, "counter packets ");
    struct cmx_why e = {0};

    if (sscanf(element, "%45s . %45s . %u", source, target, &port) != 3)
        return;
    if (counter)
        packets = strtoull(counter + strlen("counter packets "), NULL, 10);
    snprintf(line, sizeof line, "denied %s %s %u %llu", source, target, port, packets);
    if (gw_control(d->g, line, NULL, &e) != CMX_OK)
        return; /* no server: nobody writes the access log */
}

/* Reads the set and empties it, so that nothing is counted twice. */
static void check_denied(struct guard *d)
{
    struct guarded *t = &d->tables[0];
    uint32_t generation;
    char *text;
    char *at;

    nft_ctx_output_set_flags(t->nft, 0); /* with counters */
    text = nft_run_cmd_from_buffer(t->nft, "list set inet " GW_NFT_TABLE " denied") == 0
               ? copy_text(nft_ctx_get_output_buffer(t->nft))
               : NULL;
    nft_ctx_output_set_flags(t->nft, NFT_CTX_OUTPUT_STATELESS);
    at = text ? strstr(text, "elements = {") : NULL;
    if (at) {
        (void)nft_run_cmd_from_buffer(t->nft, "flush set inet " GW_NFT_TABLE " denied"); /* else counted again */
        if (read_generation(t, &generation) && generation == t->generation + 1)
            t->generation = generation;
        at += strlen("elements = {");
        while (at && *at) {
            at += strspn(at, " \t\n,");
            if (*at == '}')
                break;
            report_denied(d, at);
            at = strpbrk(at, ",}");
        }
    }
    cmx_mem_free(text);
}

/* ---- the loop ---- */

static bool open_guard(struct guard *d)
{
    struct stat st;
    int inside = open(NETNS_PATH, O_RDONLY | O_CLOEXEC);
    bool ok;

    for (size_t i = 0; i < GW_COUNT(d->tables); i++)
        d->tables[i].netlink = d->tables[i].events = -1;
    d->host_ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (inside < 0 || fstat(inside, &st) != 0 || !enter(inside))
        return false;
    d->netns_dev = st.st_dev;
    d->netns_ino = st.st_ino;
    d->n_tables = GW_COUNT(d->tables);
    ok = open_table(&d->tables[0], GW_NFT_TABLE);
    close(inside);
    if (!enter(d->host_ns))
        _exit(EXIT_FAILURE); /* in the wrong namespace nothing may go on */
    ok = open_table(&d->tables[1], GW_NFT_HOST_TABLE) && ok;
    if (ok)
        read_network(d, d->network);
    return ok && take_reference(d);
}

static void close_guard(struct guard *d)
{
    for (size_t i = 0; i < d->n_tables; i++)
        close_table(&d->tables[i]);
    if (d->host_ns >= 0)
        close(d->host_ns);
}

static bool due(uint64_t *last, uint64_t every)
{
    uint64_t now = cmx_port_now_ms();

    if (now - *last < every)
        return false;
    *last = now;
    return true;
}

static void check_all(struct guard *d)
{
    gw_worker_watch(&d->worker, d->g);
    if (!d->wrong[0] && gw_expiry_tick(&d->expiry, d->g) && !take_reference(d))
        snprintf(d->wrong, sizeof d->wrong, "%s", "the rules could not be read");
    if (d->wrong[0] && due(&d->retry_ms, RETRY_MS))
        restore(d, true);
    for (size_t i = 0; i < d->n_tables && !d->wrong[0]; i++)
        check_table(d, &d->tables[i]);
    if (!d->wrong[0] && (take_events(d) || due(&d->network_ms, NETWORK_CHECK_MS)))
        check_network(d);
    if (due(&d->denied_ms, DENIED_MS))
        check_denied(d);
    if (due(&d->report_ms, REPORT_MS))
        report(d, d->wrong[0] ? "bad" : "ok", d->wrong);
}

/* -1: it runs. */
static int child_status(pid_t child)
{
    int status;

    if (child <= 0 || waitpid(child, &status, WNOHANG) != child)
        return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE;
}

/* The server is in the namespace that is gone; only a new one serves the new namespace. */
static int give_up_namespace(struct guard *d, pid_t child)
{
    gw_note("the network namespace " GW_NETNS " was replaced: all sessions end, and the gateway starts again");
    if (child > 0)
        kill(child, SIGTERM);
    else
        report(d, "stop", "the network namespace was replaced");
    (void)gw_network_down(); /* what is left of the old link */
    return EXIT_FAILURE;
}

int gw_guard_run(struct gw *g, pid_t child, void (*ready)(void))
{
    struct guard d = {.g = g, .host_ns = -1};
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
        status = gw_fail_with("the fleet's rules can't be watched",
                              "the namespace, or the packet filter's tables in it and on the host, are missing",
                              "run 'cmxsafe gateway net up'");
    if (status == -1 && ready)
        ready();
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
            check_all(&d);
    }
    if (child > 0 && child_status(child) == -1) {
        kill(child, SIGTERM);
        while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    gw_worker_stop(&d.worker);
    close_guard(&d);
    close(p.fd);
    return status;
}
