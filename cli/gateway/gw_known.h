/* gw_known.h - the devices that have a policy, as the worker knows them, and which of them must be checked next. Pure
 * except for gw_known_read, which reads the registry. */
#pragma once

#include <sys/types.h>

#include "cli/gateway/gw_evidence_check.h"
#include "gateway/registry/evidence_policy.h"

#define GW_KNOWN_RETRY_MIN_MS 1000 /* the first wait after a check that did not find the device trusted */
#define GW_KNOWN_RETRY_MAX_MS 60000
/* After a device has lost its trust, it is not checked for a time, which doubles with each further loss, up to
 * GW_KNOWN_HOLD_MAX_MS. Otherwise a device that loses and regains its trust again and again could fill the audit trail,
 * and make the gateway load its rules all the time. After GW_KNOWN_CALM_MS without a loss, the time is the shortest
 * again. */
#define GW_KNOWN_HOLD_MAX_MS (10 * 60 * 1000)
#define GW_KNOWN_CALM_MS (60 * 60 * 1000)

struct gw_known {
    struct gw_standing standing;
    /* The device must be checked again: since its last check began, it has logged in or may have changed. */
    bool logged_in;
    bool present;           /* the device still has a policy */
    uint64_t retry_ms;      /* the wait after a check that did not find the device trusted; 0: none */
    uint64_t next_ms;       /* no check before this time */
    uint64_t lost_ms;       /* when the device last lost its trust; 0: never */
    uint64_t hold_ms;       /* no check for this long after lost_ms, even if the device logs in */
    pid_t pid;              /* child that checks the device; 0: none */
    uint64_t check_ends_ms; /* a child that is still running at this time is killed */
    int fd;
    struct gw_basis basis; /* inputs of the check when it began */
    struct gw_check_result result;
    bool decided; /* the result must be stored: a verdict, or why a silent device gives no evidence */
    bool silent;  /* the registry has the reason why the device, which is connected, gives no evidence */
};

/* A zeroed list is empty. The devices are sorted by name. */
struct gw_known_list {
    struct gw_known **all;
    size_t n, cap;
    size_t turn; /* index of the device with which gw_known_next_due begins */
};

/* Reads the standing of all devices from r. Removes a device that has no policy, unless a check of it is
 * running. After an error the list is still valid. */
CMX_MUST_USE cmx_err gw_known_read(struct gw_known_list *l, struct gw_registry *r, struct cmx_why *e);
/* NULL: the list has no device with this name. */
struct gw_known *gw_known_find(const struct gw_known_list *l, const char *name);
/* Call after the device has logged in: it must be checked at once, or when the wait after the loss of its trust ends.
 */
void gw_known_login(struct gw_known *k);
/* Call when a check has ended and k->result is set: decides when the next check may begin. */
void gw_known_checked(struct gw_known *k, uint64_t now_ms);
/* True if k must be checked now: after a login, or when less than a third of its evidence's maximum age is left. */
bool gw_known_is_due(const struct gw_known *k, uint64_t now_ms);
/* Returns a device that must be checked now; NULL: there is none. Devices take turns, so devices that answer slowly or
 * never can't keep the others from being checked. */
struct gw_known *gw_known_next_due(struct gw_known_list *l, uint64_t now_ms);
/* True if the device is neither trusted nor exempt, several checks in a row got no evidence, and the registry does not
 * have the reason yet. */
bool gw_known_is_silent(const struct gw_known *k);
