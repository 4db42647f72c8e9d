#include "isolation.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "cmxsafe/core/log.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/port/port.h"

#define TAG "isolation"
#define COMMAND_MAX 512

/* A gateway address that sessions lead to now. */
struct live {
    struct cmx_ip ip;
    unsigned sessions;
};

struct isolation {
    struct nft *nft;
    struct cmx_mutex lock; /* of what follows; the session tasks call the hooks */
    uint32_t agent_uid;
    uint16_t port;
    bool by_name; /* the gateway's address is followed */
    unsigned resolving;
    struct live live[CMX_NFT_LIVE_MAX];
};

/* ---- into force ---- */

/* Cuts a listing of one set down to its elements: what stands between the inner braces. NULL: there are none. */
static const char *elements(char *listing)
{
    static const char before[] = "elements = {";
    char *at = strstr(listing, before), *end = at ? strchr(at, '}') : NULL;

    if (!end)
        return NULL;
    *end = 0;
    return at + sizeof before - 1;
}

/* What the ruleset in force has learned. The neighbours could be asked again, but an IPv6 router says its next word in
 * minutes. Without a ruleset, or of more than there is room for: nothing. */
static void keep(struct isolation *s, struct cmx_nft_config *c, char *room)
{
    for (enum cmx_nft_memory i = 0; i < CMX_NFT_MEMORIES; i++, room += CMX_NFT_KEPT_MAX) {
        struct cmx_buf b;
        char command[64];

        snprintf(command, sizeof command, "list set %s", cmx_nft_memory(i));
        cmx_buf_init(&b, room, CMX_NFT_KEPT_MAX);
        if (nft_list(s->nft, command, &b) == CMX_OK && cmx_buf_cstr(&b, &c->kept[i]) == CMX_OK)
            c->kept[i] = elements(room);
    }
}

static cmx_err hand_over(struct isolation *s, const struct cmx_nft_config *c, char *text, char *said, size_t cap)
{
    struct cmx_buf b;
    const char *script;
    cmx_err err;

    cmx_buf_init(&b, text, CMX_NFT_TEXT_MAX);
    err = cmx_nft_ruleset(c, &b);
    if (!err)
        err = cmx_buf_cstr(&b, &script);
    return err ? err : nft_run(s->nft, script, false, said, cap);
}

static cmx_err apply(struct isolation *s, struct cmx_nft_config *c, char *why, size_t cap)
{
    char *text = cmx_mem_alloc(CMX_NFT_TEXT_MAX + CMX_NFT_MEMORIES * CMX_NFT_KEPT_MAX);
    char said[120] = "";
    cmx_err err;

    if (!text)
        return CMX_ENOMEM;
    for (size_t i = 0; i < CMX_NFT_LIVE_MAX; i++)
        if (s->live[i].sessions)
            c->live[c->n_live++] = s->live[i].ip;
    keep(s, c, text + CMX_NFT_TEXT_MAX);
    err = hand_over(s, c, text, said, sizeof said);
    if (err == CMX_EINVAL || err == CMX_ENOSPC) { /* the memories of another version's ruleset may not fit */
        memset(c->kept, 0, sizeof c->kept);
        err = hand_over(s, c, text, said, sizeof said);
    }
    if (err == CMX_EPERM)
        snprintf(why, cap,
                 "isolation is enabled but the agent may not install it; give it CAP_NET_ADMIN "
                 "(a drop-in for the unit: /usr/share/doc/cmxsafe-agent/examples/isolation.conf)");
    else if (err)
        snprintf(why, cap, "isolation could not be installed: %s", said[0] ? said : cmx_err_text(err));
    cmx_mem_free(text);
    return err;
}

static cmx_err install(struct isolation *s, const struct agent_config *c, char *why, size_t cap)
{
    struct cmx_nft_config *n = cmx_mem_alloc(sizeof *n);
    cmx_err err = CMX_ENOMEM;

    if (!n)
        return err;
    err = isolation_compile(c, true, n, why, cap);
    if (!err)
        err = apply(s, n, why, cap);
    if (!err) {
        s->agent_uid = n->agent_uid;
        s->port = n->policy.gateway_port;
        s->by_name = n->policy.n_gateways == 0;
    }
    cmx_mem_free(n);
    return err;
}

cmx_err isolation_check(const struct agent_config *c, char *why, size_t cap)
{
    struct cmx_nft_config *n;
    cmx_err err;

    if (!c->isolation.enabled)
        return CMX_OK;
    n = cmx_mem_alloc(sizeof *n);
    if (!n)
        return CMX_ENOMEM;
    err = isolation_compile(c, true, n, why, cap);
    cmx_mem_free(n);
    return err;
}

static cmx_err begin(struct agent *a, const struct agent_config *c, char *why, size_t cap)
{
    struct isolation *s = cmx_mem_alloc(sizeof *s);
    cmx_err err = CMX_ENOMEM;

    if (!s)
        return err;
    err = cmx_port_mutex_init(&s->lock);
    if (!err)
        err = nft_open(&s->nft, why, cap);
    if (!err)
        err = install(s, c, why, cap);
    if (err) {
        nft_close(s->nft);
        cmx_mem_free(s);
        return err;
    }
    a->isolation = s;
    cmx_log(CMX_LOG_INFO, TAG, "in force: default deny; only uid %lu reaches the gateway and the contexts' services",
            (unsigned long)s->agent_uid);
    return CMX_OK;
}

cmx_err isolation_prepare(struct agent *a, char *why, size_t cap)
{
    return a->config->isolation.enabled ? begin(a, a->config, why, cap) : CMX_OK;
}

cmx_err isolation_reload(struct agent *a, const struct agent_config *next, char *why, size_t cap)
{
    cmx_err err;

    if (!next->isolation.enabled) {
        if (a->isolation)
            cmx_log(CMX_LOG_WARN, TAG,
                    "no longer enabled, but still in force: 'cmxsafed isolation --remove' removes it");
        return CMX_OK;
    }
    if (!a->isolation) {
        snprintf(why, cap, "isolation: enabling it needs a restart");
        return CMX_EINVAL;
    }
    cmx_port_mutex_lock(&a->isolation->lock);
    err = install(a->isolation, next, why, cap);
    cmx_port_mutex_unlock(&a->isolation->lock);
    return err;
}

void isolation_stop(struct agent *a)
{
    if (!a->isolation)
        return;
    nft_close(a->isolation->nft);
    cmx_port_mutex_destroy(&a->isolation->lock);
    cmx_mem_free(a->isolation);
    a->isolation = NULL;
}

/* ---- the engine's news ---- */

static bool address_of(const struct sockaddr *a, struct cmx_ip *ip)
{
    if (!a)
        return false;
    if (a->sa_family == AF_INET)
        cmx_ip4(ip, (const uint8_t *)&((const struct sockaddr_in *)(const void *)a)->sin_addr);
    else if (a->sa_family == AF_INET6)
        cmx_ip6(ip, ((const struct sockaddr_in6 *)(const void *)a)->sin6_addr.s6_addr);
    else
        return false;
    return true;
}

static cmx_err tell(struct isolation *s, struct cmx_buf *command)
{
    const char *text;
    char why[120] = "";
    cmx_err err = cmx_buf_cstr(command, &text);

    if (!err)
        err = nft_run(s->nft, text, false, why, sizeof why);
    if (err)
        cmx_log(CMX_LOG_ERROR, TAG,
                "the ruleset does not take a change: %s; 'cmxsafed isolation --show' tells its state",
                why[0] ? why : cmx_err_text(err));
    return err;
}

static struct live *find_live(struct isolation *s, const struct cmx_ip *ip)
{
    for (size_t i = 0; i < CMX_NFT_LIVE_MAX; i++)
        if (s->live[i].sessions && cmx_ip_equal(&s->live[i].ip, ip))
            return &s->live[i];
    return NULL;
}

static struct live *free_live(struct isolation *s)
{
    for (size_t i = 0; i < CMX_NFT_LIVE_MAX; i++)
        if (!s->live[i].sessions)
            return &s->live[i];
    return NULL;
}

static cmx_err follow(struct isolation *s, const struct cmx_ip *ip, bool begins)
{
    char text[COMMAND_MAX];
    struct cmx_buf b;
    cmx_err err;

    cmx_buf_init(&b, text, sizeof text);
    err = cmx_nft_gateway(&b, ip, s->port, begins);
    return err ? err : tell(s, &b);
}

/* A gateway by name: the address that the engine found is let through before it connects. */
static cmx_err session_begins(struct isolation *s, const struct cmx_ip *ip)
{
    struct live *l = find_live(s, ip);
    cmx_err err;

    if (l) {
        l->sessions++;
        return CMX_OK;
    }
    l = free_live(s);
    if (!l)
        return CMX_ENOSPC;
    err = follow(s, ip, true);
    if (!err) {
        l->ip = *ip;
        l->sessions = 1;
    }
    return err;
}

static cmx_err on_open(void *arg, cmx_socket_kind kind, const char *name, const struct sockaddr *local,
                       const struct sockaddr *peer)
{
    struct isolation *s = ((struct agent *)arg)->isolation;
    struct cmx_ip ip;
    cmx_err err;

    (void)name;
    (void)local;
    if (!s || kind != CMX_SOCKET_SESSION || !s->by_name)
        return CMX_OK;
    if (!address_of(peer, &ip))
        return CMX_EPERM;
    cmx_port_mutex_lock(&s->lock);
    err = session_begins(s, &ip);
    cmx_port_mutex_unlock(&s->lock);
    return err;
}

static void on_close(void *arg, cmx_socket_kind kind, const char *name, const struct sockaddr *local,
                     const struct sockaddr *peer)
{
    struct isolation *s = ((struct agent *)arg)->isolation;
    struct live *l;
    struct cmx_ip ip;

    (void)name;
    (void)local;
    if (!s || kind != CMX_SOCKET_SESSION || !address_of(peer, &ip))
        return;
    cmx_port_mutex_lock(&s->lock);
    l = find_live(s, &ip);
    if (l && --l->sessions == 0 && s->by_name)
        if (follow(s, &ip, false) != CMX_OK)
            cmx_log(CMX_LOG_WARN, TAG, "an old address of the gateway stays permitted until the next reload");
    cmx_port_mutex_unlock(&s->lock);
}

static void on_resolve(void *arg, const char *host, bool begins)
{
    struct isolation *s = ((struct agent *)arg)->isolation;
    char text[COMMAND_MAX];
    struct cmx_buf b;

    (void)host;
    if (!s)
        return;
    cmx_buf_init(&b, text, sizeof text);
    cmx_port_mutex_lock(&s->lock);
    if (begins ? s->resolving++ == 0 : s->resolving && --s->resolving == 0)
        if (cmx_nft_resolving(&b, s->agent_uid, begins) != CMX_OK || tell(s, &b) != CMX_OK)
            cmx_log(CMX_LOG_WARN, TAG, "the look-up of the gateway's name may fail, and is tried again");
    cmx_port_mutex_unlock(&s->lock);
}

void isolation_hooks(struct cmx_proxy_hooks *hooks)
{
    hooks->socket_open = on_open;
    hooks->socket_close = on_close;
    hooks->resolve = on_resolve;
}

/* ---- status ---- */

/* Calls each for every counter in a listing such as "counter session {\n packets 7 bytes 420\n}". */
static void each_counter(const char *text, void (*each)(void *arg, const char *name, unsigned long long packets),
                         void *arg)
{
    char name[32];
    unsigned long long packets;
    int used;

    for (text = strstr(text, "counter "); text; text = strstr(text + 8, "counter "))
        if (sscanf(text, "counter %31s { packets %llu%n", name, &packets, &used) == 2)
            each(arg, name, packets);
}

static void put_counter(void *j, const char *name, unsigned long long packets)
{
    cmx_json_u64(j, name, packets);
}

static bool counters(struct agent *a, struct cmx_buf *b)
{
    return nft_list(a->isolation->nft, "list counters table inet cmxsafe", b) == CMX_OK &&
           nft_list(a->isolation->nft, "list counters table arp cmxsafe", b) == CMX_OK;
}

void isolation_json(struct agent *a, struct cmx_json *j)
{
    char text[4096];
    const char *listing;
    struct cmx_buf b;
    bool in_force;

    cmx_json_object(j, "isolation");
    cmx_json_bool(j, "enabled", a->isolation != NULL);
    cmx_buf_init(&b, text, sizeof text);
    in_force = a->isolation && counters(a, &b) && cmx_buf_cstr(&b, &listing) == CMX_OK;
    cmx_json_bool(j, "in_force", in_force);
    if (in_force) {
        cmx_json_object(j, "packets");
        each_counter(listing, put_counter, j);
        cmx_json_end(j);
    }
    cmx_json_end(j);
}

struct sums {
    unsigned long long passed, denied;
};

static void add_counter(void *arg, const char *name, unsigned long long packets)
{
    static const char *const drops[] = {"fragment", "ip_option", "tcp_state", "martian"};
    struct sums *s = arg;
    bool drop = strncmp(name, "denied", 6) == 0;

    for (size_t i = 0; i < sizeof drops / sizeof drops[0]; i++)
        drop = drop || strcmp(name, drops[i]) == 0;
    *(drop ? &s->denied : &s->passed) += packets;
}

/* A line under the table; the table is cut where it is full. */
static void put_line(struct cmx_buf *out, const char *what)
{
    if (cmx_buf_printf(out, "isolation: %s\n", what) != CMX_OK)
        cmx_log(CMX_LOG_DEBUG, TAG, "no room in the status table");
}

void isolation_text(struct agent *a, struct cmx_buf *out)
{
    char text[4096], line[96];
    const char *listing;
    struct sums s = {0};
    struct cmx_buf b;

    if (!a->isolation)
        return;
    cmx_buf_init(&b, text, sizeof text);
    if (!counters(a, &b) || cmx_buf_cstr(&b, &listing) != CMX_OK) {
        put_line(out, "NOT IN FORCE: someone removed it; restart the agent");
        return;
    }
    each_counter(listing, add_counter, &s);
    snprintf(line, sizeof line, "in force: %llu packets passed, %llu dropped", s.passed, s.denied);
    put_line(out, line);
}
