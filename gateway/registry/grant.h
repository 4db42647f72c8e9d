/* grant.h - grants: which consumer may reach which service of a device. A consumer is a local user, group or cgroup on
 * the gateway, or a platform that logs in with its own key. Without a grant, a consumer can reach nothing. Writers run
 * inside the caller's transaction. */
#pragma once

#include "gateway/registry/registry.h"
#include "gateway/registry/registry_device.h"

#define GW_KIND_MAX 12      /* a word such as "platform", NUL included */
#define GW_CONSUMER_MAX 200 /* bytes, NUL included; a cgroup's path is the longest name */

struct gw_consumer {
    char kind[GW_KIND_MAX]; /* "user", "group", "cgroup" or "platform" */
    char name[GW_CONSUMER_MAX];
};

/* Parses "user:alice", "group:ops", "cgroup:system.slice/nvr.service", "platform:vms", and "platform:alice@CA" for a
 * principal of a CA's certificates (authority.h). A name without a kind is a platform's. */
CMX_MUST_USE cmx_err gw_consumer_parse(struct gw_consumer *c, const char *text, struct cmx_why *e);

/* Finds the id of the consumer's row. CMX_ENOENT: the registry has no such consumer. */
CMX_MUST_USE cmx_err gw_consumer_id(struct gw_registry *r, const struct gw_consumer *c, int64_t *id, struct cmx_why *e);

/* True for a principal of a CA's certificates. */
bool gw_consumer_is_principal(const struct gw_consumer *c);

/* Registers a platform and its key. If the platform is registered already, replaces its key. */
CMX_MUST_USE cmx_err gw_consumer_set_platform(struct gw_registry *r, const char *name, const struct gw_key *k,
                                              gw_outcome *out, struct cmx_why *e);
CMX_MUST_USE cmx_err gw_consumer_revoke_platform(struct gw_registry *r, const char *name, gw_outcome *out,
                                                 struct cmx_why *e);

/* Calls fn for each platform and principal that may log in, in the order of their names. fingerprint: the platform's
 * key; "" for a principal. If fn returns an error, stops and returns it. */
typedef cmx_err (*gw_consumer_fn)(void *arg, const struct gw_consumer *c, const char *fingerprint);
CMX_MUST_USE cmx_err gw_consumer_each_platform(struct gw_registry *r, gw_consumer_fn fn, void *arg, struct cmx_why *e);

/* Adds a local user or unit without a grant to the registry, so that a look-up of its identity finds its name. */
CMX_MUST_USE cmx_err gw_consumer_note(struct gw_registry *r, const struct gw_consumer *c, struct cmx_why *e);

#define GW_WHY_MAX 200
/* A device or "@GROUP", with ":PORT" if the grant is for one port; NUL included. */
#define GW_TARGET_MAX (GW_NAME_MAX + 8)

/* Checks a reason for the audit trail, which is printed on terminals. CMX_EINVAL: it is longer than GW_WHY_MAX - 1
 * bytes, only blanks, or not plain text (plain_text.h). */
CMX_MUST_USE cmx_err gw_grant_check_why(const char *why, struct cmx_why *e);

/* How long a grant lasts, and why it was given. If all members are zero, the grant never ends. */
struct gw_grant_terms {
    int64_t length_s; /* the grant ends after this many seconds; 0: `until` applies */
    int64_t until;    /* the grant ends at this Unix time; 0: never */
    const char *why;  /* reason for the audit trail; NULL: none */
    bool break_glass; /* the grant also counts while the device is quarantined; it must have an end and a reason */
};

/* Adds a grant, or gives an existing one the new terms. device: a name, or "@GROUP" for all devices that are in the
 * group, now or later. port: one of the device's ports. port 0, for a device: all ports that it has now; for a group:
 * all ports that its devices have, now or later. terms NULL: the grant never ends. CMX_ENOENT: no such device, port or
 * platform; CMX_EINVAL: the terms are not valid. */
CMX_MUST_USE cmx_err gw_grant_set(struct gw_registry *r, const struct gw_consumer *c, const char *device, uint16_t port,
                                  const struct gw_grant_terms *terms, gw_outcome *out, struct cmx_why *e);
/* Removes the consumer's grant to this port of the device or group; port 0: its grants to all and to single ports.
 * *out is GW_UNCHANGED if there is none. */
CMX_MUST_USE cmx_err gw_grant_remove(struct gw_registry *r, const struct gw_consumer *c, const char *device,
                                     uint16_t port, gw_outcome *out, struct cmx_why *e);

struct gw_grant {
    struct gw_consumer consumer;
    int64_t consumer_id; /* the consumer's ID in the registry, which never changes */
    char device[GW_NAME_MAX];
    char address[GW_ADDRESS_MAX];
    uint16_t port;
    int64_t ends_in; /* seconds; 0: the grant never ends */
};

/* Calls fn for each service that each consumer may reach now, in the order of consumer, device, port. If fn returns an
 * error, stops and returns it. A grant to a group counts for each device of the group. Grants that have ended do not
 * count. To a quarantined device only break-glass grants count. In a stale copy (copy_state.h) no grant counts. */
typedef cmx_err (*gw_grant_fn)(void *arg, const struct gw_grant *p);
CMX_MUST_USE cmx_err gw_grant_each(struct gw_registry *r, gw_grant_fn fn, void *arg, struct cmx_why *e);

/* A grant as it was given. */
struct gw_grant_record {
    struct gw_consumer consumer;
    char target[GW_NAME_MAX + 1]; /* a device, or "@GROUP" */
    uint16_t port;                /* 0: all ports of the group's devices; a grant to a device always names a port */
    int64_t ends;                 /* Unix time; 0: never */
    int64_t left;                 /* seconds until the end; 0: the grant has ended, or never ends */
    bool break_glass;
    char why[GW_WHY_MAX];
};

/* Calls fn for each grant, in the order of consumer, target, port. If fn returns an error, stops and returns it. */
typedef cmx_err (*gw_grant_record_fn)(void *arg, const struct gw_grant_record *g);
CMX_MUST_USE cmx_err gw_grant_record_each(struct gw_registry *r, gw_grant_record_fn fn, void *arg, struct cmx_why *e);

/* Finds whether any grant lets the consumer reach this port of the device now. */
CMX_MUST_USE cmx_err gw_grant_is_active(struct gw_registry *r, const struct gw_consumer *c, int64_t device,
                                        uint16_t port, bool *active, struct cmx_why *e);
/* Finds the grant that was given for exactly this device (or "@GROUP") and port. CMX_ENOENT: there is none. */
CMX_MUST_USE cmx_err gw_grant_record_get(struct gw_registry *r, const struct gw_consumer *c, const char *device,
                                         uint16_t port, struct gw_grant_record *out, struct cmx_why *e);

/* Computes the seconds until the next grant or trusted evidence ends. A grant or evidence that has ended, but that
 * gw_grant_expire has not processed yet, counts as 0 seconds if `ended` is true, and is ignored otherwise. CMX_ENOENT:
 * there is no grant with an end and no trusted evidence, or all of them are ignored. */
CMX_MUST_USE cmx_err gw_grant_next_end(struct gw_registry *r, bool ended, int64_t *left, struct cmx_why *e);
/* Stores the current time if a grant has an end, or if there is trusted evidence. After a reboot, grants with an end do
 * not count while the clock is behind the stored time. forward: if true, a later stored time is not replaced; if false,
 * any stored time is replaced. An operator's command passes false, because the operator is trusted to have set the
 * clock correctly. */
CMX_MUST_USE cmx_err gw_grant_note_time(struct gw_registry *r, bool forward, struct cmx_why *e);
/* Removes the grants that have ended, and adds an entry to the audit trail for each. Marks evidence that is too old as
 * not trusted. Stores the current time (term.h). *n: the total number of grants removed and pieces of evidence
 * marked. Runs inside the caller's transaction. */
CMX_MUST_USE cmx_err gw_grant_expire(struct gw_registry *r, size_t *n, struct cmx_why *e);
