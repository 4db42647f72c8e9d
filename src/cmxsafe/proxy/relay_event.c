#include "cmxsafe/proxy/relay_event.h"

static void report(const struct session *s, struct cmx_relay_event *e)
{
    const struct cmx_proxy_hooks *h = &s->engine->hooks;

    e->session = s->name;
    if (h->relay)
        h->relay(h->arg, e);
}

static void report_relay(const struct relay *x, const struct session *s, cmx_relay_event_kind kind, cmx_err cause)
{
    struct cmx_relay_event e = {.kind = kind,
                                .context = x->run->cfg.name,
                                .direction = x->run->cfg.direction,
                                .from = x->from,
                                .number = x->number,
                                .bytes_in = x->bytes_in,
                                .bytes_out = x->bytes_out,
                                .lasted_ms = cmx_port_now_ms() - x->created_ms,
                                .cause = cause};

    report(s, &e);
}

void cmx_relay_event_opened(struct relay *x, struct session *s)
{
    x->number = x->run->live.relays_total;
    report_relay(x, s, CMX_RELAY_OPENED, CMX_OK);
}

void cmx_relay_event_closed(struct relay *x, struct session *s, cmx_err cause)
{
    if (x->number)
        report_relay(x, s, CMX_RELAY_CLOSED, cause);
    x->number = 0;
}

void cmx_relay_event_refused(struct session *s, struct run *r, const char *from, cmx_err cause)
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
    report(s, &e);
}
