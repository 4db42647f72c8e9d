#include "gateway/registry/limits.h"

#include <netinet/in.h>
#include <string.h>

void gw_limits_source(const struct sockaddr *peer, uint8_t source[16])
{
    memset(source, 0, 16);
    if (peer->sa_family == AF_INET) {
        source[10] = source[11] = 0xff; /* as an IPv4-mapped address */
        memcpy(source + 12, &((const struct sockaddr_in *)(const void *)peer)->sin_addr, 4);
    } else if (peer->sa_family == AF_INET6) {
        const struct in6_addr *a = &((const struct sockaddr_in6 *)(const void *)peer)->sin6_addr;
        memcpy(source, a, IN6_IS_ADDR_V4MAPPED(a) ? 16 : 8);
    }
}

static const struct gw_source *find(const struct gw_limits *l, const uint8_t source[16])
{
    for (size_t i = 0; i < GW_SOURCES_MAX; i++)
        if (l->sources[i].until_ms && memcmp(l->sources[i].address, source, 16) == 0)
            return &l->sources[i];
    return NULL;
}

/* A free entry, or that of the source that is forgiven first. */
static struct gw_source *claim(struct gw_limits *l, const uint8_t source[16])
{
    struct gw_source *best = &l->sources[0];

    for (size_t i = 1; i < GW_SOURCES_MAX && best->until_ms; i++)
        if (l->sources[i].until_ms < best->until_ms)
            best = &l->sources[i];
    memcpy(best->address, source, 16);
    best->until_ms = 0;
    return best;
}

bool gw_limits_refuse(const struct gw_limits *l, const uint8_t source[16], uint64_t now_ms)
{
    const struct gw_source *s = find(l, source);
    return s && s->until_ms > now_ms + GW_PENALTY_LIMIT_MS;
}

void gw_limits_failed(struct gw_limits *l, const uint8_t source[16], uint64_t penalty_ms, uint64_t now_ms)
{
    struct gw_source *s = (struct gw_source *)(uintptr_t)find(l, source);

    if (!s)
        s = claim(l, source);
    if (s->until_ms < now_ms)
        s->until_ms = now_ms;
    s->until_ms += penalty_ms;
    if (s->until_ms > now_ms + GW_PENALTY_MAX_MS)
        s->until_ms = now_ms + GW_PENALTY_MAX_MS;
}

void gw_limits_succeeded(struct gw_limits *l, const uint8_t source[16], uint64_t now_ms)
{
    struct gw_source *s = (struct gw_source *)(uintptr_t)find(l, source);

    if (s)
        s->until_ms = s->until_ms > now_ms + GW_PENALTY_FORGIVE_MS ? s->until_ms - GW_PENALTY_FORGIVE_MS : 0;
}
