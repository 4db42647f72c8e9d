/* probe.h - tests whether the gateway's listener still forwards to this device: connects to the listener through the
 * device's own session, sends a random token and searches for it in the connections that arrive. If the token does not
 * arrive, the listener is requested again. */
#pragma once

#include "cmxsafe/proxy/session_state.h"

/* Advances the probe of r as far as possible without waiting. If it returns an error, the session must end. */
CMX_MUST_USE cmx_err cmx_probe_step(struct session *s, struct run *r);

/* True if a probe is under way, so that an arriving connection may be the probe. */
bool cmx_probe_is_out(const struct run *r);

/* Compares the first len bytes of an arriving connection with the probe's token. PROBE_TOKEN: the probe has
 * succeeded. */
typedef enum { PROBE_OTHER, PROBE_TOO_SHORT, PROBE_TOKEN } probe_match;
probe_match cmx_probe_match(struct run *r, const uint8_t *data, size_t len);

/* Call when a connection arrived during a probe but could not be accepted. It may be the probe; in any case it shows
 * that the listener forwards to this device. */
static inline void cmx_probe_excuse(struct run *r)
{
    r->probe.seen = true;
}

/* Discards a probe that is under way. */
void cmx_probe_reset(struct run *r);
