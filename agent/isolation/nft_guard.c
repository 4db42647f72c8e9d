#include "agent/isolation/nft_guard.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "agent/isolation/nft_load.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/port/crypto.h"

#define TABLE "cmxsafe"
#define ATTRIBUTE_HEAD sizeof(struct nlattr)
#define ATTRIBUTE_ALIGN(n) (((size_t)(n) + 3) & ~(size_t)3)
/* Maximum length, in bytes, of a listing of both tables without elements. The rules in isolation.nft are 14 KB long. */
#define LISTING_MAX (64 * 1024)
#define MESSAGE_MAX (64 * 1024)
/* Receive buffer of the monitor's socket: holds the few hundred messages of one installation of rules. */
#define QUEUE_BYTES (4 * 1024 * 1024)
#define INSTALL_ATTEMPTS 5
#define NFT_MESSAGE(type) ((type) == (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWGEN))

struct nft_guard {
    struct nft *nft;
    int monitor, query;  /* netlink sockets */
    char *room;          /* buffer of LISTING_MAX bytes, for a listing or a netlink message */
    uint32_t generation; /* the kernel's generation number when the rules were last known to be as installed */
    bool changed;        /* another program has changed the rules since the last install */
    char who[NFT_PROGRAM_MAX];
    uint8_t rules[CMX_SHA256_LEN]; /* digest of the listing after the installation */
};

/* ---- netlink ---- */

static int open_netlink(bool monitor)
{
    const struct sockaddr_nl any = {.nl_family = AF_NETLINK};
    const struct timeval patience = {.tv_sec = 2};
    const int group = NFNLGRP_NFTABLES, bytes = QUEUE_BYTES;
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
    bool ok = fd >= 0 && bind(fd, (const struct sockaddr *)&any, sizeof any) == 0 &&
              setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0;

    if (ok && monitor) {
        if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) != 0)
            (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes); /* net.core.rmem_max limits this size */
        ok = setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) == 0;
    }
    if (ok)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

/* Returns the message's first attribute of that type, or NULL. */
static const struct nlattr *attribute(const struct nlmsghdr *m, unsigned type)
{
    const char *at = (const char *)m + NLMSG_HDRLEN + sizeof(struct nfgenmsg);
    const char *end = (const char *)m + m->nlmsg_len;

    while (at + ATTRIBUTE_HEAD <= end) {
        const struct nlattr *a = (const void *)at;

        if (a->nla_len < ATTRIBUTE_HEAD || a->nla_len > (size_t)(end - at))
            return NULL;
        if ((a->nla_type & NLA_TYPE_MASK) == type)
            return a;
        at += ATTRIBUTE_ALIGN(a->nla_len);
    }
    return NULL;
}

static const char *attribute_text(const struct nlattr *a)
{
    const char *text = (const char *)a + ATTRIBUTE_HEAD;

    return a && memchr(text, 0, a->nla_len - ATTRIBUTE_HEAD) ? text : "";
}

static bool attribute_u32(const struct nlattr *a, uint32_t *out)
{
    if (!a || a->nla_len != ATTRIBUTE_HEAD + sizeof *out)
        return false;
    memcpy(out, (const char *)a + ATTRIBUTE_HEAD, sizeof *out);
    *out = ntohl(*out);
    return true;
}

/* Reads how many transactions the kernel has committed in this network namespace, modulo 2^32. */
static cmx_err generation(struct nft_guard *g, uint32_t *out)
{
    struct {
        struct nlmsghdr head;
        struct nfgenmsg body;
    } ask = {{sizeof ask, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN, NLM_F_REQUEST, 0, 0},
             {AF_UNSPEC, NFNETLINK_V0, 0}};
    const struct nlmsghdr *m = (const void *)g->room;
    ssize_t n;

    if (send(g->query, &ask, sizeof ask, 0) != (ssize_t)sizeof ask)
        return CMX_EIO;
    do
        n = recv(g->query, g->room, MESSAGE_MAX, 0);
    while (n < 0 && errno == EINTR);
    if (n < (ssize_t)sizeof ask || m->nlmsg_len > (size_t)n || !NFT_MESSAGE(m->nlmsg_type))
        return CMX_EIO;
    return attribute_u32(attribute(m, NFTA_GEN_ID), out) ? CMX_OK : CMX_EIO;
}

/* What the monitor has reported. */
struct events {
    unsigned ours; /* number of transactions on our tables, by any program */
    bool lost;     /* events were lost, because the kernel's queue overflowed */
    bool touched;  /* the transaction that is being read changes our tables */
    char who[NFT_PROGRAM_MAX];
};

/* Messages of all types name their table in attribute 1: NFTA_TABLE_NAME, NFTA_CHAIN_TABLE,
 * NFTA_RULE_TABLE, NFTA_SET_TABLE, NFTA_SET_ELEM_LIST_TABLE, NFTA_OBJ_TABLE. A transaction ends with NFT_MSG_NEWGEN. */
static void take_event(struct events *e, const struct nlmsghdr *m)
{
    const struct nfgenmsg *body = (const void *)((const char *)m + NLMSG_HDRLEN);

    if (m->nlmsg_len < NLMSG_HDRLEN + sizeof *body || m->nlmsg_type >> 8 != NFNL_SUBSYS_NFTABLES)
        return;
    if (!NFT_MESSAGE(m->nlmsg_type)) {
        if ((body->nfgen_family == NFPROTO_INET || body->nfgen_family == NFPROTO_ARP) &&
            strcmp(attribute_text(attribute(m, NFTA_TABLE_NAME)), TABLE) == 0)
            e->touched = true;
        return;
    }
    if (e->touched) {
        e->ours++;
        snprintf(e->who, sizeof e->who, "%s", attribute_text(attribute(m, NFTA_GEN_PROC_NAME)));
    }
    e->touched = false;
}

/* Reads the events that the kernel has queued. When the call that commits our own transaction returns, the kernel has
 * queued all its events. If the queue ends within a transaction on our tables, that transaction is therefore another
 * program's. This function then waits for the transaction's last event, which names the program. */
static void read_events(struct nft_guard *g, struct events *e)
{
    ssize_t n;

    memset(e, 0, sizeof *e);
    while ((n = recv(g->monitor, g->room, MESSAGE_MAX, e->touched && !e->lost ? 0 : MSG_DONTWAIT)) >= 0 ||
           errno == ENOBUFS || errno == EINTR) {
        size_t left = n > 0 ? (size_t)n : 0;

        e->lost = e->lost || (n < 0 && errno == ENOBUFS);
        for (const struct nlmsghdr *m = (const void *)g->room; NLMSG_OK(m, left); m = NLMSG_NEXT(m, left))
            take_event(e, m);
    }
    e->lost = e->lost || e->touched; /* the transaction's last event did not arrive */
}

/* ---- rules ---- */

/* Computes the digest of both tables' rules. */
static cmx_err rules_digest(struct nft_guard *g, uint8_t out[CMX_SHA256_LEN])
{
    struct cmx_buf b;
    cmx_err err;

    cmx_buf_init(&b, g->room, LISTING_MAX);
    err = nft_list_rules(g->nft, "list table inet " TABLE "\nlist table arp " TABLE, &b);
    return err ? err : cmx_sha256_of(cmx_buf_data(&b), cmx_buf_len(&b), out);
}

static void note_change(struct nft_guard *g, const char *who)
{
    g->changed = true;
    snprintf(g->who, sizeof g->who, "%s", who);
}

/* Runs text as one transaction, and records whether another program changed the agent's tables before or during it. */
cmx_err nft_guard_change(struct nft_guard *g, const char *text, struct cmx_why *why)
{
    uint32_t before = 0, after = 0;
    struct events e;
    cmx_err err;

    read_events(g, &e);
    if (e.ours || e.lost)
        note_change(g, e.who);
    err = generation(g, &before);
    if (!err)
        err = nft_run(g->nft, text, false, why);
    if (!err)
        err = generation(g, &after);
    if (err)
        return err;
    read_events(g, &e);
    if (after - before != 1 && (e.ours > 1 || e.lost))
        note_change(g, "");
    else if (after - before == 1 && before == g->generation)
        g->generation = after; /* if g->generation is not updated, the next check lists the rules */
    return CMX_OK;
}

static cmx_err install_once(struct nft_guard *g, const char *text, struct cmx_why *why)
{
    struct events e;
    cmx_err err = generation(g, &g->generation);

    read_events(g, &e);
    g->changed = false;
    g->who[0] = 0;
    if (!err)
        err = nft_guard_change(g, text, why);
    if (!err)
        err = rules_digest(g, g->rules);
    if (err)
        return err;
    read_events(g, &e); /* finds changes made between the transaction and the listing */
    return g->changed || e.ours || e.lost ? CMX_EBUSY : CMX_OK;
}

cmx_err nft_guard_install(struct nft_guard *g, const char *text, struct cmx_why *why)
{
    cmx_err err = CMX_EBUSY;

    for (unsigned i = 0; i < INSTALL_ATTEMPTS && err == CMX_EBUSY; i++)
        err = install_once(g, text, why);
    if (err == CMX_EBUSY)
        cmx_why_set(why, "other programs keep changing the tables named " TABLE);
    g->changed = err != CMX_OK;
    return err;
}

cmx_err nft_guard_check(struct nft_guard *g, char who[NFT_PROGRAM_MAX])
{
    uint8_t rules[CMX_SHA256_LEN];
    struct events e;
    uint32_t now;

    read_events(g, &e);
    if (e.ours || e.lost)
        note_change(g, e.who);
    if (!g->changed && generation(g, &now) != CMX_OK) {
        note_change(g, ""); /* rules that cannot be observed are not reported as in force */
    } else if (!g->changed && now != g->generation) {
        if (rules_digest(g, rules) != CMX_OK || memcmp(rules, g->rules, sizeof rules) != 0)
            note_change(g, "");
        g->generation = now;
    }
    snprintf(who, NFT_PROGRAM_MAX, "%s", g->who);
    return g->changed ? CMX_EPERM : CMX_OK;
}

cmx_err nft_guard_list(struct nft_guard *g, const char *commands, struct cmx_buf *out)
{
    return nft_list(g->nft, commands, out);
}

int nft_guard_fd(const struct nft_guard *g)
{
    return g->monitor;
}

/* ---- open and close ---- */

cmx_err nft_guard_open(struct nft_guard **out, struct cmx_why *why)
{
    struct nft_guard *g = cmx_mem_alloc(sizeof *g);
    cmx_err err;

    *out = NULL;
    if (!g)
        return CMX_ENOMEM;
    g->monitor = g->query = -1;
    g->room = cmx_mem_alloc(LISTING_MAX > MESSAGE_MAX ? LISTING_MAX : MESSAGE_MAX);
    err = g->room ? nft_open(&g->nft, why) : CMX_ENOMEM;
    if (err)
        goto out;
    if (!nft_permitted(g->nft)) {
        err = CMX_EPERM;
        goto out;
    }
    g->monitor = open_netlink(true);
    g->query = open_netlink(false);
    if (g->monitor < 0 || g->query < 0)
        err = cmx_why_fail(why, CMX_EIO, "isolation cannot watch its rules: netlink: %s", strerror(errno));
out:
    if (err)
        nft_guard_close(g);
    else
        *out = g;
    return err;
}

void nft_guard_close(struct nft_guard *g)
{
    if (!g)
        return;
    if (g->monitor >= 0)
        close(g->monitor);
    if (g->query >= 0)
        close(g->query);
    nft_close(g->nft);
    cmx_mem_free(g->room);
    cmx_mem_free(g);
}
