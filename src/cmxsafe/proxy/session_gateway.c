#include "cmxsafe/proxy/session_gateway.h"

#include <string.h>

#include "cmxsafe/proxy/session_login.h"

/* After this many attempts that failed although other sessions are up on the gateway, a session tries the other
 * gateways. Including the growing waits between them, these attempts take longer than a gateway needs to restart or to
 * become less busy. */
#define SHUT_OUT_MAX 3

bool cmx_session_needs_person(cmx_err err)
{
    return err == CMX_EHOSTKEY || err == CMX_EAUTH || err == CMX_ENOKEY;
}

void cmx_session_gateway_begin(struct engine *e, const struct cmx_proxy_config *config)
{
    cmx_gateway_turn_begin(&e->turn, &config->gateways, cmx_session_random(0));
}

void cmx_session_gateway_change(struct engine *e, const struct cmx_proxy_config *config,
                                const struct cmx_proxy_config *old)
{
    const struct cmx_gateway_list *l = &config->gateways;
    const struct cmx_gateway_host *used = &old->gateways.at[e->turn.at];

    cmx_session_gateway_begin(e, config);
    for (size_t i = 0; i < l->n; i++)
        if (l->at[i].port == used->port && strcmp(l->at[i].host, used->host) == 0)
            e->turn.at = (uint8_t)i;
}

void cmx_session_gateway_enter(struct session *s)
{
    uint8_t at;

    cmx_port_mutex_lock(&s->engine->lock);
    if (s->engine->n_up == 0 || s->engine->turn.at != s->search_from)
        s->searches = false;
    at = s->searches ? s->search.at : s->engine->turn.at;
    cmx_port_mutex_unlock(&s->engine->lock);
    s->proven = s->logged_in = false;
    if (at == s->gateway)
        return;
    s->gateway = at;
    s->address = 0;
    s->tried_types = 0;
    cmx_session_login_drop_lookup(s);
}

/* Makes `gateway` the gateway of the engine. Wakes all sessions, because a sleeping session would otherwise notice the
 * change only at its next keepalive. The caller holds the lock. */
static void move_engine(struct engine *e, uint8_t gateway)
{
    if (e->turn.at == gateway)
        return;
    e->turn.at = gateway;
    for (struct session *s = e->sessions; s; s = s->next)
        cmx_session_wake(s);
}

cmx_err cmx_session_gateway_join(struct session *s)
{
    struct engine *e = s->engine;
    cmx_err err = CMX_OK;

    cmx_port_mutex_lock(&e->lock);
    if (e->n_up && e->turn.at != s->gateway && !(s->searches && e->turn.at == s->search_from)) {
        err = CMX_EBUSY;
    } else {
        move_engine(e, s->gateway);
        e->n_up++;
        s->logged_in = true;
        s->searches = false;
        s->shut_out = 0;
    }
    cmx_port_mutex_unlock(&e->lock);
    return err;
}

bool cmx_session_gateway_left(struct session *s)
{
    bool left;

    cmx_port_mutex_lock(&s->engine->lock);
    left = s->engine->turn.at != s->gateway;
    cmx_port_mutex_unlock(&s->engine->lock);
    return left;
}

void cmx_session_gateway_leave(struct session *s)
{
    cmx_port_mutex_lock(&s->engine->lock);
    s->engine->n_up--;
    cmx_port_mutex_unlock(&s->engine->lock);
}

/* Called when this session's attempt failed although other sessions are up on the engine's gateway. After SHUT_OUT_MAX
 * such failures the session tries the other gateways one by one. Returns true if no gateway is left to try in this
 * round. */
static bool search_on(struct session *s, const struct cmx_gateway_list *l, cmx_err err, uint32_t random)
{
    if (s->searches && !cmx_gateway_turn_is_last(&s->search, l)) {
        cmx_gateway_turn_next(&s->search, l, random);
        return false;
    }
    if (s->searches || s->logged_in || cmx_session_needs_person(err) || err == CMX_EBUSY) {
        s->searches = false;
        s->shut_out = 0;
        return true;
    }
    if (++s->shut_out < SHUT_OUT_MAX || l->n == 1)
        return true;
    s->shut_out = 0;
    s->searches = true;
    s->search_from = s->engine->turn.at;
    s->search = (struct cmx_gateway_turn){.at = s->search_from};
    cmx_gateway_turn_next(&s->search, l, random);
    return false;
}

bool cmx_session_gateway_failed(struct session *s, cmx_err err)
{
    const struct cmx_gateway_list *l = &s->config->gateways;
    struct engine *e = s->engine;
    const uint32_t random = cmx_session_random(0);
    bool last = false;

    if (s->more_addresses && !s->proven) {
        s->address++;
        return false;
    }
    s->address = 0;
    cmx_port_mutex_lock(&e->lock);
    if (s->searches || (e->n_up && e->turn.at == s->gateway)) {
        last = search_on(s, l, err, random);
    } else if (e->turn.at == s->gateway) { /* otherwise another session has already moved turn.at on */
        if (s->proven)
            cmx_gateway_turn_worked(&e->turn);
        last = cmx_gateway_turn_is_last(&e->turn, l);
        if (!s->proven || err == CMX_ETIMEOUT)
            cmx_gateway_turn_next(&e->turn, l, random);
    }
    cmx_port_mutex_unlock(&e->lock);
    return last;
}
