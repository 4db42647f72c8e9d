#include "gateway/server/gw_journal.h"

#include <stdbool.h>
#include <stdio.h>
#include <time.h>

#include "cmxsafe/port/port.h"

uint64_t gw_journal_first_number(void)
{
    return cmx_port_now_ms() * 1000;
}

void gw_journal_begin(struct gw_journal *j)
{
    j->base = j->next = gw_journal_first_number();
}

void gw_journal_add(struct gw_journal *j, gw_journal_kind kind, const char *name, const char *from)
{
    struct gw_journal_entry *x = &j->entries[j->next++ % GW_JOURNAL_MAX];

    snprintf(x->name, sizeof x->name, "%s", name);
    snprintf(x->from, sizeof x->from, "%s", from);
    x->client[0] = '\0';
    x->at = (int64_t)time(NULL);
    x->kind = kind;
}

void gw_journal_add_login(struct gw_journal *j, const char *name, const char *from, const char *client)
{
    struct gw_journal_entry *x = &j->entries[j->next % GW_JOURNAL_MAX];

    gw_journal_add(j, GW_JOURNAL_UP, name, from);
    snprintf(x->client, sizeof x->client, "%s", client);
}

void gw_journal_add_refusal(struct gw_journal *j, const char *who, const char *host, unsigned port)
{
    char text[GW_NAME_MAX + 8];

    snprintf(text, sizeof text, "%.63s %u", host, port);
    gw_journal_add(j, GW_JOURNAL_REFUSED, who, text);
}

void gw_journal_json(struct cmx_json *out, const struct gw_journal *j, uint64_t from)
{
    static const char *const kinds[] = {"up", "down", "key-conflict", "refused"};
    uint64_t oldest = j->next - j->base > GW_JOURNAL_MAX ? j->next - GW_JOURNAL_MAX : j->base;
    bool restarted = from && (from < j->base || from > j->next); /* another process gave this number to an entry */
    uint64_t begin = from && !restarted ? from : j->base;
    uint64_t first = begin < oldest ? oldest : begin;

    cmx_json_u64(out, "next", j->next);
    cmx_json_u64(out, "lost", restarted ? 1 : first - begin);
    cmx_json_array(out, "events");
    for (uint64_t n = first; n < j->next; n++) {
        const struct gw_journal_entry *x = &j->entries[n % GW_JOURNAL_MAX];

        cmx_json_object(out, NULL);
        cmx_json_str(out, "name", x->name);
        cmx_json_str(out, "from", x->from);
        cmx_json_str(out, "client", x->client);
        cmx_json_i64(out, "at", x->at);
        cmx_json_str(out, "what", kinds[x->kind]);
        cmx_json_end(out);
    }
    cmx_json_end(out);
}
