/* Counts bytes, sessions and refusals of each party, and keeps a sample of each minute of the last hour. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/port/port.h"
#include "gateway/server/gw_server.h"

#define LOOKUPS_PER_MINUTE 120 /* maximum number of targets without an entry that are looked up in the registry */

struct gw_history *gw_traffic_of(struct gw_server *s, const char *name)
{
    struct gw_history *h;

    for (h = s->history; h; h = h->next)
        if (strcmp(h->name, name) == 0)
            return h;
    h = cmx_mem_alloc(sizeof *h);
    if (!h)
        return NULL;
    snprintf(h->name, sizeof h->name, "%s", name);
    h->next = s->history;
    s->history = h;
    return h;
}

void gw_traffic_keep(struct gw_session *x)
{
    uint64_t in = 0;
    uint64_t out = 0;
    uint32_t rtt;

    if (!x->history || !gw_session_counters(x, &in, &out, &rtt))
        return;
    x->history->ended_in += in;
    x->history->ended_out += out;
}

/* Sets `in`, `out` and `sessions` of each party. */
static void traffic_refresh(struct gw_server *s)
{
    for (struct gw_history *h = s->history; h; h = h->next) {
        h->in = h->ended_in;
        h->out = h->ended_out;
        h->sessions = 0;
    }
    for (const struct gw_session *x = s->sessions; x; x = x->next) {
        uint64_t in = 0;
        uint64_t out = 0;
        uint32_t rtt;

        if (!x->history || !gw_session_counters(x, &in, &out, &rtt))
            continue;
        x->history->in += in;
        x->history->out += out;
        x->history->sessions += !x->ending;
    }
}

/* Returns the entry of the device with this address. Creates the entry only if the registry has such a device, so that
 * other addresses take no memory. NULL: no such device, or too many lookups in this minute. */
static struct gw_history *history_at(struct gw_server *s, const char *address)
{
    char name[GW_NAME_MAX];
    char path[GW_PATH_MAX];
    struct gw_registry r;
    cmx_err err;

    for (struct gw_history *h = s->history; h; h = h->next)
        if (strcmp(h->address, address) == 0)
            return h;
    if (s->lookups++ >= LOOKUPS_PER_MINUTE || gw_registry_open(&r, gw_path(s->g, "registry.db", path), false, NULL))
        return NULL;
    err = gw_device_name_at(&r, address, name);
    gw_registry_close(&r);
    return err ? NULL : gw_traffic_of(s, name);
}

void gw_traffic_denied(struct gw_server *s, const char *text)
{
    char target[GW_ADDRESS_MAX];
    unsigned long long count;
    struct gw_history *h;

    if (sscanf(text, "%*45s %45s %*u %llu", target, &count) != 2)
        return;
    s->traffic.denied_total += count;
    h = history_at(s, target);
    if (!h)
        return;
    snprintf(h->address, sizeof h->address, "%s", target);
    h->denied += count;
}

void gw_traffic_tick(struct gw_server *s)
{
    struct gw_traffic *t = &s->traffic;
    struct gw_minute *m = &t->minutes[t->n % GW_TRAFFIC_MINUTES];
    int64_t minute = (int64_t)time(NULL) / 60;
    uint64_t now = cmx_port_now_ms();
    uint64_t in = 0;
    uint64_t out = 0;

    if (!t->minute) {
        t->minute = minute;
        t->sampled_ms = now;
    }
    if (minute == t->minute)
        return;
    t->minute = minute;
    traffic_refresh(s);
    *m = (struct gw_minute){.at = minute * 60, .length_ms = now - t->sampled_ms};
    for (const struct gw_history *h = s->history; h; h = h->next) {
        in += h->in;
        out += h->out;
        m->sessions += h->sessions;
    }
    m->in = in - t->in;
    m->out = out - t->out;
    m->denied = t->denied_total - t->denied;
    t->in = in;
    t->out = out;
    t->denied = t->denied_total;
    t->sampled_ms = now;
    t->n++;
    s->lookups = 0;
}

static void put_minute(struct cmx_json *j, const struct gw_minute *m)
{
    cmx_json_object(j, NULL);
    cmx_json_i64(j, "at", m->at);
    cmx_json_u64(j, "length_ms", m->length_ms);
    cmx_json_u64(j, "sessions", m->sessions);
    cmx_json_u64(j, "bytes_in", m->in);
    cmx_json_u64(j, "bytes_out", m->out);
    cmx_json_u64(j, "denied", m->denied);
    cmx_json_end(j);
}

static void put_party(struct cmx_json *j, const struct gw_history *h)
{
    cmx_json_object(j, NULL);
    cmx_json_str(j, "name", h->name);
    cmx_json_u64(j, "sessions", h->sessions);
    cmx_json_u64(j, "bytes_in", h->in);
    cmx_json_u64(j, "bytes_out", h->out);
    cmx_json_u64(j, "refused", h->refused);
    cmx_json_u64(j, "denied", h->denied);
    cmx_json_u64(j, "takeovers_refused", h->takeovers_refused);
    cmx_json_end(j);
}

void gw_traffic_json(struct cmx_json *j, struct gw_server *s)
{
    const struct gw_traffic *t = &s->traffic;

    traffic_refresh(s);
    cmx_json_array(j, "minutes");
    for (uint64_t n = t->n > GW_TRAFFIC_MINUTES ? t->n - GW_TRAFFIC_MINUTES : 0; n < t->n; n++)
        put_minute(j, &t->minutes[n % GW_TRAFFIC_MINUTES]);
    cmx_json_end(j);
    cmx_json_array(j, "parties");
    for (const struct gw_history *h = s->history; h; h = h->next)
        put_party(j, h);
    cmx_json_end(j);
}
