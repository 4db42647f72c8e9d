/* unit_check.h - finds what keeps a valid configuration from working: files that the agent cannot open, folders that it
 * cannot write to, ports that it cannot bind. Used only by --check; opens files, changes nothing. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/config/agent_config.h"

#define UNIT_USER_MAX 64
#define UNIT_WRITABLE_MAX 512

/* The settings of a systemd unit that decide what its process can reach. */
struct unit_sandbox {
    char user[UNIT_USER_MAX]; /* value of User= */
    bool hides_home;          /* ProtectHome= is yes or tmpfs */
    bool hides_tmp;           /* PrivateTmp= is yes or disconnected */
    bool read_only;           /* ProtectSystem= is strict */
    bool own_users;           /* PrivateUsers= is on: capabilities have no effect outside the unit's user namespace */
    /* Bits 1 << CAP_NET_ADMIN and 1 << CAP_NET_BIND_SERVICE of AmbientCapabilities= and CapabilityBoundingSet=. Other
     * capabilities are ignored. bounds has both bits if the unit does not set CapabilityBoundingSet=. */
    uint64_t ambient;
    uint64_t bounds;
    char writable[UNIT_WRITABLE_MAX]; /* ReadWritePaths, StateDirectory and RuntimeDirectory: absolute folders,
                                         separated by blanks */
};

/* The paths where cmxsafed.service can be, and glob(7) patterns for its drop-ins. Both lists are NULL-terminated and
 * begin with the lowest priority. */
extern const char *const unit_files[];
extern const char *const unit_drop_ins[];

/* Reads one unit, the last of `units` that exists, and then the drop-ins in the order of their names. As in systemd, a
 * drop-in replaces an earlier one of the same name. False: neither the unit nor a drop-in names a user. */
bool unit_sandbox_read(struct unit_sandbox *s, const char *const *units, const char *const *drop_ins);

/* Reports each file and port of c that this process cannot use, and isolation if this process cannot install rules.
 * Each report names the line of the setting. If s is NULL, checks the capabilities of this process; otherwise checks
 * those in s, and also reports files that the unit's settings hide or make read-only. */
void unit_check(const struct agent_config *c, const struct unit_sandbox *s, struct config_report *r);
