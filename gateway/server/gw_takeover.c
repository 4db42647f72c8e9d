/* Takeover: a device logs in again while its old session may still hold its ports. sshd does not report whether a
 * session is alive, so the gateway probes the old session: a connection to one of its listeners makes its sshd request
 * a channel from the device (RFC 4254 section 7.2), and a live device answers, even if only with a refusal. If the
 * device sends no byte before the deadline, the session is dead and is ended.
 *
 * The probe runs before the new login is verified. This is safe, because the probe never ends a live session: two
 * clients with the same key cannot keep ending each other's sessions. */
#include <string.h>
#include <unistd.h>

#include "cmxsafe/port/port.h"
#include "gateway/server/gw_peer.h"
#include "gateway/server/gw_server.h"

#define TICK_MS 10

static void begin_probe(const struct gw_server *s, struct gw_client *c, struct gw_session *x,
                        const struct gw_listeners *l)
{
    struct gw_probe *p = &c->probes[c->n_probes];
    struct gw_forward f;
    uint64_t out;
    uint32_t rtt_us = 0;
    uint64_t patience;

    if (c->n_probes == GW_COUNT(c->probes) || gw_session_forwards(x, l, &f, 1) == 0)
        return; /* no probe is free, or the session holds no port that could be taken over */
    if (!gw_session_counters(x, &p->received, &out, &rtt_us))
        return;
    /* The packet filter allows all connections from the gateway's own identity. */
    p->fd = gw_peer_connect(s->idsock && strchr(f.address, ':') ? s->own_address : "", f.address, f.port);
    if (p->fd < 0)
        return;
    patience = 4 * (uint64_t)rtt_us / 1000;
    patience = patience < GW_PROBE_MIN_MS ? GW_PROBE_MIN_MS : patience > GW_PROBE_MAX_MS ? GW_PROBE_MAX_MS : patience;
    p->deadline_ms = cmx_port_now_ms() + patience;
    p->session = x->number;
    c->n_probes++;
}

/* True if another login of the same device is running the probes. This login then uses their results. */
static bool asked_already(const struct gw_server *s, const struct gw_client *c, const char *name)
{
    for (const struct gw_client *o = s->clients; o; o = o->next)
        if (o != c && o->n_probes && !o->closing && strcmp(o->name, name) == 0)
            return true;
    return false;
}

/* Starts the probes of the sessions at this gateway. */
static void begin_here(struct gw_server *s, struct gw_client *c, const char *fingerprint)
{
    struct gw_listeners l;
    struct gw_history *h;
    struct gw_session *x;
    uint64_t now = cmx_port_now_ms();

    for (x = s->sessions; x; x = x->next)
        if (x->up && !x->ending && strcmp(x->fingerprint, fingerprint) == 0)
            break;
    if (!x)
        return;
    snprintf(c->name, sizeof c->name, "%s", x->name);
    if (asked_already(s, c, x->name)) {
        c->follows = true;
        return;
    }
    h = gw_traffic_of(s, x->name);
    /* Limit the rate of the probes: any client can offer a known public key, as often as it wants. Even a normal login
     * causes two such requests: when the client offers the key, and when it sends the signature. */
    if (!h || (h->probed_ms && now - h->probed_ms < GW_PROBE_PAUSE_MS))
        return;
    h->probed_ms = now;
    gw_listeners_read(&l);
    for (; x; x = x->next)
        if (x->up && !x->ending && strcmp(x->fingerprint, fingerprint) == 0)
            begin_probe(s, c, x, &l);
    gw_listeners_free(&l);
}

void gw_takeover_begin(struct gw_server *s, struct gw_client *c, const char *fingerprint)
{
    struct gw_session *x = gw_session_numbered(s, c->session);

    begin_here(s, c, fingerprint);
    if (x)
        gw_peer_ask(s, c, x);
}

/* Counts a takeover of one of this device's sessions. False: it exceeds the limit for this minute. */
static bool within_rate(struct gw_server *s, const char *name)
{
    struct gw_history *h = gw_traffic_of(s, name);
    uint64_t now = cmx_port_now_ms();

    if (!h)
        return false;
    if (now - h->window_ms > 60000) {
        h->window_ms = now;
        h->takeovers = 0;
    }
    return ++h->takeovers <= GW_TAKEOVERS_PER_MINUTE;
}

static void decide_dead(struct gw_server *s, struct gw_session *x)
{
    if (!within_rate(s, x->name)) {
        s->counters.takeovers_refused++;
        if (x->history)
            x->history->takeovers_refused++;
        gw_note("%s: takeover refused: more than %d in a minute; is the same key installed on two devices?", x->name,
                GW_TAKEOVERS_PER_MINUTE);
        return;
    }
    s->counters.takeovers++;
    gw_session_end(s, x, "it did not answer, and its device is logging in again (takeover)");
}

/* Checks a probe, and ends the probed session if it is dead. True: the probe has a result. */
static bool move_on(struct gw_server *s, struct gw_probe *p, uint64_t now)
{
    struct gw_session *x = gw_session_numbered(s, p->session);
    uint64_t in = 0;
    uint64_t out;
    uint32_t rtt;

    if (x && gw_session_counters(x, &in, &out, &rtt) && in == p->received && now < p->deadline_ms)
        return false;
    if (x && !x->ending && in == p->received)
        decide_dead(s, x);
    p->session = 0;
    if (p->fd >= 0)
        close(p->fd);
    p->fd = -1;
    return true;
}

int gw_takeover_tick(struct gw_server *s)
{
    uint64_t now = cmx_port_now_ms();
    bool busy = false;

    for (struct gw_client *c = s->clients; c; c = c->next) {
        bool waits = c->n_probes || c->question.fd >= 0;
        bool decided = true;
        for (size_t i = 0; i < c->n_probes; i++)
            decided &= move_on(s, &c->probes[i], now);
        decided &= !gw_peer_tick(s, c);
        if ((waits && decided && !c->follows) || (c->deadline_ms && now > c->deadline_ms))
            c->closing = true;
        busy |= waits && !decided;
    }
    for (struct gw_client *c = s->clients; c; c = c->next)
        if (c->follows && c->question.fd < 0 && !asked_already(s, c, c->name))
            c->closing = true;
    return busy ? TICK_MS : -1;
}
