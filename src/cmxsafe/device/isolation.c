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
#include "cmxsafe/isolation/digest.h"
#include "cmxsafe/isolation/policy.h"
#include "cmxsafe/port/filter.h"
#include "cmxsafe/port/port.h"

#define TAG "isolation"
#define NAME_MAX_LEN 256 /* a host name, RFC 1035 section 2.3.4 */

#define TELL_STACK 3584
#define TELL_MS 100

/* A dropped packet, to be told of: noted where it was judged, which may be a driver's task with a stack of 2 KB, and
 * logged by a task of our own. */
struct drop {
    struct cmx_end src, dst;
    uint32_t silent; /* dropped unsaid before it */
    uint16_t ethertype;
    uint8_t proto;
    bool loopback, out, whole;
    cmx_why why;
};

/* On the heap, once there is a filter: a device without one pays nothing. */
struct state {
    struct cmx_isolation iso;
    struct cmx_flow flows[CMX_DEVICE_FLOWS];
    char name[NAME_MAX_LEN]; /* the gateway's; iso borrows it */
    /* Drops that were not logged, and when the next line may be. */
    uint32_t silent;
    uint32_t lines;
    uint32_t last_line_ms;
    struct drop drops[CMX_DEVICE_DROP_LINES];
    size_t n_drops;
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
    if (a && a->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)a;

        cmx_ip4(&end->ip, (const uint8_t *)&in->sin_addr);
        end->port = ntohs(in->sin_port);
        return true;
    }
    if (a && a->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)(const void *)a;

        cmx_ip6(&end->ip, (const uint8_t *)&in->sin6_addr);
        end->port = ntohs(in->sin6_port);
        return true;
    }
    return false;
}

static const cmx_flow_kind kinds[] = {[CMX_SOCKET_SESSION] = CMX_FLOW_SESSION,
                                      [CMX_SOCKET_RELAY] = CMX_FLOW_RELAY,
                                      [CMX_SOCKET_LISTEN] = CMX_FLOW_LISTEN,
                                      [CMX_SOCKET_PAIR] = CMX_FLOW_PAIR};

cmx_err cmx_device_isolation_open(cmx_socket_kind kind, const struct sockaddr *local, const struct sockaddr *peer)
{
    const struct cmx_filter *filter = cmx_port_filter();
    struct state *s = state_now();
    struct cmx_end here, there;
    bool has_peer;
    cmx_err err;

    if (!filter || !s)
        return standing_now() == STANDING_FAILED ? CMX_EPERM : CMX_OK;
    has_peer = end_of(peer, &there);
    if (!end_of(local, &here))
        return CMX_EINVAL;
    filter->lock();
    err = cmx_isolation_socket_open(&s->iso, kinds[kind], &here, has_peer ? &there : NULL, now_ms());
    filter->unlock();
    return err;
}

void cmx_device_isolation_close(cmx_socket_kind kind, const struct sockaddr *local, const struct sockaddr *peer)
{
    const struct cmx_filter *filter = cmx_port_filter();
    struct state *s = state_now();
    struct cmx_end here, there;
    bool has_peer;

    if (!filter || !s || !end_of(local, &here))
        return;
    has_peer = end_of(peer, &there);
    filter->lock();
    cmx_isolation_socket_close(&s->iso, kinds[kind], &here, has_peer ? &there : NULL, now_ms());
    filter->unlock();
}

void cmx_device_isolation_resolve(bool begins)
{
    const struct cmx_filter *filter = cmx_port_filter();
    struct state *s = state_now();

    if (!filter || !s)
        return;
    filter->lock();
    cmx_isolation_resolving(&s->iso, begins);
    filter->unlock();
}

/* ---- the judge ---- */

static void put_end(char *out, size_t cap, const struct cmx_end *end)
{
    char text[INET6_ADDRSTRLEN] = "?";
    size_t len;
    const uint8_t *bytes = cmx_ip_bytes(&end->ip, &len);

    if (!inet_ntop(len == 4 ? AF_INET : AF_INET6, bytes, text, sizeof text))
        text[0] = '?';
    if (end->port)
        snprintf(out, cap, len == 4 ? "%s:%u" : "[%s]:%u", text, (unsigned)end->port);
    else
        snprintf(out, cap, "%s", text);
}

/* Bounded: CMX_DEVICE_DROP_LINES at once, one more each CMX_DEVICE_DROP_LINE_MS, with the number of those left out. */
static void note_drop(struct state *s, const struct cmx_filter_packet *q, const struct cmx_frame *f, cmx_why why,
                      uint32_t now)
{
    struct cmx_packet p;
    bool whole;

    if (s->lines && now - s->last_line_ms >= CMX_DEVICE_DROP_LINE_MS) {
        s->lines--;
        s->last_line_ms = now;
    }
    if (s->lines == CMX_DEVICE_DROP_LINES || s->n_drops == CMX_DEVICE_DROP_LINES) {
        s->silent++;
        return;
    }
    if (!s->lines++)
        s->last_line_ms = now;
    whole = cmx_packet_parse(&p, f) == 0; /* what it says as far as it can be read */
    s->drops[s->n_drops++] = (struct drop){
        .src = p.src,
        .dst = p.dst,
        .silent = s->silent,
        .ethertype = (uint16_t)(p.ethertype      ? p.ethertype
                                : p.version == 6 ? CMX_ETH_IPV6
                                                 : CMX_ETH_IPV4),
        .proto = (uint8_t)p.proto,
        .loopback = q->loopback,
        .out = q->out,
        .whole = whole,
        .why = why,
    };
    s->silent = 0;
}

static void log_drop(const struct drop *d)
{
    char from[64], to[64];

    put_end(from, sizeof from, &d->src);
    put_end(to, sizeof to, &d->dst);
    cmx_log(CMX_LOG_WARN, TAG, "dropped %s: %s: type %04x protocol %u %s > %s%s (%lu more unsaid)",
            d->loopback ? "on loopback"
            : d->out    ? "out"
                        : "in",
            cmx_why_name(d->why), d->ethertype, d->proto, from, to, d->whole ? "" : " (not whole)",
            (unsigned long)d->silent);
}

static void tell(void *arg)
{
    const struct cmx_filter *filter = cmx_port_filter();
    struct drop drops[CMX_DEVICE_DROP_LINES];
    struct state *s = arg;

    while (cmx_device_isolation_active()) {
        size_t n;

        filter->lock();
        n = s->n_drops;
        memcpy(drops, s->drops, n * sizeof drops[0]);
        s->n_drops = 0;
        filter->unlock();
        for (size_t i = 0; i < n; i++)
            log_drop(&drops[i]);
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
    note_drop(s, q, &f, d.why, now);
    return false;
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
    cmx_log(CMX_LOG_WARN, TAG, "no memory for a task: drops are counted, not logged");
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
        cmx_log(CMX_LOG_INFO, TAG, "in force: nothing passes but the sessions and the link's upkeep");
        start_telling();
    } else if (err == CMX_ENOTSUP && isolation.platform.accept_none) {
        cmx_log(CMX_LOG_WARN, TAG, "NOT ISOLATED: this is the machine's own network stack");
        set_standing(STANDING_NONE);
    } else {
        set_standing(STANDING_FAILED); /* from here on no context is taken */
        cmx_log(CMX_LOG_ERROR, TAG, "NOT ISOLATED: %s; the proxies are ended",
                cmx_err_text(err));
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
    const struct cmx_filter *filter = cmx_port_filter();
    struct state *s = state_now();
    cmx_err err;

    if (!filter || !s || !cmx_device_isolation_active())
        return CMX_ENOENT;
    filter->lock();
    err = cmx_iso_config_digest(&s->iso.config, out);
    filter->unlock();
    return err;
}

void cmx_device_isolation_json(struct cmx_json *j, const char *key)
{
    const struct cmx_filter *filter = cmx_port_filter();
    uint32_t counts[CMX_WHY_COUNT] = {0};
    const struct state *s = state_now();
    size_t flows = 0, i;

    if (filter && s) {
        filter->lock();
        memcpy(counts, s->iso.counts, sizeof counts);
        flows = cmx_isolation_flows(&s->iso);
        filter->unlock();
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
