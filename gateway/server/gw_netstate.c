#include "gateway/server/gw_netstate.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>

#include "gateway/folder/gw_folder.h"
#include "gateway/registry/node.h"

#define ANSWER_MAX 32768 /* maximum size of a datagram with the kernel's answers */
#define ATTRIBUTE_HEAD 4 /* NLA_HDRLEN as an unsigned number */
#define TRIES_MAX 50     /* maximum number of requests for a list; a list that changes meanwhile is requested again */
#define ITEM_MAX 1024
#define LINKS_MAX (GW_NODES_MAX + 3)
#define TO_NODE "cmxlink" /* prefix of the name of a link to another gateway, before the node's number */

/* State while the objects of one namespace are read into a digest. */
struct netstate_reader {
    struct gw_netstate *sum;
    gw_netstate_side side;
    const struct gw_fleet *fleet;
    struct {
        uint32_t number;
        char name[IFNAMSIZ];
    } links[LINKS_MAX]; /* the gateway's own links and their interface indexes */
    size_t n_links;
    bool failed;
};

/* The bytes of one kernel object (link, address, route or rule), to be added to the digest. */
struct netstate_item {
    uint8_t bytes[ITEM_MAX];
    size_t len;
    bool failed;
    bool of_node;
};

static void put_bytes(struct netstate_item *x, const void *data, size_t len)
{
    x->failed = x->failed || len > sizeof x->bytes - x->len;
    if (x->failed)
        return;
    memcpy(x->bytes + x->len, data, len);
    x->len += len;
}

/* Adds the SHA-256 of the data to sum as a number, so that the order of the additions does not change the sum. */
cmx_err gw_netstate_add_bytes(uint8_t sum[CMX_SHA256_LEN], const void *data, size_t len)
{
    uint8_t digest[CMX_SHA256_LEN];
    unsigned carry = 0;

    if (cmx_sha256_of(data, len, digest))
        return CMX_EIO;
    for (size_t i = 0; i < sizeof digest; i++) {
        carry += (unsigned)sum[i] + digest[i];
        sum[i] = (uint8_t)carry;
        carry >>= 8;
    }
    return CMX_OK;
}

static bool same(const uint8_t a[CMX_SHA256_LEN], const uint8_t b[CMX_SHA256_LEN])
{
    return memcmp(a, b, CMX_SHA256_LEN) == 0;
}

bool gw_netstate_equal(const struct gw_netstate *a, const struct gw_netstate *b)
{
    return same(a->fixed, b->fixed) && same(a->nodes, b->nodes);
}

gw_netstate_change gw_netstate_compare(const struct gw_netstate *first, const struct gw_netstate *found,
                                       const struct gw_netstate *after)
{
    if (!same(after->fixed, first->fixed))
        return GW_NETSTATE_ADDED;
    /* No command was changing the network when `found` was read, because this process held the gateway's lock. So
     * another program caused this difference. */
    if (!same(found->fixed, first->fixed) || !same(found->nodes, after->nodes))
        return GW_NETSTATE_REPAIRED;
    return GW_NETSTATE_CHANGED_BY_US;
}

static void add_item(struct netstate_reader *r, const struct netstate_item *x)
{
    if (x->failed || gw_netstate_add_bytes(x->of_node ? r->sum->nodes : r->sum->fixed, x->bytes, x->len))
        r->failed = true;
}

static uint32_t attribute_number(const struct rtattr *a)
{
    uint32_t number = 0;

    if (RTA_PAYLOAD(a) == sizeof number)
        memcpy(&number, RTA_DATA(a), sizeof number);
    return number;
}

/* True if the attribute is the number of a routing table for packets to another gateway. */
static bool is_node_table(const struct rtattr *a)
{
    return attribute_number(a) - GW_NODE_TABLE_FIRST <= GW_NODES_MAX;
}

/* ---- reading one kernel object ---- */

static bool is_to_node(const char *link)
{
    return strncmp(link, TO_NODE, strlen(TO_NODE)) == 0;
}

/* Returns the name of the link with this interface index; NULL: it is not one of the gateway's links. */
static const char *link_name(const struct netstate_reader *r, uint32_t number)
{
    for (size_t i = 0; i < r->n_links; i++)
        if (r->links[i].number == number)
            return r->links[i].name;
    return NULL;
}

static bool is_ours(gw_netstate_side side, const char *name)
{
    if (side == GW_NETSTATE_HOST)
        return strcmp(name, "cmxsafe0") == 0;
    return strcmp(name, "cmxsafe1") == 0 || strcmp(name, "nowhere") == 0 || is_to_node(name);
}

/* Adds the link between host and namespace to the digest. Other links of the gateway are only stored in r->links, so
 * that their addresses and routes can be recognized. */
static void read_link(struct netstate_reader *r, const void *message, size_t len)
{
    struct netstate_item x = {.len = 0};
    const struct ifinfomsg *head = message;
    ssize_t left = (ssize_t)len - (ssize_t)sizeof *head;
    char name[IFNAMSIZ] = "";

    if (left < 0)
        return;
    for (struct rtattr *a = IFLA_RTA(head); RTA_OK(a, left); a = RTA_NEXT(a, left))
        if (a->rta_type == IFLA_IFNAME && RTA_PAYLOAD(a) <= sizeof name)
            memcpy(name, RTA_DATA(a), RTA_PAYLOAD(a));
    name[sizeof name - 1] = '\0';
    if (!is_ours(r->side, name) || r->n_links == LINKS_MAX)
        return;
    r->links[r->n_links].number = (uint32_t)head->ifi_index;
    memcpy(r->links[r->n_links++].name, name, sizeof name);
    if (strncmp(name, "cmxsafe", 7) != 0)
        return;
    put_bytes(&x, name, sizeof name);
    put_bytes(&x, &head->ifi_flags, sizeof head->ifi_flags);
    add_item(r, &x);
}

/* Adds an address of one of the gateway's links. Ignores link-local addresses that the kernel generated, because they
 * change with the link's hardware address. */
static void read_address(struct netstate_reader *r, const void *message, size_t len)
{
    struct netstate_item x = {.len = 0};
    const struct ifaddrmsg *head = message;
    ssize_t left = (ssize_t)len - (ssize_t)sizeof *head;
    const char *link;

    if (left < 0)
        return;
    link = link_name(r, head->ifa_index);
    if (!link || (head->ifa_scope != RT_SCOPE_UNIVERSE && !(head->ifa_flags & IFA_F_NODAD)))
        return;
    x.of_node = is_to_node(link);
    put_bytes(&x, link, strlen(link) + 1);
    put_bytes(&x, &head->ifa_prefixlen, sizeof head->ifa_prefixlen);
    for (struct rtattr *a = IFA_RTA(head); RTA_OK(a, left); a = RTA_NEXT(a, left))
        if (a->rta_type == IFA_ADDRESS || a->rta_type == IFA_LOCAL)
            put_bytes(&x, a, a->rta_len);
    add_item(r, &x);
}

/* True for an attribute that determines where packets go; false for others, such as counters and times. */
static bool is_routing(unsigned short type)
{
    switch (type) {
    case RTA_DST:
    case RTA_SRC:
    case RTA_IIF:
    case RTA_GATEWAY:
    case RTA_PRIORITY:
    case RTA_PREFSRC:
    case RTA_METRICS:
    case RTA_MULTIPATH:
    case RTA_TABLE:
    case RTA_VIA:
    case RTA_ENCAP_TYPE:
    case RTA_NH_ID:
        return true;
    default:
        return false;
    }
}

/* Adds a route's link to the item. name: the name of one of the gateway's own links, which is added instead of the
 * interface index, because the index changes when the link is created again. NULL: adds the index. */
static void put_link(struct netstate_item *x, const char *name, const struct rtattr *index)
{
    if (name)
        put_bytes(x, name, strlen(name) + 1);
    else
        put_bytes(x, index, index->rta_len);
}

/* Adds a route to the digest if its destination is the fleet's whole prefix; ignores other routes. */
static void read_route(struct netstate_reader *r, const void *message, size_t len)
{
    struct netstate_item x = {.len = 0};
    const struct rtmsg *head = message;
    ssize_t left = (ssize_t)len - (ssize_t)sizeof *head;
    bool ours = false;

    if (left < 0)
        return;
    if (head->rtm_dst_len != r->fleet->bits || head->rtm_flags & RTM_F_CLONED)
        return;
    put_bytes(&x, &head->rtm_src_len, sizeof head->rtm_src_len);
    put_bytes(&x, &head->rtm_tos, sizeof head->rtm_tos);
    put_bytes(&x, &head->rtm_type, sizeof head->rtm_type);
    for (struct rtattr *a = RTM_RTA(head); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
        if (a->rta_type == RTA_DST)
            ours = RTA_PAYLOAD(a) == sizeof r->fleet->prefix &&
                   memcmp(RTA_DATA(a), r->fleet->prefix, sizeof r->fleet->prefix) == 0;
        if (a->rta_type == RTA_OIF)
            put_link(&x, link_name(r, attribute_number(a)), a);
        if (a->rta_type == RTA_TABLE)
            x.of_node = is_node_table(a);
        if (is_routing(a->rta_type))
            put_bytes(&x, a, a->rta_len);
    }
    if (ours)
        add_item(r, &x);
}

/* Adds a routing rule to the digest. On the host, only one rule belongs to the gateway; in the namespace, all rules
 * do. */
static void read_rule(struct netstate_reader *r, const void *message, size_t len)
{
    struct netstate_item x = {.len = 0};
    ssize_t left = (ssize_t)len - (ssize_t)sizeof(struct fib_rule_hdr);
    uint32_t priority = 0;

    for (struct rtattr *a = RTM_RTA(message); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
        if (a->rta_type == FRA_PRIORITY)
            priority = attribute_number(a);
        if (a->rta_type == FRA_TABLE)
            x.of_node = is_node_table(a);
    }
    put_bytes(&x, message, len);
    if (r->side == GW_NETSTATE_FLEET || priority == GW_RULE_PREF_NUMBER)
        add_item(r, &x);
}

/* ---- requests to the kernel ---- */

typedef void (*object_fn)(struct netstate_reader *r, const void *message, size_t len);

static bool ask(int fd, uint16_t type, uint32_t number)
{
    struct {
        struct nlmsghdr head;
        union {
            struct ifinfomsg link;
            struct ifaddrmsg address;
            struct rtmsg route;
            struct fib_rule_hdr rule;
            uint8_t family; /* each of these structs begins with the family */
        } what;
    } question;

    memset(&question, 0, sizeof question);
    question.head = (struct nlmsghdr){.nlmsg_len = sizeof question,
                                      .nlmsg_type = type,
                                      .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
                                      .nlmsg_seq = number};
    question.what.family = type == RTM_GETLINK ? AF_UNSPEC : AF_INET6;
    return send(fd, &question, sizeof question, 0) == sizeof question;
}

/* Reads one datagram, which may hold several messages of the answer to request `number`. *done: the answer is
 * complete. */
static cmx_err take_answer(struct netstate_reader *r, int fd, uint32_t number, object_fn fn, bool *interrupted,
                           bool *done)
{
    static _Alignas(struct nlmsghdr) uint8_t answer[ANSWER_MAX];
    struct nlmsghdr head;
    ssize_t n = recv(fd, answer, sizeof answer, MSG_TRUNC);
    size_t len = n > 0 ? (size_t)n : 0;

    if (n <= 0 || len > sizeof answer)
        return n < 0 && errno == EINTR ? CMX_OK : CMX_EIO;
    for (size_t at = 0; len - at >= sizeof head; at += NLMSG_ALIGN(head.nlmsg_len)) {
        memcpy(&head, answer + at, sizeof head);
        if (head.nlmsg_len < sizeof head || head.nlmsg_len > len - at)
            return CMX_EIO;
        if (head.nlmsg_seq == number) { /* otherwise this is a late answer to an earlier request */
            *interrupted = *interrupted || (head.nlmsg_flags & NLM_F_DUMP_INTR) != 0;
            *done = head.nlmsg_type == NLMSG_DONE;
            if (head.nlmsg_type == NLMSG_ERROR)
                return CMX_EIO;
            if (!*done)
                fn(r, answer + at + NLMSG_HDRLEN, head.nlmsg_len - NLMSG_HDRLEN);
        }
        if (NLMSG_ALIGN(head.nlmsg_len) > len - at)
            break;
    }
    return r->failed ? CMX_EIO : CMX_OK;
}

static cmx_err dump(struct netstate_reader *r, int fd, uint16_t type, object_fn fn)
{
    static uint32_t number;

    for (unsigned tries = 0; tries < TRIES_MAX; tries++) {
        const struct gw_netstate before = *r->sum;
        const size_t links = r->n_links;
        bool interrupted = false, done = false;
        cmx_err err = ask(fd, type, ++number) ? CMX_OK : CMX_EIO;

        while (!err && !done)
            err = take_answer(r, fd, number, fn, &interrupted, &done);
        if (err || !interrupted)
            return err;
        *r->sum = before;
        r->n_links = links;
    }
    return CMX_EBUSY;
}

cmx_err gw_netstate_add(struct gw_netstate *s, gw_netstate_side side, int fd, const struct gw_fleet *f)
{
    struct netstate_reader r = {.sum = s, .side = side, .fleet = f};
    cmx_err err = dump(&r, fd, RTM_GETLINK, read_link);

    if (!err)
        err = dump(&r, fd, RTM_GETADDR, read_address);
    if (!err)
        err = dump(&r, fd, RTM_GETROUTE, read_route);
    return err ? err : dump(&r, fd, RTM_GETRULE, read_rule);
}

bool gw_netstate_concerned(const void *events, size_t len)
{
    const uint8_t *p = events;
    struct nlmsghdr head;
    struct rtmsg route;

    for (size_t at = 0; at < len && len - at >= sizeof head; at += NLMSG_ALIGN(head.nlmsg_len)) {
        memcpy(&head, p + at, sizeof head);
        if (head.nlmsg_len < sizeof head || head.nlmsg_len > len - at)
            return true;
        if ((head.nlmsg_type != RTM_NEWROUTE && head.nlmsg_type != RTM_DELROUTE) ||
            head.nlmsg_len < NLMSG_HDRLEN + sizeof route)
            return true;
        memcpy(&route, p + at + NLMSG_HDRLEN, sizeof route);
        if (route.rtm_dst_len < 128)
            return true;
    }
    return false;
}

bool gw_netstate_generation(int fd, uint32_t *out)
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

    if (send(fd, &ask, sizeof ask, 0) != sizeof ask)
        return false;
    len = recv(fd, &answer, sizeof answer, 0);
    if (len < (ssize_t)(NLMSG_HDRLEN + sizeof ask.nf + ATTRIBUTE_HEAD + 4) || answer.head.nlmsg_type == NLMSG_ERROR)
        return false;
    a = (const struct nlattr *)(const void *)(answer.bytes + NLMSG_HDRLEN + NLMSG_ALIGN(sizeof ask.nf));
    if (a->nla_type != NFTA_GEN_ID)
        return false;
    memcpy(out, (const uint8_t *)a + ATTRIBUTE_HEAD, 4);
    *out = ntohl(*out);
    return true;
}
