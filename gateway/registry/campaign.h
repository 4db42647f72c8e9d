/* campaign.h - update campaigns: which devices get which image, when, and the progress of each device. The gateway's
 * worker runs the campaigns. It stores each step of a device's update before it begins the next step: if the worker is
 * killed, no progress is lost, and no device gets the image twice. Writers run inside the caller's transaction. */
#pragma once

#include "cmxsafe/core/hash_len.h"
#include "gateway/registry/registry_device.h"

#define GW_CAMPAIGN_DETAIL_MAX 200
#define GW_CAMPAIGN_BOOT_MAX 20
#define GW_CAMPAIGN_MANIFESTS_MAX 4 /* one for each slot from which the firmware may run */
#define GW_CAMPAIGN_VERSION_MAX 40

typedef enum {
    GW_CAMPAIGN_ACTIVE,  /* the worker updates devices, but not before the time `begins` */
    GW_CAMPAIGN_PAUSED,  /* paused by the operator */
    GW_CAMPAIGN_STOPPED, /* stopped by the operator, or after too many failures */
    GW_CAMPAIGN_DONE,    /* no device is left to update */
} gw_campaign_state;

typedef enum {
    GW_UPDATE_WAITING,
    GW_UPDATE_BEGUN,     /* the device's boot identifier is stored; the device may have received the image */
    GW_UPDATE_ATTESTING, /* the device confirmed the new version; the worker waits for its evidence */
    GW_UPDATE_DONE,
    GW_UPDATE_FAILED,
    GW_UPDATE_STATES, /* the number of states */
} gw_update_state;

/* How many devices may be updated at the same time, and how many updates may fail. */
struct gw_pace {
    uint64_t parallel; /* maximum number of devices that are updated at the same time */
    uint64_t first;    /* number of devices to update one by one at first; if one fails, no other update starts */
    uint64_t stop_at;  /* stop when this percentage of the finished devices has failed; 100: never stop */
};

struct gw_campaign {
    int64_t id;
    char name[GW_NAME_MAX];
    gw_campaign_state state;
    char reason[GW_CAMPAIGN_DETAIL_MAX];   /* why the campaign has its state */
    char image[CMX_SHA256_HEX];            /* digest of the image in the gateway's folder; see gw_store.h */
    char version[GW_CAMPAIGN_VERSION_MAX]; /* version of the image */
    bool opaque;                           /* the image is not an ESP-IDF image */
    /* Evidence must match one of these manifests or, if there are none, a manifest of the device's policy. */
    char manifests[GW_CAMPAIGN_MANIFESTS_MAX][CMX_SHA256_HEX];
    size_t n_manifests;
    int64_t begins; /* Unix time */
    int64_t made;
    struct gw_pace pace;
    int64_t port;
    int64_t count[GW_UPDATE_STATES]; /* number of devices in each state */
};

/* Stores a new campaign and sets c->id. CMX_EEXIST: a campaign has this name. CMX_EINVAL: the name is not valid. */
CMX_MUST_USE cmx_err gw_campaign_add(struct gw_registry *r, struct gw_campaign *c, struct cmx_why *e);
/* Adds a device to a campaign. CMX_EEXIST: another campaign that is not stopped still has to update this device. */
CMX_MUST_USE cmx_err gw_campaign_add_device(struct gw_registry *r, const struct gw_campaign *c,
                                            const struct gw_device *d, struct cmx_why *e);
/* Reads a campaign. CMX_ENOENT: there is no such campaign. */
CMX_MUST_USE cmx_err gw_campaign_get(struct gw_registry *r, const char *name, struct gw_campaign *c, struct cmx_why *e);
/* Calls fn for each campaign, the oldest first. If fn returns an error, stops and returns it. */
typedef cmx_err (*gw_campaign_fn)(void *arg, const struct gw_campaign *c);
CMX_MUST_USE cmx_err gw_campaign_each(struct gw_registry *r, gw_campaign_fn fn, void *arg, struct cmx_why *e);
/* Sets the campaign's state and records an event. Changing GW_CAMPAIGN_STOPPED to GW_CAMPAIGN_ACTIVE also resets the
 * state of failed updates, so that the worker tries them again; CMX_EEXIST: another campaign that is not stopped still
 * has to update one of the devices. */
CMX_MUST_USE cmx_err gw_campaign_set(struct gw_registry *r, const struct gw_campaign *c, gw_campaign_state state,
                                     const char *reason, struct cmx_why *e);
/* Removes a campaign that is stopped or done. CMX_EBUSY: it is active or paused. */
CMX_MUST_USE cmx_err gw_campaign_remove(struct gw_registry *r, const char *name, struct cmx_why *e);

/* One device of a campaign. */
struct gw_update {
    int64_t device;
    char name[GW_NAME_MAX];
    char address[GW_ADDRESS_MAX];
    gw_update_state state;
    gw_update_state stored;          /* the state when this was read from the registry */
    char boot[GW_CAMPAIGN_BOOT_MAX]; /* the device's boot identifier before it received the image */
    int64_t tries;                   /* attempts that failed before the device had the complete image */
    int64_t at;                      /* Unix time of the last change */
    char detail[GW_CAMPAIGN_DETAIL_MAX];
};

/* Calls fn for each device of the campaign, in the order in which they were added; revoked devices are left out. */
typedef cmx_err (*gw_update_fn)(void *arg, const struct gw_update *u);
CMX_MUST_USE cmx_err gw_update_each(struct gw_registry *r, int64_t campaign, gw_update_fn fn, void *arg,
                                    struct cmx_why *e);
/* Stores u->state, u->boot, u->tries, u->detail and the current time, unless the registry's state is no longer
 * u->stored: another gateway, to which the device is connected now, may have continued the update. Records an event for
 * GW_UPDATE_DONE and GW_UPDATE_FAILED. */
CMX_MUST_USE cmx_err gw_update_set(struct gw_registry *r, const struct gw_campaign *c, const struct gw_update *u,
                                   struct cmx_why *e);

const char *gw_campaign_state_text(gw_campaign_state s);
const char *gw_update_state_text(gw_update_state s);

/* ---- when the update of another device may start, in campaigns and in rollouts from a terminal ---- */

/* True if the update of another device may start. done: number of devices that have finished, including failed ones. */
bool gw_pace_may_start(const struct gw_pace *p, uint64_t done, uint64_t running);
/* True after too many failures: one of the first devices has failed or, later, the configured share of the finished
 * devices has failed. */
bool gw_pace_must_stop(const struct gw_pace *p, uint64_t done, uint64_t failed);
