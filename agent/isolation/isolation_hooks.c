/* isolation_hooks.c - the proxy engine's hooks: they permit a gateway's address while sessions use this address, and
 * DNS queries while a gateway's name is looked up. */
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/isolation/agent_isolation.h"
#include "agent/isolation/isolation_state.h"
#include "cmxsafe/core/log.h"
#include "cmxsafe/port/port.h"
#include "cmxsafe/proxy/net.h"

#define TAG ISOLATION_TAG
#define COMMAND_MAX 1024

static bool same_end(const struct cmx_end *a, const struct cmx_end *b)
{
    return a->port == b->port && cmx_ip_equal(&a->ip, &b->ip);
}

/* True if the rules permit the address permanently, because the configuration contains it. */
static bool is_configured(const struct isolation *s, const struct cmx_end *end)
{
    const struct cmx_iso_config *p = &s->rules.policy;

    for (size_t i = 0; i < p->n_gateways; i++)
        if (p->gateways[i].port == end->port && cmx_ip_equal(&p->gateways[i].ip, &end->ip))
            return true;
    return false;
}

/* Changes the rules. This fails if the rules are missing. The agent's loop then installs them again, and the engine
 * repeats the failed attempt later. */
static cmx_err change_rules(struct isolation *s, struct cmx_buf *command)
{
    struct cmx_why why = {""};
    const char *text;
    cmx_err err = cmx_buf_cstr(command, &text);

    if (!err)
        err = nft_guard_change(s->guard, text, &why);
    isolation_observe(s);
    if (err && s->state == ISOLATION_IN_FORCE)
        cmx_log_limited(CMX_LOG_ERROR, TAG, "cannot change the rules: %s; see 'cmxsafed isolation --show'",
                        cmx_why_text(&why, err));
    return err;
}

static struct live_gateway *find_live(struct isolation *s, const struct cmx_end *end)
{
    for (size_t i = 0; i < CMX_NFT_LIVE_MAX; i++)
        if (s->live[i].sessions && same_end(&s->live[i].end, end))
            return &s->live[i];
    return NULL;
}

static struct live_gateway *free_live(struct isolation *s)
{
    for (size_t i = 0; i < CMX_NFT_LIVE_MAX; i++)
        if (!s->live[i].sessions)
            return &s->live[i];
    return NULL;
}

static cmx_err permit_gateway(struct isolation *s, const struct cmx_end *end, bool begins)
{
    char text[COMMAND_MAX];
    struct cmx_buf b;
    cmx_err err;

    cmx_buf_init(&b, text, sizeof text);
    err = cmx_nft_gateway(&b, end, begins);
    return err ? err : change_rules(s, &b);
}

static cmx_err session_begins(struct isolation *s, const struct cmx_end *end)
{
    struct live_gateway *l = find_live(s, end);
    cmx_err err;

    if (l) {
        l->sessions++;
        return CMX_OK;
    }
    l = free_live(s);
    if (!l)
        return CMX_ENOSPC;
    err = permit_gateway(s, end, true);
    if (!err) {
        l->end = *end;
        l->sessions = 1;
    }
    return err;
}

/* Permits the address that the engine is about to connect to, if the gateway is configured by name. */
cmx_err isolation_session_opens(struct isolation *s, const struct sockaddr *gateway)
{
    cmx_err err = CMX_OK;
    struct cmx_end end;

    if (!cmx_net_ip(gateway, &end.ip, &end.port))
        return CMX_EPERM;
    cmx_port_mutex_lock(&s->lock);
    if (s->state == ISOLATION_BROKEN)
        err = CMX_EPERM;
    else if (!is_configured(s, &end))
        err = session_begins(s, &end);
    if (s->state == ISOLATION_RELEASED)
        err = CMX_OK; /* the rules may have been removed */
    cmx_port_mutex_unlock(&s->lock);
    return err;
}

void isolation_session_closed(struct isolation *s, const struct sockaddr *gateway)
{
    struct live_gateway *l;
    struct cmx_end end;

    if (!cmx_net_ip(gateway, &end.ip, &end.port))
        return;
    cmx_port_mutex_lock(&s->lock);
    l = find_live(s, &end);
    if (l && --l->sessions == 0 && !is_configured(s, &end) && s->state == ISOLATION_IN_FORCE)
        if (permit_gateway(s, &end, false) != CMX_OK)
            cmx_log(CMX_LOG_WARN, TAG,
                    "cannot remove an old address of the gateway; it stays permitted until the next reload");
    cmx_port_mutex_unlock(&s->lock);
}

void isolation_resolve(struct isolation *s, bool begins)
{
    char text[COMMAND_MAX];
    struct cmx_buf b;

    cmx_buf_init(&b, text, sizeof text);
    cmx_port_mutex_lock(&s->lock);
    if (begins ? s->resolving++ == 0 : s->resolving && --s->resolving == 0)
        if (s->state == ISOLATION_IN_FORCE &&
            (cmx_nft_resolving(&b, &s->rules, begins) != CMX_OK || change_rules(s, &b) != CMX_OK))
            cmx_log_limited(CMX_LOG_WARN, TAG, "the rules could not be changed for the look-up of the gateway's name");
    cmx_port_mutex_unlock(&s->lock);
}
