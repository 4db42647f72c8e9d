#include "cmxsafe/proxy/relay_state.h"

#include "cmxsafe/core/mem.h"

#define TAG "proxy"

static const char *phase_name(relay_phase phase)
{
    static const char *const names[] = {
        [RELAY_TENTATIVE] = "tentative", [RELAY_LOOKUP] = "look-up",    [RELAY_CONNECTING] = "connecting",
        [RELAY_OPENING] = "opening",     [RELAY_UNWANTED] = "unwanted", [RELAY_OPEN] = "open",
        [RELAY_CLOSING] = "closing",     [RELAY_DEAD] = "dead",
    };

    return names[phase];
}

static const char *half_name(half_state half)
{
    static const char *const names[] = {
        [HALF_OPEN] = "open",
        [HALF_DRAIN] = "drain",
        [HALF_SHUT] = "shut",
    };

    return names[half];
}

/* True if a relay in this phase counts in relays_open. */
static bool is_counted(relay_phase phase)
{
    switch (phase) {
    case RELAY_TENTATIVE:
    case RELAY_LOOKUP:
    case RELAY_CONNECTING:
    case RELAY_OPENING:
    case RELAY_OPEN:
        return true;
    case RELAY_UNWANTED:
    case RELAY_CLOSING:
    case RELAY_DEAD:
        return false;
    }
    return false;
}

struct relay *cmx_relay_state_new(struct session *s, struct run *r, relay_phase phase)
{
    struct relay *x = cmx_mem_alloc(sizeof *x);

    if (!x)
        return NULL;
    x->run = r;
    x->phase = phase;
    x->fd = -1;
    x->poll_index = -1;
    x->id = ++s->last_relay;
    x->active_ms = x->created_ms = s->now_ms;
    x->next = s->relays;
    s->relays = x;
    s->n_relays++;
    r->places++;
    r->live.relays_open += is_counted(phase);
    r->dirty = true;
    cmx_log(CMX_LOG_DEBUG, TAG, "%s: relay %u: new, %s", r->cfg.name, x->id, phase_name(phase));
    return x;
}

void cmx_relay_state_free(struct relay *x)
{
    cmx_ssh_channel_free(x->channel);
    x->run->places--;
    cmx_mem_free(x);
}

void(cmx_relay_state_set_phase)(struct relay *x, relay_phase phase, const char *event)
{
    if (x->phase == phase)
        return;
    cmx_log(CMX_LOG_DEBUG, TAG, "%s: relay %u: %s -> %s: %s", x->run->cfg.name, x->id, phase_name(x->phase),
            phase_name(phase), event);
    x->run->live.relays_open += is_counted(phase);
    x->run->live.relays_open -= is_counted(x->phase);
    x->run->dirty = true;
    x->phase = phase;
}

static void set_half(const struct relay *x, half_state *half, const char *name, half_state state, const char *event)
{
    if (*half == state)
        return;
    cmx_log(CMX_LOG_DEBUG, TAG, "%s: relay %u: %s: %s -> %s: %s", x->run->cfg.name, x->id, name, half_name(*half),
            half_name(state), event);
    *half = state;
}

void(cmx_relay_state_set_to_local)(struct relay *x, half_state state, const char *event)
{
    set_half(x, &x->to_local, "to local", state, event);
}

void(cmx_relay_state_set_to_gateway)(struct relay *x, half_state state, const char *event)
{
    set_half(x, &x->to_gateway, "to gateway", state, event);
}

void(cmx_relay_state_stir)(struct relay *x)
{
    struct session *s = x->run->session;

    if (!x->rests || x->stirs)
        return;
    x->stirs = true;
    x->stirred = s->stirred;
    s->stirred = x;
}

bool cmx_relay_state_has_backlog(const struct relay *x)
{
    return x->backlog > 0 || x->spill.data;
}

void cmx_relay_state_log_stall(struct relay *x, const struct session *s)
{
    if (CMX_LOG_COMPILED < CMX_LOG_DEBUG || s->now_ms < x->active_ms + CMX_RELAY_STALL_MS ||
        x->stall_ms == x->active_ms)
        return;
    x->stall_ms = x->active_ms;
    cmx_log(
        CMX_LOG_DEBUG, TAG,
        "%s: relay %u: no byte for %u s; to local: %s, %zu bytes wait for the local socket; to gateway: %s, %zu bytes "
        "held, window %zu%s",
        x->run->cfg.name, x->id, (unsigned)(CMX_RELAY_STALL_MS / 1000), half_name(x->to_local),
        x->backlog + x->spill.len - x->spill.off, half_name(x->to_gateway), x->held.len - x->held.off,
        cmx_ssh_channel_window(x->channel), cmx_ssh_wants_write(s->ssh) ? ", SSH socket full" : "");
}
