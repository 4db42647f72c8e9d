#include "cmxsafe/device/device_isolation.h"

#include <netinet/in.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>

#include "cmxsafe/core/log.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/device/device_isolation_state.h"
#include "cmxsafe/isolation/digest.h"
#include "cmxsafe/isolation/link.h"
#include "cmxsafe/port/port.h"

#define TAG CMX_DEVICE_ISOLATION_TAG
#define LOG_STACK 4096
#define LOG_MS 100

/* `lock` serialises configuring, installing and ending isolation: a sketch's tasks may register contexts while
 * setup_sm() runs. */
static struct {
    atomic_bool logging; /* log_drops is running */
    struct cmx_device_isolation platform;
    struct cmx_mutex lock;
} isolation;

/* Runs before any task. */
__attribute__((constructor)) static void make_lock(void)
{
    cmx_port_mutex_init(&isolation.lock);
}

void cmx_device_set_isolation(const struct cmx_device_isolation *platform)
{
    isolation.platform = *platform;
}

bool cmx_device_isolation_active(void)
{
    return cmx_device_isolation_state_standing() == CMX_ISOLATION_ACTIVE;
}

bool cmx_device_isolation_settled(void)
{
    const cmx_isolation_standing s = cmx_device_isolation_state_standing();

    return s == CMX_ISOLATION_ACTIVE || s == CMX_ISOLATION_NONE;
}

/* ---- configuration ---- */

static bool numeric(const char *text, struct cmx_ip *out)
{
    return text && cmx_ip_parse(out, text);
}

static size_t numerics(const char *const *texts, size_t n, struct cmx_ip *out)
{
    size_t i, found = 0;

    for (i = 0; i < n; i++)
        if (numeric(texts[i], &out[found]))
            found++;
    return found;
}

static void add_context(struct cmx_iso_config *c, const struct cmx_context *x)
{
    struct cmx_iso_context *to = &c->contexts[c->n_contexts];

    /* A service given by a host name other than localhost gets no rule: its relays are refused. */
    if (x->local_host && strcmp(x->local_host, "localhost") != 0 && !numeric(x->local_host, &to->local))
        return;
    to->direct = x->direction == CMX_DIRECT;
    to->port = x->local_port;
    to->tasks = to->direct ? x->tasks : NULL;
    c->n_contexts++;
}

/* If the list of gateways cannot be parsed, the rules name no gateway. That is safe, because the engine refuses such a
 * list too. */
static void add_gateways(struct cmx_iso_config *c, struct cmx_gateway_list *l, const struct cmx_gateway *gateway)
{
    if (!gateway || cmx_gateway_list_parse(l, gateway->host ? gateway->host : "", gateway->port, NULL) != CMX_OK)
        return;
    for (size_t i = 0; i < l->n; i++) {
        struct cmx_iso_gateway *g = &c->gateways[i];

        g->port = l->at[i].port;
        if (!numeric(l->at[i].host, &g->ip))
            g->name = l->at[i].host;
    }
    c->n_gateways = l->n;
}

/* Converts the contexts and the platform's values to the policy's rules. *c is zeroed. The rules borrow the gateways'
 * names from s. */
static void compile_rules(struct cmx_iso_config *c, struct cmx_device_isolation_state *s,
                          const struct cmx_gateway *gateway, const struct cmx_context *contexts, size_t n)
{
    const struct cmx_device_isolation *p = &isolation.platform;
    size_t i;

    add_gateways(c, &s->gateways, gateway);
    for (i = 0; i < CMX_ISO_TIME_NAMES_MAX; i++)
        c->time_names[i] = p->time_names[i];
    c->n_resolvers = numerics(p->resolvers, 3, c->resolvers);
    c->n_time_servers = numerics(p->time_servers, 3, c->time_servers);
    memcpy(c->control_ports, p->control_ports, sizeof c->control_ports);
    c->dhcp4 = c->dhcp6 = c->ipv6 = true;
    for (i = 0; i < n && i < CMX_ISO_CONTEXTS_MAX; i++)
        add_context(c, &contexts[i]);
}

/* gateway is NULL if there is no gateway. Call with isolation.lock held. */
static cmx_err configure(const struct cmx_filter *filter, const struct cmx_gateway *gateway,
                         const struct cmx_context *contexts, size_t n)
{
    struct cmx_iso_config *c = cmx_mem_alloc(sizeof *c);
    struct cmx_device_isolation_state *old = cmx_device_isolation_state(), *s = old ? old : cmx_mem_alloc(sizeof *s);
    cmx_err err = CMX_ENOMEM;

    if (c && s) {
        filter->lock();
        compile_rules(c, s, gateway, contexts, n);
        err = old ? cmx_isolation_configure(&s->iso, c) : cmx_isolation_init(&s->iso, c, s->flows, CMX_DEVICE_FLOWS);
        filter->unlock();
    }
    if (!err)
        cmx_device_isolation_state_set(s);
    else if (!old)
        cmx_mem_free(s);
    cmx_mem_free(c);
    return err;
}

cmx_err cmx_device_isolation_configure(const struct cmx_gateway *gateway, const struct cmx_context *contexts, size_t n)
{
    const struct cmx_filter *filter = cmx_port_filter();
    cmx_err err = CMX_OK;

    cmx_port_mutex_lock(&isolation.lock);
    if (cmx_device_isolation_state_standing() == CMX_ISOLATION_FAILED)
        err = CMX_EPERM;
    else if (filter)
        err = configure(filter, gateway, contexts, n);
    cmx_port_mutex_unlock(&isolation.lock);
    return err;
}

void cmx_device_isolation_clear(void)
{
    struct cmx_device_isolation_state *s = cmx_device_isolation_state_enter();

    if (!s)
        return;
    s->iso.config.n_gateways = s->iso.config.n_contexts = 0;
    cmx_device_isolation_state_leave();
}

/* ---- packets ---- */

/* Denies every packet if the allocation of the state failed. */
static bool judge_packet(const struct cmx_filter_packet *q)
{
    const struct cmx_frame f = {q->ethernet ? CMX_FRAME_ETHERNET : CMX_FRAME_IP, q->data, q->len, q->total};
    struct cmx_device_isolation_state *s = cmx_device_isolation_state();
    const uint32_t now = cmx_device_isolation_now_s();
    struct cmx_decision d;

    if (!s)
        return false;
    d = cmx_isolation_check(&s->iso, q->iface, q->out ? CMX_OUT : CMX_IN, &f, now);
    if (d.verdict == CMX_ALLOW)
        return true;
    cmx_drops_note(&s->drops, q, &f, d.why, now);
    return false;
}

static void note_neighbour(const struct cmx_filter_neighbour *n)
{
    struct cmx_device_isolation_state *s = cmx_device_isolation_state();

    if (s)
        cmx_isolation_neighbour(&s->iso, n, cmx_device_isolation_now_s());
}

static const struct cmx_filter_calls calls = {.judge = judge_packet, .neighbour = note_neighbour};

/* Logs drops, in a task of its own, because the task that drops a packet may be a driver's task with a small stack. */
static void log_drops(void *arg)
{
    struct cmx_device_isolation_state *s;
    struct cmx_drop drop;

    (void)arg;
    while (cmx_device_isolation_active() && (s = cmx_device_isolation_state_enter()) != NULL) {
        const bool taken = cmx_drops_take(&s->drops, &drop);

        cmx_device_isolation_state_leave();
        if (taken)
            cmx_drop_log(&drop);
        else
            cmx_port_sleep_ms(LOG_MS);
    }
    isolation.logging = false;
}

/* ---- installation ---- */

/* Call with isolation.lock held. */
static cmx_err install_filter(void)
{
    const struct cmx_filter *filter = cmx_port_filter();
    cmx_err err = CMX_OK, installed;

    if (!filter)
        return CMX_ENOTSUP;
    /* Before the first context only packets that need no context pass, such as ARP and DHCP. */
    if (!cmx_device_isolation_state())
        err = configure(filter, NULL, NULL, 0);
    installed = filter->install(&calls);
    if (err || installed)
        return err ? err : installed;
    /* Sessions may have opened connections, or sent a SYN, before the filter was installed. The policy adopts them. */
    filter->lock();
    cmx_isolation_adopt(&cmx_device_isolation_state()->iso);
    filter->unlock();
    return CMX_OK;
}

static void start_logging(void)
{
    isolation.logging = true;
    if (cmx_port_task_start("isolation", LOG_STACK, log_drops, cmx_device_isolation_state()) == CMX_OK)
        return;
    isolation.logging = false;
    cmx_log(CMX_LOG_WARN, TAG, "no log task: drops are only counted");
}

/* Call with isolation.lock held. */
static cmx_err isolate(void)
{
    bool accepted;
    cmx_err err;

    if (cmx_device_isolation_state_standing() == CMX_ISOLATION_ACTIVE)
        return CMX_OK;
    cmx_device_isolation_state_set_standing(CMX_ISOLATION_ASKED);
    err = install_filter();
    if (err == CMX_OK) {
        cmx_device_isolation_state_set_standing(CMX_ISOLATION_ACTIVE);
        cmx_log(CMX_LOG_INFO, TAG, "in force: packets pass only if the contexts need them");
        start_logging();
        return CMX_OK;
    }
    accepted = err == CMX_ENOTSUP && isolation.platform.accept_none;
    /* FAILED: from now on every context is refused. */
    cmx_device_isolation_state_set_standing(accepted ? CMX_ISOLATION_NONE : CMX_ISOLATION_FAILED);
    cmx_log(accepted ? CMX_LOG_WARN : CMX_LOG_ERROR, TAG, "NOT ISOLATED: %s%s", cmx_err_text(err),
            accepted ? "" : "; no proxy may run");
    return err;
}

cmx_err cmx_device_isolate(void)
{
    cmx_err err = cmx_port_device_start();

    cmx_port_mutex_lock(&isolation.lock);
    if (!err)
        err = isolate();
    else if (cmx_device_isolation_state_standing() != CMX_ISOLATION_ACTIVE)
        cmx_device_isolation_state_set_standing(CMX_ISOLATION_FAILED);
    cmx_port_mutex_unlock(&isolation.lock);
    return err;
}

void cmx_device_isolation_end(void)
{
    cmx_port_mutex_lock(&isolation.lock);
    cmx_device_isolation_state_set_standing(CMX_ISOLATION_NONE);
    while (isolation.logging)
        cmx_port_sleep_ms(10);
    cmx_mem_free(cmx_device_isolation_state());
    cmx_device_isolation_state_set(NULL);
    cmx_port_mutex_unlock(&isolation.lock);
}

/* ---- status ---- */

cmx_err cmx_device_isolation_digest(uint8_t out[CMX_SHA256_LEN])
{
    struct cmx_device_isolation_state *s = cmx_device_isolation_active() ? cmx_device_isolation_state_enter() : NULL;
    cmx_err err;

    if (!s)
        return CMX_ENOENT;
    err = cmx_iso_config_digest(&s->iso.config, out);
    cmx_device_isolation_state_leave();
    return err;
}

void cmx_device_isolation_json(struct cmx_json *j, const char *key)
{
    uint32_t counts[CMX_REASON_COUNT] = {0};
    const struct cmx_device_isolation_state *s = cmx_device_isolation_state_enter();
    size_t flows = 0, i;

    if (s) {
        memcpy(counts, s->iso.counts, sizeof counts);
        flows = cmx_isolation_flows(&s->iso);
        cmx_device_isolation_state_leave();
    }
    cmx_json_object(j, key);
    cmx_json_bool(j, "active", cmx_device_isolation_active());
    cmx_json_u64(j, "flows", flows);
    cmx_json_object(j, "packets");
    for (i = 0; i < CMX_REASON_COUNT; i++)
        cmx_json_u64(j, cmx_reason_name((cmx_reason)i), counts[i]);
    cmx_json_end(j);
    cmx_json_end(j);
}
