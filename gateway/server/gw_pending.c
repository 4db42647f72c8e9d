#include "gateway/server/gw_pending.h"

#include <stdio.h>
#include <string.h>

/* Returns the entry for a key from this source: the key's current entry, a free entry, or the entry to replace. */
static struct gw_pending_key *pending_place(struct gw_pending *p, const char *fingerprint,
                                            const uint8_t source[CMX_IPV6_LEN])
{
    struct gw_pending_key *oldest = &p->keys[0];
    struct gw_pending_key *own_oldest = NULL;
    struct gw_pending_key *free_place = NULL;
    size_t own = 0;

    for (size_t i = 0; i < GW_PENDING_MAX; i++) {
        struct gw_pending_key *k = &p->keys[i];

        if (!k->fingerprint[0]) {
            free_place = k;
            continue;
        }
        if (strcmp(k->fingerprint, fingerprint) == 0)
            return k;
        if (k->order < oldest->order)
            oldest = k;
        if (memcmp(k->source, source, sizeof k->source) != 0)
            continue;
        own++;
        if (!own_oldest || k->order < own_oldest->order)
            own_oldest = k;
    }
    if (own >= GW_PENDING_PER_SOURCE)
        return own_oldest;
    return free_place ? free_place : oldest;
}

void gw_pending_note(struct gw_pending *p, const char *text, const char *from, const uint8_t source[CMX_IPV6_LEN],
                     int64_t now)
{
    struct gw_pending_key *place;
    struct gw_key k;

    if (gw_key_parse(&k, text, NULL))
        return;
    place = pending_place(p, k.fingerprint, source);
    if (strcmp(place->fingerprint, k.fingerprint) != 0) {
        p->dropped += place->fingerprint[0] != '\0';
        memset(place, 0, sizeof *place);
        place->first = now;
        snprintf(place->fingerprint, sizeof place->fingerprint, "%s", k.fingerprint);
        snprintf(place->line, sizeof place->line, "%s %s", k.type, k.blob);
        memcpy(place->source, source, sizeof place->source);
    }
    snprintf(place->from, sizeof place->from, "%s", from);
    place->last = now;
    place->order = ++p->order;
    place->tries++;
}

void gw_pending_forget(struct gw_pending *p, const char *fingerprint)
{
    for (size_t i = 0; i < GW_PENDING_MAX; i++)
        if (strcmp(p->keys[i].fingerprint, fingerprint) == 0)
            memset(&p->keys[i], 0, sizeof p->keys[i]);
}

void gw_pending_json(struct cmx_json *j, const struct gw_pending *p)
{
    uint64_t below = UINT64_MAX;

    cmx_json_array(j, "pending");
    for (;;) {
        const struct gw_pending_key *next = NULL;

        for (size_t i = 0; i < GW_PENDING_MAX; i++)
            if (p->keys[i].fingerprint[0] && p->keys[i].order < below && (!next || p->keys[i].order > next->order))
                next = &p->keys[i];
        if (!next)
            break;
        below = next->order;
        cmx_json_object(j, NULL);
        cmx_json_str(j, "fingerprint", next->fingerprint);
        cmx_json_str(j, "key", next->line);
        cmx_json_str(j, "from", next->from);
        cmx_json_i64(j, "first", next->first);
        cmx_json_i64(j, "last", next->last);
        cmx_json_u64(j, "tries", next->tries);
        cmx_json_end(j);
    }
    cmx_json_end(j);
    cmx_json_u64(j, "dropped", p->dropped);
}
