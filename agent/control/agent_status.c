#include "agent/control/agent_status.h"

#include <stdio.h>
#include <string.h>

#include "cmxsafe/core/text.h"
#include "cmxsafe/version.h"

void status_duration(uint64_t ms, char *out, size_t cap)
{
    static const struct {
        uint64_t ms, limit;
        const char *unit;
    } units[] = {
        {1, 1000, "ms"}, {1000, 120, "s"}, {60000, 120, "min"}, {3600000, 48, "h"}, {86400000, UINT64_MAX, "d"}};
    size_t i = 0;

    while (ms / units[i].ms >= units[i].limit)
        i++;
    snprintf(out, cap, "%llu %s", (unsigned long long)(ms / units[i].ms), units[i].unit);
}

void status_bytes(uint64_t n, char *out, size_t cap)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
    uint64_t tenths = n;
    size_t i = 0;

    if (n < 1000) {
        snprintf(out, cap, "%llu B", (unsigned long long)n);
        return;
    }
    /* Computes tenths of the unit, rounded down. */
    for (tenths = n / 100, i = 1; tenths >= 10000; i++)
        tenths /= 1000;
    snprintf(out, cap, "%llu.%llu %s", (unsigned long long)(tenths / 10), (unsigned long long)(tenths % 10), units[i]);
}

static uint64_t age(const struct status_view *v, uint64_t then)
{
    return v->now_ms > then ? v->now_ms - then : 0;
}

bool status_settled(const struct status_view *v)
{
    for (size_t i = 0; i < v->n_contexts; i++) {
        const struct cmx_context_status *c = &v->contexts[i];

        if (c->state == CMX_STATE_UP || c->state == CMX_STATE_WAITING)
            continue;
        /* The session is logged in but the gateway refuses the forward, so the context's first attempt has ended. */
        if (c->state == CMX_STATE_FORWARDING && c->last_error_ms)
            continue;
        return false;
    }
    return true;
}

unsigned status_sessions(const struct status_view *v)
{
    unsigned n = 0;

    for (size_t i = 0; i < v->n_contexts; i++) {
        size_t j = 0;

        while (j < i && strcmp(v->contexts[i].session, v->contexts[j].session) != 0)
            j++;
        n += j == i;
    }
    return n;
}

/* Copies a peer's text to out and replaces control characters. The copy is one line, and safe to print on a
 * terminal. */
static void clean(char *out, size_t cap, const char *s)
{
    snprintf(out, cap, "%s", s);
    cmx_text_clean(out);
}

static size_t count_up(const struct status_view *v)
{
    size_t up = 0;

    for (size_t i = 0; i < v->n_contexts; i++)
        up += v->contexts[i].state == CMX_STATE_UP;
    return up;
}

bool status_all_up(const struct status_view *v)
{
    return v->n_contexts && count_up(v) == v->n_contexts;
}

void status_line(const struct status_view *v, char *out, size_t cap)
{
    int n = snprintf(out, cap, "%zu of %zu contexts up", count_up(v), v->n_contexts);

    if (v->awaits.text[0] && n >= 0 && (size_t)n < cap)
        snprintf(out + n, cap - (size_t)n, "; no session yet: %s", v->awaits.text);
    for (size_t i = 0; i < v->n_contexts; i++) {
        const struct cmx_context_status *c = &v->contexts[i];
        char text[sizeof c->last_error_text];

        if (c->state == CMX_STATE_UP || n < 0 || (size_t)n >= cap)
            continue;
        clean(text, sizeof text, c->last_error_text);
        snprintf(out + n, cap - (size_t)n, "; %s: %s%s%s%s", c->name, cmx_context_state_name(c->state),
                 c->last_error_ms ? " (" : "", c->last_error_ms ? text : "", c->last_error_ms ? ")" : "");
        return; /* the line names only the first context that is not up */
    }
}

/* ---- JSON ---- */

/* Writes an error as the member `key`, or null if the error never happened. at_ms: when it happened, 0: never. text
 * NULL: the error has no member "text". */
static void json_error(struct cmx_json *j, const struct status_view *v, const char *key, const char *code_key,
                       const char *code, const char *text, uint64_t at_ms)
{
    if (!at_ms) {
        cmx_json_null(j, key);
        return;
    }
    cmx_json_object(j, key);
    cmx_json_str(j, code_key, code);
    if (text)
        cmx_json_str(j, "text", text);
    cmx_json_u64(j, "age_ms", age(v, at_ms));
    cmx_json_end(j);
}

static void json_context(struct cmx_json *j, const struct status_view *v, const struct cmx_context_status *c)
{
    cmx_json_object(j, NULL);
    cmx_json_str(j, "name", c->name);
    cmx_json_str(j, "session", c->session);
    cmx_json_str(j, "direction", c->direction == CMX_REVERSE ? "reverse" : "direct");
    cmx_json_u64(j, "local_port", c->local_port);
    cmx_json_u64(j, "remote_port", c->remote_port);
    cmx_json_str(j, "state", cmx_context_state_name(c->state));
    cmx_json_u64(j, "since_ms", age(v, c->since_ms));
    if (c->state == CMX_STATE_WAITING)
        cmx_json_u64(j, "retry_in_ms", c->retry_at_ms > v->now_ms ? c->retry_at_ms - v->now_ms : 0);
    else
        cmx_json_null(j, "retry_in_ms");
    cmx_json_u64(j, "sessions", c->sessions);
    cmx_json_str(j, "key_exchange", c->key_exchange);
    cmx_json_object(j, "relays");
    cmx_json_u64(j, "open", c->relays_open);
    cmx_json_u64(j, "total", c->relays_total);
    cmx_json_u64(j, "refused", c->relays_refused);
    json_error(j, v, "last_refusal", "code", cmx_err_name(c->last_refusal), NULL, c->last_refusal_ms);
    cmx_json_end(j);
    cmx_json_u64(j, "bytes_in", c->bytes_in);
    cmx_json_u64(j, "bytes_out", c->bytes_out);
    json_error(j, v, "last_error", "code", cmx_err_name(c->last_error), c->last_error_text, c->last_error_ms);
    cmx_json_end(j);
}

static void json_config(struct cmx_json *j, const struct status_view *v)
{
    cmx_json_object(j, "config");
    cmx_json_str(j, "file", v->config_file);
    cmx_json_u64(j, "loaded_ms", age(v, v->loaded_ms));
    json_error(j, v, "reload_failed", "error", v->reload_error, NULL, v->reload_failed_ms);
    cmx_json_end(j);
}

static void json_confinement(struct cmx_json *j, const struct confine_report *r)
{
    cmx_json_array(j, "confinement");
    for (size_t i = 0; r && i < r->n; i++) {
        cmx_json_object(j, NULL);
        cmx_json_str(j, "what", r->item[i].what);
        cmx_json_bool(j, "applied", r->item[i].applied);
        cmx_json_str(j, "detail", r->item[i].detail);
        cmx_json_end(j);
    }
    cmx_json_end(j);
}

cmx_err status_json(const struct status_view *v, struct cmx_buf *out)
{
    struct cmx_json j;
    cmx_err err;

    cmx_json_init(&j, out);
    cmx_json_object(&j, NULL);
    cmx_json_str(&j, "version", CMX_VERSION);
    cmx_json_str(&j, "libssh", cmx_proxy_library());
    cmx_json_u64(&j, "uptime_ms", age(v, v->started_ms));
    cmx_json_bool(&j, "all_up", status_all_up(v));
    json_config(&j, v);
    cmx_json_object(&j, "gateway");
    cmx_json_str(&j, "host", v->gateway_host);
    cmx_json_u64(&j, "port", v->gateway_port);
    cmx_json_str(&j, "user", v->gateway_user);
    cmx_json_str(&j, "configured", v->gateways);
    cmx_json_end(&j);
    cmx_json_array(&j, "contexts");
    for (size_t i = 0; i < v->n_contexts; i++)
        json_context(&j, v, &v->contexts[i]);
    cmx_json_end(&j);
    json_confinement(&j, v->confinement);
    cmx_json_object(&j, "modules");
    if (v->modules_json)
        v->modules_json(v->modules_arg, &j);
    cmx_json_end(&j);
    cmx_json_end(&j);
    err = cmx_json_finish(&j);
    return err ? err : cmx_buf_put_str(out, "\n");
}

/* ---- table ---- */

#define COLUMNS 11
#define CELL_MAX 128

struct row {
    char cell[COLUMNS][CELL_MAX];
};

static const char *const titles[COLUMNS] = {"CONTEXT", "LISTENS", "LEADS TO", "STATE", "SINCE", "SESSIONS",
                                            "OPEN",    "TOTAL",   "REFUSED",  "IN",    "OUT"};

#define CELL(i) row->cell[i], sizeof row->cell[i]

static void fill_row(struct row *row, const struct status_view *v, const struct cmx_context_status *c)
{
    bool reverse = c->direction == CMX_REVERSE;

    snprintf(CELL(0), "%s", c->name);
    snprintf(CELL(1), reverse ? "gateway:%u" : "device:%u", reverse ? c->remote_port : c->local_port);
    snprintf(CELL(2), reverse ? "device:%u" : "gateway:%u", reverse ? c->local_port : c->remote_port);
    snprintf(CELL(3), "%s", cmx_context_state_name(c->state));
    status_duration(age(v, c->since_ms), CELL(4));
    snprintf(CELL(5), "%u", c->sessions);
    snprintf(CELL(6), "%u", c->relays_open);
    snprintf(CELL(7), "%llu", (unsigned long long)c->relays_total);
    snprintf(CELL(8), "%llu", (unsigned long long)c->relays_refused);
    status_bytes(c->bytes_in, CELL(9));
    status_bytes(c->bytes_out, CELL(10));
}

static void widths(const struct status_view *v, size_t out[COLUMNS])
{
    struct row row;

    for (size_t i = 0; i < COLUMNS; i++)
        out[i] = strlen(titles[i]);
    for (size_t n = 0; n < v->n_contexts; n++) {
        fill_row(&row, v, &v->contexts[n]);
        for (size_t i = 0; i < COLUMNS; i++)
            if (strlen(row.cell[i]) > out[i])
                out[i] = strlen(row.cell[i]);
    }
}

struct color {
    const char *on, *off;
};

static struct color color_of(const struct cmx_context_status *c, bool color)
{
    if (!color)
        return (struct color){"", ""};
    if (c->state == CMX_STATE_UP)
        return (struct color){"\033[32m", "\033[0m"};
    if (c->state == CMX_STATE_WAITING || c->state == CMX_STATE_STUCK)
        return (struct color){"\033[31m", "\033[0m"};
    return (struct color){"\033[33m", "\033[0m"};
}

static void put_row(const struct status_view *v, const struct cmx_context_status *c, const size_t width[COLUMNS],
                    bool color, struct cmx_buf *out)
{
    struct row row;

    fill_row(&row, v, c);
    for (size_t i = 0; i < COLUMNS; i++) {
        struct color k = color_of(c, color && i == 3);

        /* Text is aligned left, numbers right. */
        cmx_buf_printf(out, "%s%s%*s%s", i ? "  " : "", k.on, i < 4 ? -(int)width[i] : (int)width[i], row.cell[i],
                       k.off);
    }
    if (c->last_error_ms) {
        char ago[32], text[sizeof c->last_error_text];

        status_duration(age(v, c->last_error_ms), ago, sizeof ago);
        clean(text, sizeof text, c->last_error_text);
        cmx_buf_printf(out, "\n  last error %s ago: %s", ago, text);
    }
    if (c->state == CMX_STATE_WAITING) {
        char in[32];

        status_duration(c->retry_at_ms > v->now_ms ? c->retry_at_ms - v->now_ms : 0, in, sizeof in);
        cmx_buf_printf(out, "; next attempt in %s", in);
    }
    cmx_buf_put_str(out, "\n");
}

static void put_head(const struct status_view *v, struct cmx_buf *out)
{
    const bool several = strpbrk(v->gateways, ",>") != NULL;
    char up[32];

    status_duration(age(v, v->started_ms), up, sizeof up);
    cmx_buf_printf(out, "gateway %s port %u%s%s as %s; %zu of %zu contexts up; agent %s, running for %s\n",
                   v->gateway_host, (unsigned)v->gateway_port, several ? " of " : "", several ? v->gateways : "",
                   v->gateway_user, count_up(v), v->n_contexts, CMX_VERSION, up);
    if (v->reload_failed_ms) {
        status_duration(age(v, v->reload_failed_ms), up, sizeof up);
        cmx_buf_printf(out, "reload failed %s ago: %s; the old configuration is in force\n", up, v->reload_error);
    }
}

static void put_confinement(const struct confine_report *r, struct cmx_buf *out)
{
    for (size_t i = 0; r && i < r->n; i++)
        cmx_buf_printf(out, "%s%s: %s (%s)", i ? "; " : "\nconfinement: ", r->item[i].what,
                       r->item[i].applied ? "yes" : "no", r->item[i].detail);
    if (r && r->n)
        cmx_buf_put_str(out, "\n");
}

cmx_err status_table(const struct status_view *v, bool color, struct cmx_buf *out)
{
    size_t width[COLUMNS];

    put_head(v, out);
    widths(v, width);
    cmx_buf_put_str(out, "\n");
    for (size_t i = 0; i < COLUMNS; i++)
        cmx_buf_printf(out, "%s%*s", i ? "  " : "", i < 4 ? -(int)width[i] : (int)width[i], titles[i]);
    cmx_buf_put_str(out, "\n");
    for (size_t i = 0; i < v->n_contexts; i++)
        put_row(v, &v->contexts[i], width, color, out);
    put_confinement(v->confinement, out);
    if (v->modules_text)
        v->modules_text(v->modules_arg, out);
    return cmx_buf_error(out);
}
