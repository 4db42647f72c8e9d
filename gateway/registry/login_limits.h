/* login_limits.h - decides whether a new connection may log in at once, later or not at all. A source whose logins fail
 * gets penalties, as with PerSourcePenalties, which OpenSSH 9.2 does not have yet. A source is an IPv4 address or an
 * IPv6 /64. Pure: the time is an argument. Bounded: when the table is full, the entry whose penalty ends first is
 * replaced.
 *
 * Many devices may share one source (NAT). A source that had a successful login within the last GW_GOOD_FOR_MS is
 * slowed but never refused. Otherwise devices with old keys would lock out devices with valid keys that connect from
 * the same address. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "cmxsafe/core/ip.h"

#define GW_SOURCES_MAX 1024
#define GW_PENALTY_FAILED_MS 5000 /* a login that failed */
/* A login with a revoked or replaced key comes from a forgotten device rather than from an attacker. */
#define GW_PENALTY_RETIRED_MS 500
/* A connection that ends before its login comes from a scan, or from a device that stopped waiting. */
#define GW_PENALTY_NO_LOGIN_MS 500
#define GW_PENALTY_LIMIT_MS 30000   /* penalties up to this sum have no effect: a valid device's login can fail, too */
#define GW_PENALTY_MAX_MS 600000    /* maximum sum of penalties */
#define GW_PENALTY_FORGIVE_MS 15000 /* a successful login reduces the penalty by this time */
#define GW_GOOD_FOR_MS 86400000     /* after a successful login, the source is not refused for this long */
#define GW_SLOW_MS 1000             /* how long the login of a slowed connection is delayed */

typedef enum { GW_LOGIN_NOW, GW_LOGIN_LATER, GW_LOGIN_REFUSED } gw_login_pace;

struct gw_source {
    uint8_t address[CMX_IPV6_LEN];
    bool used;
    uint64_t until_ms;      /* end of the penalty */
    uint64_t good_until_ms; /* until this time, the source is slowed but not refused */
    uint64_t noted_ms;      /* when the log last named this source; 0: never */
};

struct gw_limits {
    struct gw_source sources[GW_SOURCES_MAX];
};

/* Writes the source of a peer address, or zeros if its family is unknown. */
void gw_limits_source(const struct sockaddr *peer, uint8_t source[CMX_IPV6_LEN]);
/* Writes "192.0.2.7" or "2001:db8:1:2::/64". */
void gw_limits_source_text(const uint8_t source[CMX_IPV6_LEN], char *out, size_t cap);

gw_login_pace gw_limits_pace(const struct gw_limits *l, const uint8_t source[CMX_IPV6_LEN], uint64_t now_ms);
void gw_limits_failed(struct gw_limits *l, const uint8_t source[CMX_IPV6_LEN], uint64_t penalty_ms, uint64_t now_ms);
void gw_limits_succeeded(struct gw_limits *l, const uint8_t source[CMX_IPV6_LEN], uint64_t now_ms);

/* Returns true at most once a minute for each source. The caller then logs that the source is slowed or refused. */
bool gw_limits_note(struct gw_limits *l, const uint8_t source[CMX_IPV6_LEN], uint64_t now_ms);
