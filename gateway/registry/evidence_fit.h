/* evidence_fit.h - keeps stored evidence within the policies (evidence_policy.h) that apply now. */
#pragma once

#include "gateway/registry/registry.h"

/* Discards trusted evidence whose manifest the device's policy does not list. Shortens the term of evidence that was
 * accepted under a longer maximum age. Call this after a change to a policy, to a device's group or to its evidence,
 * inside the same transaction. */
CMX_MUST_USE cmx_err gw_evidence_fit(struct gw_registry *r, struct cmx_why *e);
