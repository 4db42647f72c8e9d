/* nss.h - looks up local users and groups in the machine's name services (nsswitch.conf). A child process asks them,
 * for a limited time, because a service such as LDAP can hang while the caller holds the gateway's lock. Not
 * thread-safe. */
#pragma once

#include "gateway/registry/grant.h"

typedef enum { GW_NSS_USER, GW_NSS_GROUP } gw_nss_kind;

struct gw_nss_entry {
    long id;           /* uid or gid; -1: the machine does not have the name */
    long gid;          /* a user's primary group; -1: unknown */
    const char *first; /* the first name of the id. If the id is -1 or has no name: the name that was looked up */
    /* The names of a group's members, or of all users (gw_nss_users). Each ends with NUL; the list ends with "". If a
     * name consists of digits, this list and `first` have the id instead. */
    const char *members;
};

/* True if the name of a user or group is a decimal number without leading zeros. "00" and "0x0" are not accepted as
 * spellings of user 0: a grant to "00" would otherwise remain after the grant to "0" is removed. */
bool gw_nss_is_number(const char *name, uint64_t *id);

/* Looks up a user or group by name or by number; a number is its own id. Never NULL; the entry is valid until the next
 * look-up of this kind. If the name services take too long, only /etc/passwd and /etc/group count, for all look-ups
 * until gw_nss_end. */
const struct gw_nss_entry *gw_nss_find(gw_nss_kind kind, const char *name);

/* Lists all users of the machine. The rest is as for gw_nss_find. */
const struct gw_nss_entry *gw_nss_users(void);

/* Returns the name after `name` in a list of members. */
const char *gw_nss_next(const char *name);

/* Ends the child and makes the next look-up ask all name services again. Call this after a group of look-ups in a
 * process that continues to run. */
void gw_nss_end(void);
