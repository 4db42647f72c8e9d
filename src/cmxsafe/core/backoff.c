#include "cmxsafe/core/backoff.h"

void cmx_backoff_init(struct cmx_backoff *b, uint32_t base_ms, uint32_t max_ms)
{
    b->base_ms = base_ms ? base_ms : 1;
    b->max_ms = max_ms < b->base_ms ? b->base_ms : max_ms;
    b->ceiling_ms = b->base_ms;
}

uint32_t cmx_backoff_next(struct cmx_backoff *b, uint32_t random)
{
    uint32_t floor_ms = b->base_ms / 4;
    uint64_t span = (uint64_t)b->ceiling_ms - floor_ms + 1;
    uint32_t wait = floor_ms + (uint32_t)((span * random) >> 32);

    b->ceiling_ms = b->ceiling_ms > b->max_ms / 2 ? b->max_ms : b->ceiling_ms * 2;
    return wait;
}

void cmx_backoff_reset(struct cmx_backoff *b)
{
    b->ceiling_ms = b->base_ms;
}
