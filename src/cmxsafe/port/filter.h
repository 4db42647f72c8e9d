/* filter.h - the part of a platform's network stack that isolation needs: a filter that gives each packet to the
 * policy before the stack handles it.
 * port/lwip implements it for lwIP (an ESP32, the virtual board on TAP). A platform without a filter has no isolation.
 *
 * The judge is the function that decides whether a packet passes. The filter calls it with the filter's own lock held,
 * in any of the stack's threads. The judge must return quickly and never call the stack. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"
#include "cmxsafe/core/ip.h"

CMX_C_BEGIN

#define CMX_IFACES_MAX 8
#define CMX_IFACE_OWN_MAX 8
#define CMX_IFACE_RESOLVERS_MAX 4

typedef enum { CMX_IFACE_OUTSIDE, CMX_IFACE_LOOPBACK } cmx_iface_class;

/* An interface's state when a packet crosses it. LOOPBACK: the packet goes from the device to itself; no other field is
 * set. */
struct cmx_iface {
    cmx_iface_class class_;
    uint8_t index; /* below CMX_IFACES_MAX, stable while the interface exists */
    uint8_t mac[6];
    uint8_t n_own, n_resolvers;
    struct cmx_ip router4;                            /* the IPv4 router; all zeros: there is none */
    struct cmx_ip own[CMX_IFACE_OWN_MAX];             /* own addresses, tentative ones included */
    struct cmx_ip resolvers[CMX_IFACE_RESOLVERS_MAX]; /* resolvers that the stack uses */
};

/* A packet that crosses an interface. Valid during the call of `judge`. */
struct cmx_filter_packet {
    const struct cmx_iface *iface;
    bool out;            /* the packet leaves the device */
    bool ethernet;       /* true: data begins with an Ethernet header; false: with an IP header */
    const uint8_t *data; /* the first bytes of the packet */
    size_t len;          /* number of bytes at data */
    size_t total;        /* length of the whole packet, in bytes */
};

/* A neighbour whose hardware address the stack has resolved. */
struct cmx_filter_neighbour {
    struct cmx_ip ip;
    uint8_t mac[6];
    uint8_t iface;       /* index of the interface */
    uint32_t lifetime_s; /* remaining lifetime of an IPv6 default router; 0: not a router */
};

/* Functions that the filter calls. */
struct cmx_filter_calls {
    /* True if the packet passes. */
    bool (*judge)(const struct cmx_filter_packet *p);
    /* `install` calls this for each neighbour that the stack has resolved. */
    void (*neighbour)(const struct cmx_filter_neighbour *n);
};

struct cmx_filter {
    /* Installs the filter, which cannot be removed: only packets that the judge allows pass, on loopback and on every
     * interface, including interfaces that are added later. Blocks; must not be called from the stack's own thread.
     * `calls` must be static. CMX_EIO: memory is short; the judge then sees the packets of the interfaces, but not yet
     * those from the device to itself. Call again to complete the installation. */
    cmx_err (*install)(const struct cmx_filter_calls *calls);
    /* Locks out the judge while the policy changes. Hold it briefly; not recursive. Usable once the stack is running,
     * even if the filter is not installed. */
    void (*lock)(void);
    void (*unlock)(void);
};

/* Returns the platform's filter, or NULL if the device has no network stack of its own (the virtual board on the
 * machine's sockets). Static. */
const struct cmx_filter *cmx_port_filter(void);

CMX_C_END
