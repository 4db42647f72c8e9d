#include "cmxsafe/attest/chain.h"

#include <string.h>

bool cmx_ranges_are_whole(const struct cmx_ranges *ranges, uint32_t flash_size)
{
    const struct cmx_range *r = ranges->r;

    for (; r < ranges->r + ranges->n; r++)
        if (r->begin % CMX_CHUNK || (r->end % CMX_CHUNK && r->end != flash_size))
            return false;
    return true;
}

void cmx_chain_walk_init(struct cmx_walk *w, const struct cmx_range *ranges, size_t n)
{
    *w = (struct cmx_walk){.at = ranges, .end = ranges + n};
}

bool cmx_chain_walk_next(struct cmx_walk *w, uint32_t *offset, size_t *len)
{
    uint32_t left;

    if (w->at == w->end)
        return false;
    *offset = w->at->begin + w->done;
    left = w->at->end - *offset;
    *len = left < CMX_CHUNK ? left : CMX_CHUNK;
    w->done += (uint32_t)*len;
    if (*len == left) {
        w->at++;
        w->done = 0;
    }
    return true;
}

cmx_err cmx_chain_init(struct cmx_chain *c, const struct cmx_ranges *ranges, const void *challenge,
                       size_t challenge_len)
{
    if (ranges->n == 0 || challenge_len == 0 || challenge_len > CMX_CHALLENGE_MAX)
        return CMX_EINVAL;
    cmx_chain_walk_init(&c->walk, ranges->r, ranges->n);
    memset(c->h, 0, sizeof c->h);
    memcpy(c->challenge, challenge, challenge_len);
    c->challenge_len = challenge_len;
    c->chunk_len = 0;
    return CMX_OK;
}

bool cmx_chain_want(struct cmx_chain *c, uint32_t *offset, uint8_t **dst, size_t *len)
{
    if (!cmx_chain_walk_next(&c->walk, offset, &c->chunk_len))
        return false;
    *dst = c->msg + sizeof c->h;
    *len = c->chunk_len;
    return true;
}

void cmx_chain_message(struct cmx_chain *c, const uint8_t **msg, size_t *len)
{
    memcpy(c->msg, c->h, sizeof c->h);
    memcpy(c->msg + sizeof c->h + c->chunk_len, c->challenge, c->challenge_len);
    *msg = c->msg;
    *len = sizeof c->h + c->chunk_len + c->challenge_len;
}
