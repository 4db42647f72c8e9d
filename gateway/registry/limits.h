/* limits.h - which new connections are let in: penalties for sources whose logins fail (as OpenSSH's
 * PerSourcePenalties, which 9.2 lacks). Pure: time is an argument. A source is an IPv4 address or an IPv6 /64. Bounded:
 * the table forgets the mildest. */
#ifndef GW_LIMITS_H
#define GW_LIMITS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#define GW_SOURCES_MAX 1024
#define GW_PENALTY_FAILED_MS 5000  /* a login that failed */
#define GW_PENALTY_NO_LOGIN_MS 500 /* a connection that left without one: a scan, or a device that gave up waiting */
#define GW_PENALTY_LIMIT_MS 30000  /* below: no refusal yet, devices make mistakes too */
#define GW_PENALTY_MAX_MS 600000
#define GW_PENALTY_FORGIVE_MS 15000 /* a good login takes that much off: many devices may share an address */

struct gw_source {
    uint8_t address[16];
    uint64_t until_ms; /* penalty ends; 0: free entry */
};

struct gw_limits {
    struct gw_source sources[GW_SOURCES_MAX];
};

/* The source of a peer address; an unknown family gives zeros. */
void gw_limits_source(const struct sockaddr *peer, uint8_t source[16]);

/* Is the source to be refused now? */
bool gw_limits_refuse(const struct gw_limits *l, const uint8_t source[16], uint64_t now_ms);
void gw_limits_failed(struct gw_limits *l, const uint8_t source[16], uint64_t penalty_ms, uint64_t now_ms);
void gw_limits_succeeded(struct gw_limits *l, const uint8_t source[16], uint64_t now_ms);

#endif
