/* isolation_status.c - isolation in the agent's status document and table. */
#include <stdio.h>
#include <string.h>

#include "agent/isolation/agent_isolation.h"
#include "agent/isolation/isolation_state.h"
#include "cmxsafe/port/port.h"

#define LISTING_MAX 4096

/* Calls the function `each` for every counter in a listing such as "counter session {\n packets 7 bytes 420\n}". */
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

struct view {
    isolation_state state;
    unsigned long long repairs;
    char listing[LISTING_MAX]; /* nft's listing of the counters; empty if there are no rules */
};

static void take_view(struct isolation *s, struct view *v)
{
    struct cmx_buf b;
    const char *text;

    cmx_port_mutex_lock(&s->lock);
    isolation_observe(s);
    v->state = s->state;
    v->repairs = s->repairs;
    cmx_buf_init(&b, v->listing, sizeof v->listing);
    if (nft_guard_list(s->guard, "list counters table inet cmxsafe\nlist counters table arp cmxsafe", &b) != CMX_OK ||
        cmx_buf_cstr(&b, &text) != CMX_OK)
        v->listing[0] = 0;
    cmx_port_mutex_unlock(&s->lock);
}

void isolation_json(const struct wiring *w, struct cmx_json *j)
{
    struct view v = {.state = ISOLATION_RELEASED};

    if (w->isolation)
        take_view(w->isolation, &v);
    cmx_json_object(j, "isolation");
    cmx_json_bool(j, "enabled", v.state != ISOLATION_RELEASED);
    cmx_json_bool(j, "in_force", v.state == ISOLATION_IN_FORCE);
    cmx_json_u64(j, "repairs", v.repairs);
    if (v.state == ISOLATION_IN_FORCE) {
        cmx_json_object(j, "packets");
        each_counter(v.listing, put_counter, j);
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

void isolation_text(const struct wiring *w, struct cmx_buf *out)
{
    struct view v = {.state = ISOLATION_RELEASED};
    struct sums n = {0};

    if (!w->isolation)
        return;
    take_view(w->isolation, &v);
    if (v.state != ISOLATION_IN_FORCE) {
        cmx_buf_printf(
            out, "isolation: %s\n",
            v.state != ISOLATION_RELEASED
                ? "NOT IN FORCE: another program changed or removed the rules; the agent tries to restore them"
                : "no longer enabled; 'cmxsafed isolation --remove' removes the remaining rules");
        return;
    }
    each_counter(v.listing, add_counter, &n);
    cmx_buf_printf(out, "isolation: in force: %llu packets passed, %llu dropped\n", n.passed, n.denied);
    if (v.repairs)
        cmx_buf_printf(out, "isolation: restored %llu times after another program had changed the rules\n", v.repairs);
}
