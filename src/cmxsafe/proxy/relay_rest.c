#include "cmxsafe/proxy/relay_rest.h"

#include "cmxsafe/port/port.h"
#include "cmxsafe/proxy/relay.h"

static bool can_rest(const struct relay *x, const struct session *s)
{
    return x->phase == RELAY_OPEN && x->to_local == HALF_OPEN && x->to_gateway == HALF_OPEN && !x->failed &&
           !x->run->cfg.idle_timeout_s && s->now_ms >= x->active_ms + CMX_RELAY_REST_MS &&
           cmx_relay_events(x, s) == POLLIN;
}

static void rest_enter(struct relay *x, struct session *s)
{
    x->next = s->resting;
    x->before = NULL;
    if (x->next)
        x->next->before = x;
    s->resting = x;
    x->rests = true;
}

static void rest_leave(struct relay *x, struct session *s)
{
    cmx_port_set_remove(s->rest_set, x->fd);
    if (x->before)
        x->before->next = x->next;
    else
        s->resting = x->next;
    if (x->next)
        x->next->before = x->before;
    x->rests = x->stirs = false;
    x->active_ms = s->now_ms; /* counts as a byte, so that the relay does not rest again before it is served */
    x->next = s->relays;
    s->relays = x;
}

void cmx_relay_rest_begin(struct session *s)
{
    if (!CMX_RELAY_REST_MS)
        return;
    for (struct relay **at = &s->relays; *at;) {
        struct relay *x = *at;

        if (can_rest(x, s) && s->rest_set < 0)
            s->rest_set = cmx_port_set_open();
        if (!can_rest(x, s) || s->rest_set < 0 || cmx_port_set_add(s->rest_set, x->fd, x)) {
            at = &x->next;
            continue;
        }
        *at = x->next;
        rest_enter(x, s);
    }
}

void cmx_relay_rest_ready(struct session *s)
{
    struct relay *ready[16];
    size_t n = CMX_RELAY_REST_MS ? cmx_port_set_ready(s->rest_set, (void **)ready, sizeof ready / sizeof ready[0]) : 0;

    for (size_t i = 0; i < n; i++)
        cmx_relay_state_stir(ready[i]);
}

void cmx_relay_rest_end(struct session *s)
{
    while (CMX_RELAY_REST_MS && s->stirred) {
        struct relay *x = s->stirred;

        s->stirred = x->stirred;
        rest_leave(x, s);
    }
}

void cmx_relay_rest_end_all(struct session *s)
{
    s->stirred = NULL;
    while (CMX_RELAY_REST_MS && s->resting)
        rest_leave(s->resting, s);
}
