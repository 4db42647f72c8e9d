/* policy.h - may this packet pass? Default deny: in, out and on loopback. Decides from bytes, the interface, the time
 * it is told and what the device itself has asked for: no I/O, clock, lock or allocation. The caller serialises the
 * calls (the attachment holds one short lock), which may come from the network stack's own thread.
 *
 * What passes, and nothing else: TCP between a port that a live session owns and the gateway; ARP and neighbour
 * discovery for our own addresses and the peers we need; ICMP errors about a live session; answers to DHCP, DNS and
 * SNTP requests that are outstanding; on loopback the proxies' own connections. Every other packet gets no answer.
 *
 * Order of use: cmx_isolation_init, then cmx_isolation_socket_open and _close and _resolving as the proxy engine
 * reports (cmx_proxy_hooks), and cmx_isolation_check for each packet. */
#ifndef CMX_ISOLATION_POLICY_H
#define CMX_ISOLATION_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"
#include "cmxsafe/isolation/packet.h"
#include "cmxsafe/isolation/reason.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- bounds of this module, all here ---- */

#define CMX_ISO_CONTEXTS_MAX 32
#define CMX_ISO_ADDRESSES_MAX 4 /* gateway addresses, resolvers, time servers: of each */
#define CMX_ISO_NAMES_MAX 3     /* names that may be looked up */
#define CMX_ISO_CONTROL_MAX 4   /* loopback UDP ports */
#define CMX_ISO_IFACES_MAX 8
#define CMX_ISO_OWN_MAX 8      /* addresses of one interface */
#define CMX_ISO_REQUESTS_MAX 8 /* outstanding DNS, DHCP and SNTP requests */
#define CMX_ISO_NEIGHBOURS_MAX 8
#define CMX_ISO_ROUTERS_MAX 2
#define CMX_ISO_FLOWS_MAX 1024

#define CMX_ISO_REQUEST_MS 15000u  /* an answer that takes longer is not waited for */
#define CMX_ISO_NEIGHBOUR_MS 5000u /* the same for ARP and neighbour discovery */
#define CMX_ISO_CLOSING_MS 30000u  /* the FIN exchange of a closed socket */
#define CMX_ISO_PORT_DNS 53
#define CMX_ISO_PORT_SNTP 123

/* ---- what is configured ---- */

/* One local port that the policy knows. */
struct cmx_iso_context {
    bool direct;         /* false: a service that the proxy connects to; true: the proxy's own listener */
    uint16_t port;       /* of the service or the listener */
    struct cmx_ip local; /* where; :: means 127.0.0.1 */
    const char *tasks; /* direct: who may connect, by whom each connection is announced first (CMX_FLOW_CLAIM); borrowed
                          for the life of the policy; NULL: everyone */
};

struct cmx_iso_config {
    bool dhcp4, dhcp6, ipv6; /* false: never passes */
    uint16_t gateway_port;   /* 0: 22 */
    size_t n_gateways, n_resolvers, n_time_servers, n_contexts;

    /* Names that may be looked up, as the resolver sends them, borrowed for the life of the policy: the first is the
     * gateway's and only while the engine resolves it, the others (time servers) always. NULL where there is none. */
    const char *names[CMX_ISO_NAMES_MAX];
    uint16_t control_ports[CMX_ISO_CONTROL_MAX]; /* loopback UDP from and to 127.0.0.1, for a server's wake-up socket;
                                                    0: none */

    /* Where the gateway is. No address: it is configured by name and followed; sessions may then go to any address that
     * is not the device's own network's broadcast, loopback or multicast, but only to this port, and only from the
     * engine. */
    struct cmx_ip gateways[CMX_ISO_ADDRESSES_MAX];
    struct cmx_ip resolvers[CMX_ISO_ADDRESSES_MAX]; /* none: those that the interface reports */
    struct cmx_ip time_servers[CMX_ISO_ADDRESSES_MAX];
    struct cmx_iso_context contexts[CMX_ISO_CONTEXTS_MAX];
};

/* ---- what is alive ---- */

/* PAIR: both ends are the engine's, on loopback, and no context names them. */
typedef enum { CMX_FLOW_SESSION, CMX_FLOW_RELAY, CMX_FLOW_LISTEN, CMX_FLOW_PAIR, CMX_FLOW_CLAIM } cmx_flow_kind;
typedef enum { CMX_TCP_OPENING, CMX_TCP_SYN_SENT, CMX_TCP_UP, CMX_TCP_PICKUP } cmx_tcp_state;

/* A socket that the proxy engine owns. Invariants: on exactly one bucket's list while used; snd_max and rcv_* are only
 * looked at when the state is UP. */
struct cmx_flow {
    struct cmx_end local, peer; /* local.port 0: free */
    struct cmx_flow *next;      /* in the bucket's list */
    uint8_t kind;               /* cmx_flow_kind */
    uint8_t state;              /* cmx_tcp_state */
    uint8_t scale;              /* window scale that we offered in our SYN */
    bool closing;               /* the socket is gone; the flow ends at expires */
    uint32_t snd_max;           /* highest sequence number that we sent, plus one */
    uint32_t rcv_ack;           /* highest acknowledgement that we sent */
    uint32_t rcv_edge;          /* right edge of the window that we advertised */
    uint32_t expires;
};

#define CMX_ISO_BUCKETS 128 /* lists of flows by port: short ones, up to CMX_ISO_FLOWS_MAX */

/* An outstanding request over UDP, and what its answer must look like. */
struct cmx_request {
    struct cmx_end peer; /* whom it was sent to */
    uint32_t id;         /* DNS id, DHCP xid, low half of the SNTP transmit timestamp */
    uint32_t expires;
    uint16_t lport;
    uint8_t iface;
    uint8_t kind; /* CMX_WHY_DHCP, CMX_WHY_DHCP6, CMX_WHY_DNS, CMX_WHY_SNTP; CMX_WHY_NONE: unused */
};

typedef enum { CMX_NEIGHBOUR_FREE, CMX_NEIGHBOUR_ASKED, CMX_NEIGHBOUR_ANSWERED } cmx_neighbour_state;

/* A neighbour that was asked for, and who answered; or a router, and who advertises it. */
struct cmx_neighbour {
    struct cmx_ip ip;
    uint32_t expires; /* of the question; of the router */
    uint8_t mac[6];
    uint8_t iface;
    uint8_t state; /* cmx_neighbour_state */
};

/* The policy and its state. Zeroed, it denies everything. What is long and indexed stands last: the fields before it
 * are then within reach of a small device's short instructions. */
struct cmx_isolation {
    unsigned resolving;     /* look-ups of the gateway's name under way */
    struct cmx_flow *flows; /* borrowed; NULL: no flow can be opened */
    size_t n_flows;
    struct cmx_neighbour routers[CMX_ISO_ROUTERS_MAX];
    struct cmx_neighbour neighbours[CMX_ISO_NEIGHBOURS_MAX];
    struct cmx_request requests[CMX_ISO_REQUESTS_MAX];
    struct cmx_ip dhcp_server[CMX_ISO_IFACES_MAX]; /* that the device chose; :: none yet */
    struct cmx_ip dhcp6_server[CMX_ISO_IFACES_MAX];
    uint32_t counts[CMX_WHY_COUNT]; /* answers given, by reason; wraps */
    struct cmx_iso_config config;
    struct cmx_flow *buckets[CMX_ISO_BUCKETS];
};

typedef enum { CMX_IN, CMX_OUT } cmx_direction;
typedef enum { CMX_IFACE_OUTSIDE, CMX_IFACE_LOOPBACK } cmx_iface_class;

/* The interface as it is now; filled by the attachment for each call. */
struct cmx_iface {
    cmx_iface_class class_;
    uint8_t index; /* below CMX_ISO_IFACES_MAX, stable while the interface exists */
    uint8_t mac[6];
    uint16_t vlan; /* tag that the interface expects; 0: none */
    uint8_t n_own, n_resolvers;
    struct cmx_ip router4;                          /* IPv4 next hop, :: none */
    struct cmx_ip own[CMX_ISO_OWN_MAX];             /* tentative ones too */
    struct cmx_ip resolvers[CMX_ISO_ADDRESSES_MAX]; /* that the stack uses; looked at when none is configured */
};

struct cmx_decision {
    cmx_verdict verdict;
    cmx_why why;
};

/* Copies config and borrows flows (their content need not be set) until iso is no longer used; a flow is a session, a
 * relay or a listener, so that sessions + listeners + all max_connections, and as many again for sockets that are
 * closing, are enough. CMX_EINVAL: counts out of range, port 0 in a context; iso then denies everything. */
CMX_MUST_USE cmx_err cmx_isolation_init(struct cmx_isolation *iso, const struct cmx_iso_config *config,
                                        struct cmx_flow *flows, size_t n_flows);

/* Replaces what is configured and keeps what is alive. CMX_EINVAL: nothing has changed. */
CMX_MUST_USE cmx_err cmx_isolation_configure(struct cmx_isolation *iso, const struct cmx_iso_config *config);

/* The engine is about to connect or listen with that local address (:: or 0.0.0.0: not known yet; the port is). peer
 * NULL for a listener. CMX_EPERM: the configuration names no such socket. CMX_ENOSPC: no flow is free. */
CMX_MUST_USE cmx_err cmx_isolation_socket_open(struct cmx_isolation *iso, cmx_flow_kind kind,
                                               const struct cmx_end *local, const struct cmx_end *peer,
                                               uint32_t now_ms);

/* That socket is gone. TCP's own farewell still passes for CMX_ISO_CLOSING_MS. Unknown sockets are ignored. */
void cmx_isolation_socket_close(struct cmx_isolation *iso, cmx_flow_kind kind, const struct cmx_end *local,
                                const struct cmx_end *peer, uint32_t now_ms);

/* The policy is put in force while sessions may already exist (the seed's order: setup_sm() after the proxies): their
 * next packets are taken as they come, without resets, until the device has sent one. */
void cmx_isolation_adopt(struct cmx_isolation *iso);

/* The engine begins or ends a look-up of the gateway's name; they may nest. */
void cmx_isolation_resolving(struct cmx_isolation *iso, bool begins);

/* May this frame pass? Counts the answer. */
struct cmx_decision cmx_isolation_check(struct cmx_isolation *iso, const struct cmx_iface *iface, cmx_direction dir,
                                        const struct cmx_frame *frame, uint32_t now_ms);

/* Sockets that are open now. */
size_t cmx_isolation_flows(const struct cmx_isolation *iso);

#ifdef __cplusplus
}
#endif
#endif
