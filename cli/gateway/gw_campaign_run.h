/* gw_campaign_run.h - carries out the update campaigns of the registry, for the worker.
 *
 * The update of a device has three steps. The worker stores the result of each step before it begins the next step.
 *
 * 1. A child reads the device's boot identifier ('update --look').
 *
 * 2. A child sends the image and waits until the device has confirmed it ('update --since BOOT'). If the device has the
 * image already, the child does not send it again.
 *
 * 3. If the device has a policy, the device proves with evidence that it is running the new firmware.
 *
 * If the worker is killed during a step, the next worker repeats this step. In a stopped campaign, the next worker does
 * not send the image again: it only asks the device which image it is running. If it is the campaign's image, step 3
 * follows; otherwise the update waits until the campaign is resumed. */
#pragma once

#include "cli/gateway/gw_child.h"
#include "gateway/registry/campaign.h"

#define GW_CAMPAIGN_TRIES_MAX 5      /* an update fails after this many failed attempts on a connected device */
#define GW_CAMPAIGN_EVIDENCE_S 600   /* an update fails if step 3 brings no evidence in this time */
#define GW_CAMPAIGN_RETRY_S 5        /* the wait before attempt N + 1 is N times this many seconds */
#define GW_CAMPAIGN_CHILDREN_MAX 128 /* maximum number of running children, over all campaigns */

struct gw_campaigns {
    struct gw_campaign_child *children; /* the running children */
    size_t n_children;
    uint64_t looked_ms;              /* when devices were last chosen for an update */
    void (*demand)(void *, int64_t); /* makes the device with this id attest soon */
    void *arg;                       /* argument of demand */
};

/* Call this several times a second, with g open for writing. After a failure the next call tries again. */
CMX_MUST_USE cmx_err gw_campaigns_tick(struct gw_campaigns *w, struct gw *g, struct cmx_why *e);
