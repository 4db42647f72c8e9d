/* confirm.h - decides whether a new image is confirmed or rolled back. An image is confirmed once the device has
 * reached its gateway and isolation is in force, and rolled back if that has not happened by the deadline. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define CMX_CONFIRM_DEADLINE_MS (5u * 60 * 1000)

struct cmx_confirm_facts {
    bool sessions_up;      /* the device has reached its gateway (cmx_proxy_reached) */
    bool isolation_active; /* isolation is in force, or the device has none */
    bool confirm_failed;   /* confirming has failed at least once; set by the service */
};

typedef enum { CMX_CONFIRM_WAIT = 0, CMX_CONFIRM_NOW, CMX_CONFIRM_ROLLBACK } cmx_confirm_decision;

/* Decides whether to confirm the image on trial, roll it back or wait. trial_ms: how long the trial has lasted;
 * deadline_ms: how long it may last, 0 for CMX_CONFIRM_DEADLINE_MS. */
cmx_confirm_decision cmx_confirm_decide(uint32_t trial_ms, uint32_t deadline_ms, const struct cmx_confirm_facts *facts);

/* Returns which condition was not met when cmx_confirm_decide returned ROLLBACK: a static text of at most 20
 * characters, the size of the label in an otadata entry. */
const char *cmx_confirm_unmet(const struct cmx_confirm_facts *facts);
