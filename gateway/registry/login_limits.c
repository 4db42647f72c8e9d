#include "gateway/registry/login_limits.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#define NOTE_EVERY_MS 60000

static const uint8_t v4_prefix[] = {[10] = 0xff, [11] = 0xff};

void gw_limits_source(const struct sockaddr *peer, uint8_t source[CMX_IPV6_LEN])
{
    memset(source, 0, CMX_IPV6_LEN);
    if (peer->sa_family == AF_INET) {
        memcpy(source, v4_prefix, sizeof v4_prefix);
        memcpy(source + 12, &((const struct sockaddr_in *)(const void *)peer)->sin_addr, 4);
    } else if (peer->sa_family == AF_INET6) {
        const struct in6_addr *a = &((const struct sockaddr_in6 *)(const void *)peer)->sin6_addr;
        memcpy(source, a, IN6_IS_ADDR_V4MAPPED(a) ? 16 : 8);
    }
}

void gw_limits_source_text(const uint8_t source[CMX_IPV6_LEN], char *out, size_t cap)
{
    char text[INET6_ADDRSTRLEN] = "?";
    bool v4 = memcmp(source, v4_prefix, sizeof v4_prefix) == 0;

    inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? source + 12 : source, text, sizeof text);
    snprintf(out, cap, "%s%s", text, v4 ? "" : "/64");
}

static const struct gw_source *source_find(const struct gw_limits *l, const uint8_t source[CMX_IPV6_LEN])
{
    for (size_t i = 0; i < GW_SOURCES_MAX; i++)
        if (l->sources[i].used && memcmp(l->sources[i].address, source, CMX_IPV6_LEN) == 0)
            return &l->sources[i];
    return NULL;
}

/* True if a full table must replace entry *a before entry *b. The entry with the longest penalty is replaced last:
 * otherwise an attacker could fill the table from many sources to get rid of that entry. */
static bool matters_less(const struct gw_source *a, const struct gw_source *b)
{
    if (a->used != b->used)
        return !a->used;
    return a->until_ms != b->until_ms ? a->until_ms < b->until_ms : a->good_until_ms < b->good_until_ms;
}

static struct gw_source *source_get(struct gw_limits *l, const uint8_t source[CMX_IPV6_LEN])
{
    struct gw_source *best = (struct gw_source *)(uintptr_t)source_find(l, source);

    if (best)
        return best;
    best = &l->sources[0];
    for (size_t i = 1; i < GW_SOURCES_MAX; i++)
        if (matters_less(&l->sources[i], best))
            best = &l->sources[i];
    *best = (struct gw_source){.used = true};
    memcpy(best->address, source, CMX_IPV6_LEN);
    return best;
}

gw_login_pace gw_limits_pace(const struct gw_limits *l, const uint8_t source[CMX_IPV6_LEN], uint64_t now_ms)
{
    const struct gw_source *s = source_find(l, source);

    if (!s || s->until_ms <= now_ms + GW_PENALTY_LIMIT_MS)
        return GW_LOGIN_NOW;
    return s->good_until_ms > now_ms ? GW_LOGIN_LATER : GW_LOGIN_REFUSED;
}

void gw_limits_failed(struct gw_limits *l, const uint8_t source[CMX_IPV6_LEN], uint64_t penalty_ms, uint64_t now_ms)
{
    struct gw_source *s = source_get(l, source);

    if (s->until_ms < now_ms)
        s->until_ms = now_ms;
    s->until_ms += penalty_ms;
    if (s->until_ms > now_ms + GW_PENALTY_MAX_MS)
        s->until_ms = now_ms + GW_PENALTY_MAX_MS;
}

void gw_limits_succeeded(struct gw_limits *l, const uint8_t source[CMX_IPV6_LEN], uint64_t now_ms)
{
    struct gw_source *s = source_get(l, source);

    s->until_ms = s->until_ms > now_ms + GW_PENALTY_FORGIVE_MS ? s->until_ms - GW_PENALTY_FORGIVE_MS : 0;
    s->good_until_ms = now_ms + GW_GOOD_FOR_MS;
}

bool gw_limits_note(struct gw_limits *l, const uint8_t source[CMX_IPV6_LEN], uint64_t now_ms)
{
    struct gw_source *s = (struct gw_source *)(uintptr_t)source_find(l, source);

    if (!s || (s->noted_ms && now_ms - s->noted_ms < NOTE_EVERY_MS))
        return false;
    s->noted_ms = now_ms;
    return true;
}
