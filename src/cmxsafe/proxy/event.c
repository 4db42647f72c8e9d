/* event.c - tells the hook of connections that opened, ended or were refused. */
#include "cmxsafe/proxy/engine.h"

static void tell(const struct session *s, struct cmx_relay_event *e)
{
    const struct cmx_proxy_hooks *h = &s->proxy->hooks;

    e->session = s->name;
    if (h->relay)
        h->relay(h->arg, e);
}

static void tell_of(const struct relay *x, const struct session *s, cmx_relay_event_kind kind, cmx_err cause)
{
    struct cmx_relay_event e = {.kind = kind,
                                .context = x->run->cfg.name,
                                .direction = x->run->cfg.direction,
                                .from = x->from,
                                .number = x->number,
                                .bytes_in = x->bytes_in,
                                .bytes_out = x->bytes_out,
                                .lasted_ms = cmx_port_now_ms() - x->opened_ms,
                                .cause = cause};

    tell(s, &e);
}

void cmx_relay_tell_opened(struct relay *x, struct session *s)
{
    x->number = x->run->live.relays_total;
    x->opened_ms = s->now_ms;
    tell_of(x, s, CMX_RELAY_OPENED, CMX_OK);
}

void cmx_relay_tell_closed(struct relay *x, struct session *s, cmx_err cause)
{
    if (x->number)
        tell_of(x, s, CMX_RELAY_CLOSED, cause);
    x->number = 0;
}

void cmx_relay_tell_refused(struct session *s, struct run *r, const char *from, cmx_err cause)
{
    struct cmx_relay_event e = {.kind = CMX_RELAY_REFUSED, .from = from, .cause = cause};

    if (r) {
        e.context = r->cfg.name;
        e.direction = r->cfg.direction;
        r->live.relays_refused++;
        r->live.last_refusal = cause;
        r->live.last_refusal_ms = cmx_port_now_ms();
        r->dirty = true;
    }
    tell(s, &e);
}
