#include "cmxsafe/device/isolation.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "cmxsafe/core/log.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/device/device.h"
#include "cmxsafe/device/drops.h"
#include "cmxsafe/isolation/digest.h"
#include "cmxsafe/isolation/policy.h"
#include "cmxsafe/port/filter.h"
#include "cmxsafe/port/port.h"

#define TAG CMX_LOG_ISOLATION
#define NAME_MAX_LEN 256 /* a host name, RFC 1035 section 2.3.4 */

#define TELL_STACK 3584
#define TELL_MS 100

/* On the heap, once there is a filter: a device without one pays nothing. */
struct state {
    struct cmx_isolation iso;
    struct cmx_flow flows[CMX_DEVICE_FLOWS];
    char name[NAME_MAX_LEN]; /* the gateway's; iso borrows it */
    struct cmx_drops drops;
};

typedef enum { STANDING_NONE, STANDING_ASKED, STANDING_ACTIVE, STANDING_FAILED } standing;

/* `lock` is held by who configures, installs or ends: sketches do the first in tasks of their own, while setup_sm()
 * runs. The state, made once, is under the filter's lock; its address, the standing and `telling` are read by anyone.
 */
static struct {
    struct cmx_device_isolation platform;
    struct cmx_mutex lock;
    bool ready; /* the lock is made; set before the first task by a constructor */
    struct state *state;
    standing standing;
    bool telling; /* the task that logs drops runs */
} isolation;

__attribute__((constructor)) static void make_lock(void)
{
    isolation.ready = cmx_port_mutex_init(&isolation.lock) == CMX_OK;
}

static standing standing_now(void)
{
    return __atomic_load_n(&isolation.standing, __ATOMIC_ACQUIRE);
}

static void set_standing(standing s)
{
    __atomic_store_n(&isolation.standing, s, __ATOMIC_RELEASE);
}

static struct state *state_now(void)
{
    return __atomic_load_n(&isolation.state, __ATOMIC_ACQUIRE);
}

static uint32_t now_ms(void)
{
    return (uint32_t)cmx_port_now_ms();
}

void cmx_device_set_isolation(const struct cmx_device_isolation *platform)
{
    isolation.platform = *platform;
}

bool cmx_device_isolation_active(void)
{
    return standing_now() == STANDING_ACTIVE;
}

bool cmx_device_isolation_settled(void)
{
    standing s = standing_now();

    return s == STANDING_ACTIVE || s == STANDING_NONE;
}

/* ---- configuration ---- */

static bool numeric(const char *text, struct cmx_ip *out)
{
    uint8_t b[16];

    if (!text)
        return false;
    if (inet_pton(AF_INET, text, b) == 1)
        cmx_ip4(out, b);
    else if (inet_pton(AF_INET6, text, b) == 1)
        cmx_ip6(out, b);
    else
        return false;
    return true;
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

    /* A service elsewhere than on loopback is out of reach then, and the relay is refused. */
    if (x->local_host && strcmp(x->local_host, "localhost") != 0 && !numeric(x->local_host, &to->local))
        return;
    to->direct = x->direction == CMX_DIRECT;
    to->port = x->local_port;
    to->tasks = to->direct ? x->tasks : NULL;
    c->n_contexts++;
}

static void compile(struct cmx_iso_config *c, struct state *s, const struct cmx_gateway *gateway,
                    const struct cmx_context *contexts, size_t n)
{
    const struct cmx_device_isolation *p = &isolation.platform;
    size_t i;

    memset(c, 0, sizeof *c);
    c->gateway_port = gateway->port;
    if (numeric(gateway->host, &c->gateways[0]))
        c->n_gateways = 1;
    else if (cmx_text_copy(s->name, sizeof s->name, gateway->host) == CMX_OK)
        c->names[0] = s->name;
    for (i = 0; i < 2; i++)
        c->names[1 + i] = p->time_names[i];
    c->n_resolvers = numerics(p->resolvers, 3, c->resolvers);
    c->n_time_servers = numerics(p->time_servers, 3, c->time_servers);
    memcpy(c->control_ports, p->control_ports, sizeof c->control_ports);
    c->dhcp4 = c->dhcp6 = !p->no_dhcp;
    c->ipv6 = !p->no_ipv6;
    for (i = 0; i < n && i < CMX_ISO_CONTEXTS_MAX; i++)
        add_context(c, &contexts[i]);
}

/* With the lock held. */
static cmx_err configure(const struct cmx_filter *filter, const struct cmx_gateway *gateway,
                         const struct cmx_context *contexts, size_t n)
{
    struct cmx_iso_config *c = cmx_mem_alloc(sizeof *c);
    struct state *s = isolation.state;
    cmx_err err;

    if (!s)
        s = cmx_mem_alloc(sizeof *s);
    if (!c || !s) {
        err = CMX_ENOMEM;
        goto out;
    }
    filter->lock();
    compile(c, s, gateway, contexts, n);
    err = isolation.state ? cmx_isolation_configure(&s->iso, c)
                          : cmx_isolation_init(&s->iso, c, s->flows, CMX_DEVICE_FLOWS);
    filter->unlock();
    if (err == CMX_OK)
        __atomic_store_n(&isolation.state, s, __ATOMIC_RELEASE);
out:
    if (s != isolation.state)
        cmx_mem_free(s);
    cmx_mem_free(c);
    return err;
}

cmx_err cmx_device_isolation_configure(const struct cmx_gateway *gateway, const struct cmx_context *contexts, size_t n)
{
    const struct cmx_filter *filter = cmx_port_filter();
    cmx_err err = CMX_OK;

    if (!isolation.ready)
        return CMX_ENOMEM;
    cmx_port_mutex_lock(&isolation.lock);
    if (standing_now() == STANDING_FAILED)
        err = CMX_EPERM;
    else if (filter)
        err = configure(filter, gateway, contexts, n);
    cmx_port_mutex_unlock(&isolation.lock);
    return err;
}

/* ---- the engine's sockets ---- */

static bool end_of(const struct sockaddr *a, struct cmx_end *end)
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)a;

    if (a && a->sa_family == AF_INET)
        cmx_ip4(&end->ip, (const uint8_t *)&in->sin_addr);
    else if (a && a->sa_family == AF_INET6)
        cmx_ip6(&end->ip, (const uint8_t *)&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr);
    else
        return false;
    end->port = ntohs(in->sin_port); /* at the same place in both families */
    return true;
}

/* The engine's kinds are the policy's. */
_Static_assert((int)CMX_SOCKET_SESSION == (int)CMX_FLOW_SESSION && (int)CMX_SOCKET_RELAY == (int)CMX_FLOW_RELAY &&
                   (int)CMX_SOCKET_LISTEN == (int)CMX_FLOW_LISTEN && (int)CMX_SOCKET_PAIR == (int)CMX_FLOW_PAIR,
               "change() is told the one for the other");

/* The state, with the filter's lock held; NULL, and not held, where there is none. */
static struct state *enter(void)
{
    const struct cmx_filter *filter = cmx_port_filter();
    struct state *s = filter ? state_now() : NULL;

    if (s)
        filter->lock();
    return s;
}

static void leave(void)
{
    cmx_port_filter()->unlock();
}

/* A socket of that kind comes, or goes. */
static cmx_err change(cmx_flow_kind kind, const struct sockaddr *local, const struct sockaddr *peer, bool comes)
{
    struct cmx_end here, there;
    const struct cmx_end *other = end_of(peer, &there) ? &there : NULL;
    struct state *s;
    cmx_err err = CMX_OK;

    if (!end_of(local, &here))
        return CMX_EINVAL;
    s = enter();
    if (!s)
        return standing_now() == STANDING_FAILED ? CMX_EPERM : CMX_OK;
    if (comes)
        err = cmx_isolation_socket_open(&s->iso, kind, &here, other, now_ms());
    else
        cmx_isolation_socket_close(&s->iso, kind, &here, other, now_ms());
    leave();
    return err;
}

cmx_err cmx_device_isolation_open(cmx_socket_kind kind, const struct sockaddr *local, const struct sockaddr *peer)
{
    return change((cmx_flow_kind)kind, local, peer, true);
}

void cmx_device_isolation_close(cmx_socket_kind kind, const struct sockaddr *local, const struct sockaddr *peer)
{
    (void)change((cmx_flow_kind)kind, local, peer, false); /* nothing can be done about it */
}

cmx_err cmx_device_isolation_claim(const struct sockaddr *local, const struct sockaddr *peer)
{
    return change(CMX_FLOW_CLAIM, local, peer, true);
}

void cmx_device_isolation_unclaim(const struct sockaddr *local, const struct sockaddr *peer)
{
    (void)change(CMX_FLOW_CLAIM, local, peer, false);
}

void cmx_device_isolation_resolve(bool begins)
{
    struct state *s = enter();

    if (!s)
        return;
    cmx_isolation_resolving(&s->iso, begins);
    leave();
}

/* ---- the judge ---- */

static void tell(void *arg)
{
    struct cmx_drop drops[CMX_DEVICE_DROP_LINES];
    struct state *s;

    (void)arg;
    while (cmx_device_isolation_active() && (s = enter()) != NULL) {
        const size_t n = cmx_drops_take(&s->drops, drops);

        leave();
        for (size_t i = 0; i < n; i++)
            cmx_drop_log(&drops[i]);
        cmx_port_sleep_ms(TELL_MS);
    }
    __atomic_store_n(&isolation.telling, false, __ATOMIC_RELEASE);
}

static void put_iface(struct cmx_iface *i, const struct cmx_filter_packet *q)
{
    unsigned n;

    i->class_ = q->loopback ? CMX_IFACE_LOOPBACK : CMX_IFACE_OUTSIDE;
    i->index = q->iface;
    i->vlan = 0;
    memcpy(i->mac, q->mac, 6);
    i->n_own = q->n_own;
    memcpy(i->own, q->own, q->n_own * sizeof i->own[0]);
    memcpy(&i->router4, q->router4, sizeof i->router4);
    i->n_resolvers = q->n_resolvers;
    for (n = 0; n < q->n_resolvers; n++)
        memcpy(&i->resolvers[n], q->resolvers[n], sizeof i->resolvers[n]);
}

static bool judge(void *arg, const struct cmx_filter_packet *q)
{
    const struct cmx_frame f = {q->ethernet ? CMX_FRAME_ETHERNET : CMX_FRAME_IP, q->data, q->len, q->total};
    struct state *s = arg;
    struct cmx_iface iface;
    struct cmx_decision d;
    const uint32_t now = now_ms();

    put_iface(&iface, q);
    d = cmx_isolation_check(&s->iso, &iface, q->out ? CMX_OUT : CMX_IN, &f, now);
    if (d.verdict == CMX_ALLOW)
        return true;
    cmx_drops_note(&s->drops, q, &f, d.why, now);
    return false;
}

/* ---- tasks ---- */

/* The tasks that a direct context's listener at that place is declared for; NULL: no such listener, or for all. */
static const char *tasks_of(const struct cmx_iso_config *c, const struct cmx_end *place)
{
    for (size_t i = 0; i < c->n_contexts; i++)
        if (c->contexts[i].direct && c->contexts[i].port == place->port &&
            cmx_ip_equal(&c->contexts[i].local, &place->ip))
            return c->contexts[i].tasks;
    return NULL;
}

/* Is name in a list such as "mqtt, logger"? Of a longer one there the first 15 characters count, as for a task. */
static bool is_listed(const char *list, const char *name)
{
    size_t len = strlen(name);

    while (*list) {
        size_t n;

        list += strspn(list, ", ");
        n = strcspn(list, ",");
        while (n && list[n - 1] == ' ')
            n--;
        if (n && len == (n < CMX_PORT_TASK_NAME ? n : CMX_PORT_TASK_NAME - 1) && strncmp(list, name, len) == 0)
            return true;
        list += strcspn(list, ",");
    }
    return false;
}

cmx_err cmx_device_isolation_permits(const char *task, const struct sockaddr *peer)
{
    cmx_err err = CMX_ENOENT;
    struct cmx_end place;
    bool say = false;
    const char *tasks;
    struct state *s;

    if (!end_of(peer, &place))
        return CMX_ENOENT;
    s = enter();
    if (!s)
        return CMX_ENOENT;
    tasks = tasks_of(&s->iso.config, &place);
    if (tasks && is_listed(tasks, task)) {
        err = CMX_OK;
    } else if (tasks && cmx_device_isolation_active()) {
        err = CMX_EPERM;
        s->iso.counts[CMX_WHY_NOT_PEER]++;
        say = cmx_drops_may_tell(&s->drops, now_ms());
    }
    leave();
    if (say)
        cmx_module_log(CMX_LOG_WARN | TAG, "refused: task %s may not connect to port %u", task, (unsigned)place.port);
    return err;
}

/* ---- into force ---- */

/* With the lock held. */
static cmx_err put_in_force(void)
{
    static const struct cmx_gateway nobody = {.host = "", .port = 0};
    const struct cmx_filter *filter = cmx_port_filter();
    cmx_err err;

    if (!filter)
        return CMX_ENOTSUP;
    if (!isolation.state) { /* before the first context: nothing passes but the link's upkeep */
        err = configure(filter, &nobody, NULL, 0);
        if (err)
            return err;
    }
    err = filter->install(judge, isolation.state);
    if (err)
        return err;
    /* Now that every packet is seen: a session that connects just then has sent its SYN before, and is picked up, or
     * sends it again. */
    filter->lock();
    cmx_isolation_adopt(&isolation.state->iso);
    filter->unlock();
    return CMX_OK;
}

static void start_telling(void)
{
    __atomic_store_n(&isolation.telling, true, __ATOMIC_RELEASE);
    if (cmx_port_task_start("isolation", TELL_STACK, tell, isolation.state) == CMX_OK)
        return;
    __atomic_store_n(&isolation.telling, false, __ATOMIC_RELEASE); /* it holds all the same */
    cmx_module_log(CMX_LOG_WARN | TAG, "no task: drops are counted, not logged");
}

/* With the lock held. */
static cmx_err isolate(void)
{
    cmx_err err;

    if (standing_now() == STANDING_ACTIVE)
        return CMX_OK;
    set_standing(STANDING_ASKED);
    err = put_in_force();
    if (err == CMX_OK) {
        set_standing(STANDING_ACTIVE);
        cmx_module_log(CMX_LOG_INFO | TAG, "in force: only sessions and the link's upkeep pass");
        start_telling();
    } else if (err == CMX_ENOTSUP && isolation.platform.accept_none) {
        cmx_module_log(CMX_LOG_WARN | TAG, "NOT ISOLATED: this is the machine's own network stack");
        set_standing(STANDING_NONE);
    } else {
        set_standing(STANDING_FAILED); /* from here on no context is taken */
        cmx_module_log(CMX_LOG_ERROR | TAG, "NOT ISOLATED: %s; the proxies are ended", cmx_err_text(err));
    }
    return err;
}

cmx_err cmx_device_isolate(void)
{
    cmx_err err = CMX_ENOMEM;

    if (isolation.ready) {
        cmx_port_mutex_lock(&isolation.lock);
        err = isolate();
        cmx_port_mutex_unlock(&isolation.lock);
    } else {
        set_standing(STANDING_FAILED);
    }
    if (standing_now() == STANDING_FAILED)
        cmx_device_stop(); /* takes the device's lock, under which contexts are configured: not with ours held */
    return err;
}

void cmx_device_isolation_end(void)
{
    const struct cmx_filter *filter = cmx_port_filter();

    if (!isolation.ready)
        return;
    cmx_port_mutex_lock(&isolation.lock);
    if (filter && standing_now() == STANDING_ACTIVE)
        filter->remove();
    set_standing(STANDING_NONE);
    while (__atomic_load_n(&isolation.telling, __ATOMIC_ACQUIRE))
        cmx_port_sleep_ms(10);
    cmx_mem_free(isolation.state);
    __atomic_store_n(&isolation.state, NULL, __ATOMIC_RELEASE);
    cmx_port_mutex_unlock(&isolation.lock);
}

/* ---- status ---- */

cmx_err cmx_device_isolation_digest(uint8_t out[32])
{
    struct state *s = cmx_device_isolation_active() ? enter() : NULL;
    cmx_err err;

    if (!s)
        return CMX_ENOENT;
    err = cmx_iso_config_digest(&s->iso.config, out);
    leave();
    return err;
}

void cmx_device_isolation_json(struct cmx_json *j, const char *key)
{
    uint32_t counts[CMX_WHY_COUNT] = {0};
    const struct state *s = enter();
    size_t flows = 0, i;

    if (s) {
        memcpy(counts, s->iso.counts, sizeof counts);
        flows = cmx_isolation_flows(&s->iso);
        leave();
    }
    cmx_json_object(j, key);
    cmx_json_bool(j, "active", cmx_device_isolation_active());
    cmx_json_u64(j, "flows", flows);
    cmx_json_object(j, "packets");
    for (i = 0; i < CMX_WHY_COUNT; i++)
        cmx_json_u64(j, cmx_why_name((cmx_why)i), counts[i]);
    cmx_json_end(j);
    cmx_json_end(j);
}
