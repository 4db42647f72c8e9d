#include "gateway/server/gw_hold.h"

#include <arpa/inet.h>
#include <search.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/port/port.h"

#define RECLAIM_MS 3000 /* longer than the guard needs to set up the loopback again */

static int compare_holds(const void *a, const void *b)
{
    const struct gw_hold *x = a, *y = b;

    return memcmp(x->address, y->address, sizeof x->address);
}

static struct gw_hold *hold_find(const struct gw_server *s, const uint8_t address[CMX_IPV6_LEN])
{
    struct gw_hold key = {0};
    struct gw_hold **found;

    memcpy(key.address, address, sizeof key.address);
    found = tfind(&key, &s->holds_tree, compare_holds);
    return found ? *found : NULL;
}

static struct gw_hold *hold_make(struct gw_server *s, const uint8_t address[CMX_IPV6_LEN])
{
    struct gw_hold *h = hold_find(s, address);

    if (h || !(h = cmx_mem_alloc(sizeof *h)))
        return h;
    memcpy(h->address, address, sizeof h->address);
    inet_ntop(AF_INET6, address, h->text, sizeof h->text);
    if (!tsearch(h, &s->holds_tree, compare_holds)) {
        cmx_mem_free(h);
        return NULL;
    }
    h->next = s->holds;
    s->holds = h;
    return h;
}

static struct gw_hold *hold_of(struct gw_server *s, const char *text)
{
    uint8_t address[CMX_IPV6_LEN];

    return inet_pton(AF_INET6, text, address) == 1 ? hold_make(s, address) : NULL;
}

static void hold_changed(struct gw_server *s, struct gw_hold *h)
{
    h->since = (int64_t)time(NULL);
    h->changed = s->hold_changes++;
}

/* Changes the route of an identity. Stops the gateway if the process that sets the routes has ended, because other
 * gateways could then not reach the identity's sessions. */
static void hold_route(struct gw_server *s, const struct gw_hold *h, unsigned add, unsigned remove)
{
    if (gw_claims_change(&s->claims, h->address, add, remove))
        return;
    gw_note("ending all sessions and stopping the gateway: the process that sets the routes has ended");
    s->failed = true;
    s->stopping = true;
}

/* Claims the identity. The claim's sequence is higher than those of this gateway's last claim and of the claim in the
 * registry. Its metric is newer than the newest metric that another gateway has announced since this server started,
 * even if the link to that gateway is down now. */
static void hold_claim(struct gw_server *s, struct gw_hold *h)
{
    unsigned before = h->announced ? gw_claim_metric(h->sequence) : 0;
    struct gw_registry r;
    char path[GW_PATH_MAX];
    char node[GW_NAME_MAX];
    int64_t known = 0;

    if (gw_registry_open(&r, gw_path(s->g, "registry.db", path), false, NULL) == CMX_OK) {
        if (gw_claim_get(&r, h->text, node, &known, NULL))
            known = 0;
        gw_registry_close(&r);
    }
    h->sequence = gw_claim_next(known > h->sequence ? known : h->sequence, h->seen);
    hold_changed(s, h);
    hold_route(s, h, gw_claim_metric(h->sequence), before);
    h->announced = true;
}

static void hold_release(struct gw_server *s, struct gw_hold *h)
{
    if (!h->announced)
        return;
    hold_route(s, h, 0, gw_claim_metric(h->sequence));
    h->announced = false;
    h->sequence++; /* the release must be newer than the claim */
    hold_changed(s, h);
}

bool gw_hold_begin(struct gw_server *s, struct gw_session *x)
{
    struct gw_hold *h;

    if (x->held_by && strcmp(x->asked, x->fingerprint) == 0) {
        s->counters.takeovers_refused++;
        return false;
    }
    h = x->address[0] ? hold_of(s, x->address) : NULL;
    if (!h || x->holds)
        return true;
    x->holds = true;
    if (h->sessions++ == 0 && s->nodes.own)
        hold_claim(s, h);
    return true;
}

void gw_hold_end(struct gw_server *s, const struct gw_session *x)
{
    struct gw_hold *h = x->holds ? hold_of(s, x->address) : NULL;

    if (h && --h->sessions == 0)
        hold_release(s, h);
}

/* Marks the sessions of an identity as lost to another gateway, which has a newer claim: the device has logged in to
 * that gateway in the meantime. */
static void hold_lost(struct gw_server *s, const struct gw_hold *h, const char *node)
{
    for (struct gw_session *x = s->sessions; x; x = x->next)
        if (x->holds && strcmp(x->address, h->text) == 0)
            snprintf(x->lost_to, sizeof x->lost_to, "%s", node);
}

static const char *node_name(const struct gw_server *s, unsigned number)
{
    for (size_t i = 0; i < s->nodes.n; i++)
        if (s->nodes.list[i].number == number)
            return s->nodes.list[i].name;
    return "(unknown)";
}

/* Returns the entry of an identity that another gateway announced. NULL: that gateway's announcements have already
 * added GW_NODE_CLAIMS_MAX entries, or memory ran out. Without an entry, this gateway's next claim of the identity
 * considers only the sequence in the registry. */
static struct gw_hold *hold_of_announced(struct gw_server *s, const uint8_t address[CMX_IPV6_LEN], unsigned node)
{
    struct gw_hold *h = hold_find(s, address);

    if (h || s->holds_from[node] > GW_NODE_CLAIMS_MAX)
        return h;
    if (s->holds_from[node] == GW_NODE_CLAIMS_MAX) {
        s->holds_from[node]++; /* makes the message below appear only once */
        gw_note("gateway %s has announced more than %d identities: ignoring its announcements of further identities",
                node_name(s, node), GW_NODE_CLAIMS_MAX);
        return NULL;
    }
    h = hold_make(s, address);
    if (h)
        s->holds_from[node]++;
    return h;
}

/* Sets a claim's route again if another program removed it. While the loopback is down, this fails; gw_hold_tick
 * therefore sets all routes once more. */
static void claim_removed(struct gw_server *s, const uint8_t address[CMX_IPV6_LEN], unsigned metric)
{
    const struct gw_hold *h = hold_find(s, address);

    if (!h || !h->announced || metric != gw_claim_metric(h->sequence))
        return;
    hold_route(s, h, metric, 0);
    if (!s->reclaim_ms)
        gw_note("routes that announce identities were removed by another program; setting them again");
    s->reclaim_ms = cmx_port_now_ms() + RECLAIM_MS;
}

void gw_hold_tick(struct gw_server *s)
{
    if (!s->reclaim_ms || cmx_port_now_ms() < s->reclaim_ms)
        return;
    s->reclaim_ms = 0;
    for (const struct gw_hold *h = s->holds; h; h = h->next)
        if (h->announced)
            hold_route(s, h, gw_claim_metric(h->sequence), 0);
}

static void take_claim(void *arg, const uint8_t address[CMX_IPV6_LEN], const struct gw_remote *claim)
{
    struct gw_server *s = arg;
    struct gw_hold *h;

    if (!claim->node) {
        claim_removed(s, address, claim->metric);
        return;
    }
    h = hold_of_announced(s, address, claim->node);
    if (h && (!h->seen || gw_claim_metric_newer(claim->metric, h->seen)))
        h->seen = claim->metric;
    if (h && h->announced && gw_claim_metric_newer(claim->metric, gw_claim_metric(h->sequence)))
        hold_lost(s, h, node_name(s, claim->node));
}

void gw_hold_routes(struct gw_server *s)
{
    gw_remote_read(s->routes.fd, take_claim, s);
}

void gw_hold_recheck(struct gw_server *s, struct gw_registry *r)
{
    struct cmx_why e = {0};
    char node[GW_NAME_MAX];
    int64_t sequence;

    if (!s->idsock)
        return;
    if (gw_nodes_read(r, &s->g->fleet, &s->nodes, &e))
        gw_note("the gateways of the fleet can't be read: %s", e.text);
    for (struct gw_hold *h = s->holds; h; h = h->next) {
        if (!h->sessions)
            continue;
        if (s->nodes.own && !h->announced)
            hold_claim(s, h); /* not claimed before, because the fleet had no other gateway */
        else if (h->announced && gw_claim_get(r, h->text, node, &sequence, NULL) == CMX_OK &&
                 strcmp(node, s->nodes.own ? s->nodes.own->name : "") != 0 && sequence >= h->sequence) {
            if (node[0])
                hold_lost(s, h, node);
            else
                /* Another gateway released its older claim with a sequence that is not lower than this gateway's. Claim
                 * the identity again, with a higher sequence. */
                hold_claim(s, h);
        }
    }
}

void gw_hold_json(struct cmx_json *j, struct gw_server *s, uint64_t from)
{
    cmx_json_u64(j, "next", s->hold_changes);
    cmx_json_u64(j, "sessions", s->n_sessions - s->n_greeting);
    cmx_json_array(j, "claims");
    for (const struct gw_hold *h = s->holds; h; h = h->next) {
        if (h->changed < from || !h->sequence)
            continue;
        cmx_json_object(j, NULL);
        cmx_json_str(j, "address", h->text);
        cmx_json_str(j, "node", h->announced && s->nodes.own ? s->nodes.own->name : "");
        cmx_json_i64(j, "sequence", h->sequence);
        cmx_json_i64(j, "since", h->since);
        cmx_json_end(j);
    }
    cmx_json_end(j);
}

bool gw_hold_open(struct gw_server *s)
{
    s->hold_changes = gw_journal_first_number();
    s->peers = (struct gw_watch){GW_WATCH_PEERS, -1};
    s->routes = (struct gw_watch){GW_WATCH_ROUTES, gw_remote_watch()};
    return s->routes.fd >= 0 && gw_watch_add(s->epoll, &s->routes);
}

void gw_hold_close(struct gw_server *s)
{
    gw_claims_close(&s->claims);
    if (s->routes.fd >= 0)
        close(s->routes.fd);
    if (s->peers.fd >= 0)
        close(s->peers.fd);
    while (s->holds) {
        struct gw_hold *next = s->holds->next;

        tdelete(s->holds, &s->holds_tree, compare_holds);
        cmx_mem_free(s->holds);
        s->holds = next;
    }
}
