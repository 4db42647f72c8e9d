/* event.c - tells the hook of connections that opened, ended or were refused. */
#include "cmxsafe/proxy/engine.h"

static void tell(const struct session *s, struct cmx_relay_event *e)
{
    const struct cmx_proxy_hooks *h = &s->proxy->hooks;

    e->session = s->name;
    h->relay(h->arg, e);
}

void cmx_relay_tell_opened(struct relay *x, struct session *s, uint64_t now)
{
    struct cmx_relay_event e = {.kind = CMX_RELAY_OPENED,
                                .context = x->run->cfg.name,
                                .direction = x->run->cfg.direction,
                                .from = x->from,
                                .number = x->run->live.relays_total};

    x->number = e.number;
    x->opened_ms = now;
    if (s->proxy->hooks.relay)
        tell(s, &e);
}

void cmx_relay_tell_closed(struct relay *x, struct session *s, cmx_err cause)
{
    struct cmx_relay_event e = {.kind = CMX_RELAY_CLOSED,
                                .context = x->run->cfg.name,
                                .direction = x->run->cfg.direction,
                                .from = x->from,
                                .number = x->number,
                                .bytes_in = x->bytes_in,
                                .bytes_out = x->bytes_out,
                                .cause = cause};

    if (!x->number)
        return;
    x->number = 0;
    e.lasted_ms = cmx_port_now_ms() - x->opened_ms;
    if (s->proxy->hooks.relay)
        tell(s, &e);
}

void cmx_relay_tell_refused(struct session *s, struct run *r, const char *from, cmx_err cause)
{
    struct cmx_relay_event e = {.kind = CMX_RELAY_REFUSED, .from = from ? from : "", .cause = cause};

    if (r) {
        e.context = r->cfg.name;
        e.direction = r->cfg.direction;
        r->live.relays_refused++;
        r->live.last_refusal = cause;
        r->live.last_refusal_ms = cmx_port_now_ms();
        r->dirty = true;
    }
    if (s->proxy->hooks.relay)
        tell(s, &e);
}
