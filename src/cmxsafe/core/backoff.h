/* backoff.h - computes the wait before the next login attempt: exponential with full jitter. A device never stops
 * trying to reach its gateway, and never tries in quick succession. Pure: random bits are an argument. Source: M.
 * Brooker, "Exponential Backoff And Jitter" (AWS, 2015), the "full jitter" variant. */
#pragma once

#include <stdint.h>

struct cmx_backoff {
    uint32_t base_ms;    /* ceiling of the first wait */
    uint32_t max_ms;     /* ceiling of every wait */
    uint32_t ceiling_ms; /* ceiling of the next wait */
};

/* base_ms and max_ms: 1 <= base_ms <= max_ms; other values are clamped. */
void cmx_backoff_init(struct cmx_backoff *b, uint32_t base_ms, uint32_t max_ms);

/* Returns the next wait in ms, a uniform random value in [floor, ceiling], then doubles the ceiling, up to max_ms.
 * random: 32 uniform bits. The floor is base_ms / 4, so that a run of low random values does not cause many attempts in
 * a short time. */
uint32_t cmx_backoff_next(struct cmx_backoff *b, uint32_t random);

/* Call after a success: the ceiling is base_ms again. */
void cmx_backoff_reset(struct cmx_backoff *b);
