/* chain.h - computes the value that GET /hash returns. Decides which bytes are read and which messages are MACed, in
 * which order. Pure: the caller reads flash and computes the MACs.
 *
 * The value is the one that the original CMXsafe-ESP32 computes: H0 = 32 zero bytes; for each chunk of 4,096 bytes (the
 * last chunk of a range may be shorter) H = HMAC-SHA256(key, H || chunk || challenge). Several ranges form one chain,
 * in the order in which they are given.
 *
 *     while (cmx_chain_want(&c, &offset, &dst, &len)) {
 *         read flash at offset, len bytes, to dst;
 *         cmx_chain_message(&c, &msg, &msg_len);
 *         write the MAC of msg to c.h;
 *     }
 *     the answer is c.h */
#pragma once

#include <stdbool.h>

#include "cmxsafe/attest/ranges.h"
#include "cmxsafe/core/hash_len.h"

#define CMX_CHUNK 4096
/* n, rounded up to a multiple of CMX_CHUNK. */
#define CMX_CHUNK_END(n) (((n) + CMX_CHUNK - 1) / CMX_CHUNK * CMX_CHUNK)
#define CMX_CHALLENGE_MAX 512

/* True if all ranges consist of whole chunks at multiples of CMX_CHUNK; only the flash's end may cut a chunk short.
 * Other ranges must not get an answer. Otherwise a caller could choose where a chunk ends, test whether one byte of
 * flash equals a byte of the challenge or of another address, and so read all of flash byte by byte. */
bool cmx_ranges_are_whole(const struct cmx_ranges *ranges, uint32_t flash_size);

/* A position in a list of ranges that is read chunk by chunk. */
struct cmx_walk {
    const struct cmx_range *at, *end;
    uint32_t done; /* bytes of *at that the earlier chunks cover */
};

/* Borrows the ranges. */
void cmx_chain_walk_init(struct cmx_walk *w, const struct cmx_range *ranges, size_t n);

/* Returns offset and length of the next chunk, which has at most CMX_CHUNK bytes and lies within one range. False:
 * there are no more chunks. */
bool cmx_chain_walk_next(struct cmx_walk *w, uint32_t *offset, size_t *len);

/* This struct takes about 5 KB, too much for a task's stack. */
struct cmx_chain {
    size_t challenge_len;
    size_t chunk_len;
    uint8_t h[CMX_SHA256_LEN];
    struct cmx_walk walk;
    uint8_t challenge[CMX_CHALLENGE_MAX];
    uint8_t msg[CMX_SHA256_LEN + CMX_CHUNK + CMX_CHALLENGE_MAX];
};

/* Copies the challenge and borrows the ranges. CMX_EINVAL: the challenge does not have 1 to CMX_CHALLENGE_MAX bytes, or
 * ranges is empty. */
CMX_MUST_USE cmx_err cmx_chain_init(struct cmx_chain *c, const struct cmx_ranges *ranges, const void *challenge,
                                    size_t challenge_len);
bool cmx_chain_want(struct cmx_chain *c, uint32_t *offset, uint8_t **dst, size_t *len);
void cmx_chain_message(struct cmx_chain *c, const uint8_t **msg, size_t *len);
