#include "cli/gateway/gw_campaign_run.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli/common/http_client.h"
#include "cli/gateway/gw_connected.h"
#include "cli/gateway/gw_store.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/port/port.h"
#include "gateway/registry/evidence_policy.h"
#include "gateway/registry/list.h"
#include "gateway/registry/node.h"
#include "gateway/registry/party.h"
#include "gateway/server/gw_control.h"
#include "gateway/server/gw_inside.h"
#include "gateway/server/gw_note.h"

#define CHOOSE_MS 1000

struct gw_campaign_child {
    struct gw_campaign_child *next;
    struct gw_campaign campaign;
    struct gw_update update; /* the device's new state, to be stored once the child has ended */
    struct gw_child child;
    bool looks; /* the child changes nothing on the device ('update --look') */
    bool ended;
};

struct tick {
    struct gw_campaigns *w;
    struct gw *g;
    struct cmx_why *e;
    struct gw_campaign *due; /* campaigns with updates to start or to complete */
    size_t n_due, cap_due;
    bool asked;
    char *answer;
    struct gw_connected connected;
    int64_t now;
};

/* Finds the device's child. It may belong to a stopped campaign: stopping a campaign ends no child, and a stopped
 * campaign still starts children that find out how its updates ended. */
static struct gw_campaign_child *find_child(const struct gw_campaigns *w, int64_t device)
{
    struct gw_campaign_child *x = w->children;

    while (x && x->update.device != device)
        x = x->next;
    return x;
}

static void read_connected(struct tick *t)
{
    if (t->asked)
        return;
    t->asked = true;
    (void)!gw_control(t->g, "status", &t->answer,
                      NULL); /* without the gateway's answer, no device counts as connected */
    gw_connected_parse(&t->connected, t->answer);
}

/* ---- children ---- */

static bool start_child(struct gw *g, struct gw_campaign_child *x)
{
    char url[GW_ADDRESS_MAX + 32];
    char image[GW_STORE_PATH_MAX];
    const char *argv[16] = {NULL, "update", "--url", url, "--json", "--quiet"};
    size_t n = 6;

    gw_child_url(x->update.address, (uint64_t)x->campaign.port, url, sizeof url);
    gw_store_path(g, x->campaign.image, image);
    /* A stopped campaign sends no image: another campaign may update the device meanwhile. */
    x->looks = x->update.state == GW_UPDATE_WAITING || x->campaign.state == GW_CAMPAIGN_STOPPED;
    argv[n++] = x->looks ? "--look" : "--since";
    if (!x->looks)
        argv[n++] = x->update.boot;
    if (x->campaign.opaque) {
        argv[n++] = "--opaque";
        argv[n++] = "--expect";
        argv[n++] = x->campaign.version;
    }
    argv[n++] = image;
    return gw_child_start(&x->child, g, true, argv);
}

static void drop_child(struct gw_campaigns *w, struct gw_campaign_child *x)
{
    struct gw_campaign_child **link = &w->children;

    while (*link && *link != x)
        link = &(*link)->next;
    if (*link)
        *link = x->next;
    w->n_children--;
    gw_child_close(&x->child);
    cmx_mem_free(x);
}

static void add_child(struct tick *t, const struct gw_campaign *c, const struct gw_update *u)
{
    struct gw_campaign_child *x = cmx_mem_alloc(sizeof *x);

    if (!x)
        return; /* the next tick tries again */
    x->campaign = *c;
    x->update = *u;
    x->next = t->w->children;
    t->w->children = x;
    t->w->n_children++;
    if (!start_child(t->g, x))
        drop_child(t->w, x);
}

/* ---- the end of a child ---- */

static bool must_attest(struct gw_registry *r, const char *name)
{
    struct gw_standing s;
    struct cmx_why e = {0};

    /* If the registry can't be read, evidence is required. */
    return gw_standing_get(r, name, &s, &e) != CMX_OK || (s.policy && !s.exempt);
}

static void unreached(struct tick *t, struct gw_update *u)
{
    if (!gw_connected_has(&t->connected, u->name))
        return; /* the device is tried again when it comes back */
    u->tries++;
    if (u->tries >= GW_CAMPAIGN_TRIES_MAX)
        u->state = GW_UPDATE_FAILED;
}

/* Sets the state of the device's update from the outcome that the child printed. */
static void end_child(struct tick *t, struct gw_campaign_child *x, int status)
{
    struct gw_update *u = &x->update;
    char outcome[16] = "";
    char boot[GW_CAMPAIGN_BOOT_MAX];
    char node[GW_NAME_MAX];
    bool has_boot = gw_child_json(&x->child, "boot", boot, sizeof boot) && boot[0];

    (void)gw_child_json(&x->child, "outcome", outcome, sizeof outcome);
    if (WIFEXITED(status) && WEXITSTATUS(status) == GW_COULD_NOT)
        snprintf(u->detail, sizeof u->detail, "the gateway's namespaces can't be entered");
    else
        gw_child_last_line(&x->child, false, u->detail, sizeof u->detail);
    if (strcmp(outcome, "updated") == 0) {
        u->state = must_attest(&t->g->registry, u->name) ? GW_UPDATE_ATTESTING : GW_UPDATE_DONE;
    } else if (gw_claim_is_elsewhere(&t->g->registry, u->address, node)) {
        /* This gateway's child cannot know the outcome, because the device is now connected to another gateway. */
        snprintf(u->detail, sizeof u->detail,
                 "it moved to the gateway %s, which continues the update if it has the image", node);
    } else if (x->looks && has_boot && strcmp(outcome, "not-sent") == 0) {
        /* In a stopped campaign, children look only at devices whose update has begun. This device is not running the
         * image, so its update waits again. */
        u->state = x->campaign.state == GW_CAMPAIGN_STOPPED ? GW_UPDATE_WAITING : GW_UPDATE_BEGUN;
        snprintf(u->boot, sizeof u->boot, "%s", boot);
    } else if (outcome[0] && strcmp(outcome, "not-sent") != 0) {
        u->state = GW_UPDATE_FAILED;
    } else {
        unreached(t, u);
    }
    x->ended = true;
}

static void reap_children(struct tick *t)
{
    for (struct gw_campaign_child *x = t->w->children; x; x = x->next) {
        int status;

        if (x->ended || waitpid(x->child.pid, &status, WNOHANG) != x->child.pid)
            continue;
        read_connected(t);
        end_child(t, x, status);
    }
}

/* ---- a campaign's progress ---- */

/* The updates to store: those that judge_evidence has ended, and those whose time is in the future. */
struct settled {
    struct tick *t;
    const struct gw_campaign *campaign; /* the campaign whose devices are collected */
    struct settled_update {
        const struct gw_campaign *campaign;
        struct gw_update update;
    } * list;
    size_t n, cap;
};

static void fail_update(struct gw_update *u, const char *why)
{
    u->state = GW_UPDATE_FAILED;
    snprintf(u->detail, sizeof u->detail, "%s", why);
}

static bool matches_campaign(const struct gw_campaign *c, const char *manifest)
{
    for (size_t i = 0; i < c->n_manifests; i++)
        if (strcmp(c->manifests[i], manifest) == 0)
            return true;
    return c->n_manifests == 0;
}

/* Ends the update if the device needs no evidence, its new evidence has arrived, or none arrived within
 * GW_CAMPAIGN_EVIDENCE_S seconds. Otherwise demands evidence. Ignores evidence with a time in the future, which arrived
 * before the clock was set back. */
static void judge_evidence(struct tick *t, const struct gw_campaign *c, struct gw_update *u)
{
    struct gw_standing s;
    char text[GW_CAMPAIGN_DETAIL_MAX];

    if (gw_standing_get(&t->g->registry, u->name, &s, t->e))
        return; /* the next tick tries again */
    if (!s.policy || s.exempt) {
        u->state = GW_UPDATE_DONE;
    } else if (s.at > u->at && s.at <= t->now) {
        if (!s.trusted) {
            fail_update(u, s.reason);
        } else if (!matches_campaign(c, s.manifest)) {
            fail_update(u, "its evidence matches a manifest that is not one of the campaign's");
        } else {
            u->state = GW_UPDATE_DONE;
            snprintf(u->detail, sizeof u->detail, "version %s is running, confirmed and attested", c->version);
        }
    } else if (t->now - u->at > GW_CAMPAIGN_EVIDENCE_S) {
        snprintf(text, sizeof text, "it gave no evidence after the update: %.120s", s.reason);
        fail_update(u, text);
    } else {
        t->w->demand(t->w->arg, u->device);
    }
}

static cmx_err collect_attesting(void *arg, const struct gw_update *u)
{
    struct settled *s = arg;
    struct settled_update x = {s->campaign, *u};
    bool set_back = u->at > s->t->now; /* the clock was set back; storing the update sets u->at to the current time */

    if (u->state != GW_UPDATE_ATTESTING)
        return CMX_OK;
    if (!set_back)
        judge_evidence(s->t, s->campaign, &x.update);
    if (!set_back && x.update.state == GW_UPDATE_ATTESTING)
        return CMX_OK;
    return gw_list_add(&s->list, &s->n, &s->cap, &x, sizeof x);
}

static uint64_t done_of(const struct gw_campaign *c)
{
    return (uint64_t)(c->count[GW_UPDATE_DONE] + c->count[GW_UPDATE_FAILED]);
}

static bool is_left(const struct gw_campaign *c)
{
    return c->count[GW_UPDATE_WAITING] || c->count[GW_UPDATE_BEGUN] || c->count[GW_UPDATE_ATTESTING];
}

static bool is_over(const struct gw_campaign *c)
{
    return c->state == GW_CAMPAIGN_ACTIVE &&
           (!is_left(c) || gw_pace_must_stop(&c->pace, done_of(c), (uint64_t)c->count[GW_UPDATE_FAILED]));
}

static cmx_err end_campaign(struct tick *t, const struct gw_campaign *c)
{
    char reason[GW_CAMPAIGN_DETAIL_MAX];

    snprintf(reason, sizeof reason, "%lld of %llu devices failed", (long long)c->count[GW_UPDATE_FAILED],
             (unsigned long long)done_of(c));
    gw_note("campaign %s: %s: %s", c->name, is_left(c) ? "STOPPED" : "done", reason);
    return gw_campaign_set(&t->g->registry, c, is_left(c) ? GW_CAMPAIGN_STOPPED : GW_CAMPAIGN_DONE, reason, t->e);
}

static cmx_err write_all(struct tick *t, const struct settled *settled)
{
    cmx_err err = gw_registry_begin(&t->g->registry, t->e);

    for (struct gw_campaign_child *x = t->w->children; !err && x; x = x->next)
        if (x->ended)
            err = gw_update_set(&t->g->registry, &x->campaign, &x->update, t->e);
    for (size_t i = 0; !err && i < settled->n; i++)
        err = gw_update_set(&t->g->registry, settled->list[i].campaign, &settled->list[i].update, t->e);
    for (size_t i = 0; !err && i < t->n_due; i++)
        if (is_over(&t->due[i]))
            err = end_campaign(t, &t->due[i]);
    return gw_registry_end(&t->g->registry, err, t->e);
}

static bool any_ended(const struct gw_campaigns *w)
{
    for (const struct gw_campaign_child *x = w->children; x; x = x->next)
        if (x->ended)
            return true;
    return false;
}

/* Stores the results since the last call, if there are any. */
static cmx_err write_progress(struct tick *t)
{
    struct settled settled = {.t = t};
    bool over = false;
    cmx_err err = CMX_OK;

    for (size_t i = 0; !err && i < t->n_due; i++) {
        settled.campaign = &t->due[i];
        over |= is_over(settled.campaign);
        if (settled.campaign->count[GW_UPDATE_ATTESTING])
            err = gw_update_each(&t->g->registry, settled.campaign->id, collect_attesting, &settled, t->e);
    }
    if (!err && (settled.n || over || any_ended(t->w)))
        err = write_all(t, &settled);
    cmx_mem_free(settled.list);
    return err;
}

/* ---- choosing devices ---- */

struct choice {
    struct tick *t;
    const struct gw_campaign *campaign;
    uint64_t running;
};

static bool is_ripe(const struct choice *k, const struct gw_update *u)
{
    return (u->state == GW_UPDATE_WAITING || u->state == GW_UPDATE_BEGUN) && !find_child(k->t->w, u->device) &&
           gw_connected_has(&k->t->connected, u->name) &&
           (u->tries == 0 || k->t->now - u->at >= u->tries * GW_CAMPAIGN_RETRY_S || k->t->now < u->at);
}

/* Devices whose update has begun come first. While the campaign's first devices are being updated, a device that is
 * away blocks the others, because the new image may be the reason why it is away. */
static cmx_err start_begun(void *arg, const struct gw_update *u)
{
    struct choice *k = arg;
    bool open = u->state == GW_UPDATE_WAITING || u->state == GW_UPDATE_BEGUN;
    /* If the update is not open, the device's child belongs to another campaign. */
    bool runs = open && find_child(k->t->w, u->device);
    bool strict = done_of(k->campaign) < k->campaign->pace.first;

    if (!runs && u->state == GW_UPDATE_BEGUN && is_ripe(k, u)) {
        add_child(k->t, k->campaign, u);
        runs = true;
    }
    k->running += runs || u->state == GW_UPDATE_ATTESTING || (strict && u->state == GW_UPDATE_BEGUN);
    return CMX_OK;
}

static cmx_err start_waiting(void *arg, const struct gw_update *u)
{
    struct choice *k = arg;

    if (!gw_pace_may_start(&k->campaign->pace, done_of(k->campaign), k->running) ||
        k->t->w->n_children >= GW_CAMPAIGN_CHILDREN_MAX)
        return CMX_ECLOSED; /* no further update may start now */
    if (u->state == GW_UPDATE_WAITING && is_ripe(k, u)) {
        add_child(k->t, k->campaign, u);
        k->running++;
    }
    return CMX_OK;
}

static cmx_err choose_devices(struct tick *t, const struct gw_campaign *c)
{
    struct choice k = {.t = t, .campaign = c};
    const bool active = c->state == GW_CAMPAIGN_ACTIVE;
    char image[GW_STORE_PATH_MAX];
    cmx_err err;

    /* Gateways that share a registry share its campaigns. Each gateway updates the devices that are connected to it,
     * provided that it has the image. */
    gw_store_path(t->g, c->image, image);
    if ((active ? c->begins > t->now : !c->count[GW_UPDATE_BEGUN]) || is_over(c) || access(image, R_OK) != 0)
        return CMX_OK;
    err = gw_update_each(&t->g->registry, c->id, start_begun, &k, t->e);
    if (!err && active)
        err = gw_update_each(&t->g->registry, c->id, start_waiting, &k, t->e);
    return err == CMX_ECLOSED ? CMX_OK : err;
}

/* ---- the tick ---- */

static cmx_err collect_campaign(void *arg, const struct gw_campaign *c)
{
    struct tick *t = arg;

    /* A paused campaign still completes updates that have begun; a stopped one finds out how they ended. */
    if ((c->state != GW_CAMPAIGN_ACTIVE || c->begins > t->now) && !c->count[GW_UPDATE_BEGUN] &&
        !c->count[GW_UPDATE_ATTESTING])
        return CMX_OK;
    return gw_list_add(&t->due, &t->n_due, &t->cap_due, c, sizeof *c);
}

/* Frees the children that ended. Their results must have been stored. */
static void drop_ended(struct gw_campaigns *w)
{
    struct gw_campaign_child *next;

    for (struct gw_campaign_child *x = w->children; x; x = next) {
        next = x->next;
        if (x->ended)
            drop_child(w, x);
    }
}

static cmx_err run_tick(struct tick *t)
{
    bool choose = cmx_port_now_ms() - t->w->looked_ms >= CHOOSE_MS;
    cmx_err err = gw_campaign_each(&t->g->registry, collect_campaign, t, t->e);

    reap_children(t);
    choose = (choose && t->n_due) || any_ended(t->w);
    if (err || !choose)
        return err;
    err = write_progress(t);
    if (err)
        return err;
    drop_ended(t->w);
    t->w->looked_ms = cmx_port_now_ms();
    t->n_due = 0;
    err = gw_campaign_each(&t->g->registry, collect_campaign, t, t->e);
    if (t->n_due)
        read_connected(t);
    for (size_t i = 0; !err && i < t->n_due; i++)
        err = choose_devices(t, &t->due[i]);
    return err;
}

cmx_err gw_campaigns_tick(struct gw_campaigns *w, struct gw *g, struct cmx_why *e)
{
    struct tick t = {.w = w, .g = g, .e = e, .now = (int64_t)time(NULL)};
    char source[GW_ADDRESS_MAX];
    cmx_err err = CMX_OK;

    /* Children connect from the gateway's own identity. The packet filter permits this identity to reach every device,
     * even a quarantined one. */
    if (!g->user && !g->simple)
        err = gw_party_gateway_identity(&g->fleet, source, e);
    if (!err && !g->user && !g->simple && setenv(HTTP_SOURCE_VARIABLE, source, 1) != 0)
        err = CMX_ENOMEM;
    if (!err)
        err = run_tick(&t);

    gw_connected_free(&t.connected);
    free(t.answer);
    cmx_mem_free(t.due);
    return err;
}
