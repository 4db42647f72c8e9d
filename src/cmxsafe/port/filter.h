/* filter.h - the door to a platform's network stack for isolation: who shows each packet to the policy before the stack
 * sees it. One per platform: port/lwip (an ESP32, the virtual board on TAP). A platform without one can't isolate.
 *
 * The judge is called with the filter's lock held, from any of the stack's threads; it must be short and must not call
 * back into the stack. */
#ifndef CMX_PORT_FILTER_H
#define CMX_PORT_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CMX_FILTER_ADDRESSES_MAX 8
#define CMX_FILTER_RESOLVERS_MAX 3

/* A packet where it crosses an interface. Bytes in network order; IPv4 addresses as ::ffff:a.b.c.d. */
struct cmx_filter_packet {
    uint8_t loopback; /* 1: from the device to itself */
    uint8_t out;      /* 1: it leaves */
    uint8_t ethernet; /* 1: data begins with an Ethernet header; 0: with IP */
    uint8_t iface;    /* which one, below CMX_FILTER_IFACES_MAX */
    uint8_t mac[6];   /* of the interface */
    uint8_t n_own, n_resolvers;
    const uint8_t *data;                       /* the head of the frame */
    size_t len;                                /* bytes at data */
    size_t total;                              /* bytes of the frame */
    uint8_t own[CMX_FILTER_ADDRESSES_MAX][16]; /* of the interface, tentative ones too */
    uint8_t router4[16];                       /* IPv4 next hop; zero: none */
    uint8_t resolvers[CMX_FILTER_RESOLVERS_MAX][16];
};
#define CMX_FILTER_IFACES_MAX 8

/* Whether the packet passes. */
typedef bool (*cmx_filter_judge)(void *arg, const struct cmx_filter_packet *p);

struct cmx_filter {
    /* From now on no packet passes that judge does not let pass: every interface that is there or comes later, and
     * loopback. Blocks; not from the stack's own thread. CMX_EIO: it could not be put everywhere; nothing passes then.
     * CMX_EEXIST: it is installed. */
    cmx_err (*install)(cmx_filter_judge judge, void *arg);
    void (*remove)(void);
    /* Keeps the judge out while the policy changes. Short; not recursive. Usable once the stack runs, installed or not.
     */
    void (*lock)(void);
    void (*unlock)(void);
};

/* The platform's filter, or NULL where the device has no network stack of its own (the virtual board on the machine's
 * sockets). Static. */
const struct cmx_filter *cmx_port_filter(void);

#ifdef __cplusplus
}
#endif
#endif
