/* policy_state.h - the policy's state: its configuration, the engine's sockets, outstanding requests and known
 * neighbours. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/isolation/packet.h"
#include "cmxsafe/isolation/reason.h"
#include "cmxsafe/port/filter.h"

/* ---- bounds of this module ---- */

#if defined(ESP_PLATFORM) || defined(CMX_DEVICE_PROFILE)
#define CMX_ISO_CONTEXTS_MAX 32
#else
#define CMX_ISO_CONTEXTS_MAX 512 /* equals CMX_PROXY_CONTEXTS_MAX */
#endif
#define CMX_ISO_GATEWAYS_MAX 8
#define CMX_ISO_ADDRESSES_MAX 4  /* maximum number of resolvers, and of time servers */
#define CMX_ISO_TIME_NAMES_MAX 2 /* maximum number of names of time servers */
#define CMX_ISO_CONTROL_MAX 4    /* maximum number of declared loopback UDP ports */
#define CMX_ISO_REQUESTS_MAX 8   /* maximum number of outstanding DNS, DHCP and SNTP requests */
#define CMX_ISO_NEIGHBOURS_MAX 8
#define CMX_ISO_ROUTERS_MAX 2
#define CMX_ISO_FLOWS_MAX 1024

/* Times are in whole seconds: a 32-bit time in milliseconds would wrap, and then make an old request valid again. */
#define CMX_ISO_REQUEST_S 15u  /* a request expires after this long */
#define CMX_ISO_NEIGHBOUR_S 5u /* an ARP request or neighbour solicitation expires after this long */
#define CMX_ISO_CLOSING_S 30u  /* the FIN exchange of a closed socket passes for this long */
#define CMX_ISO_PORT_DNS 53
#define CMX_ISO_PORT_SNTP 123

/* ---- configuration ---- */

/* The local port of one context. */
struct cmx_iso_context {
    bool direct;         /* true: the proxy listens on port; false: a service does, and the proxy connects to it */
    uint16_t port;       /* port of the service or of the listener */
    struct cmx_ip local; /* address of that port; :: means 127.0.0.1 */
    const char *tasks;   /* direct: the tasks that may connect; their connect() first records a claim (CMX_FLOW_CLAIM).
                            NULL: every task. Borrowed for the life of the policy */
};

/* A gateway to which sessions may connect, given by address or by name. If it is given by name, the engine's sessions
 * may connect to any address except loopback, multicast and the broadcast of the device's network, but only to this
 * port. */
struct cmx_iso_gateway {
    struct cmx_ip ip; /* all zeros: the gateway is given by name */
    const char *name; /* borrowed for the policy's life; queries for it pass only while a gateway is resolved */
    uint16_t port;    /* 0 means 22 */
};

struct cmx_iso_config {
    bool dhcp4, dhcp6, ipv6; /* false: the protocol never passes */
    size_t n_gateways, n_resolvers, n_time_servers, n_contexts;

    /* Names that may be looked up at any time, spelled as in the device's DNS queries. Borrowed for the life of the
     * policy. NULL: unused. */
    const char *time_names[CMX_ISO_TIME_NAMES_MAX];
    uint16_t control_ports[CMX_ISO_CONTROL_MAX]; /* loopback UDP ports of servers' wake-up sockets; 0: unused */

    struct cmx_iso_gateway gateways[CMX_ISO_GATEWAYS_MAX];
    struct cmx_ip resolvers[CMX_ISO_ADDRESSES_MAX]; /* if n_resolvers is 0, the interface's resolvers are used */
    struct cmx_ip time_servers[CMX_ISO_ADDRESSES_MAX];
    struct cmx_iso_context contexts[CMX_ISO_CONTEXTS_MAX];
};

/* ---- state ---- */

/* PAIR: a loopback connection from the engine to itself, which belongs to no context. CLAIM: a permitted task's
 * connection to a direct context's listener. */
typedef enum { CMX_FLOW_SESSION, CMX_FLOW_RELAY, CMX_FLOW_LISTEN, CMX_FLOW_PAIR, CMX_FLOW_CLAIM } cmx_flow_kind;
/* PICKUP: the socket was opened before the policy came into force (cmx_isolation_adopt). */
typedef enum { CMX_TCP_OPENING, CMX_TCP_SYN_SENT, CMX_TCP_UP, CMX_TCP_PICKUP } cmx_tcp_state;

/* A socket of the proxy engine, or a permitted task's socket (CMX_FLOW_CLAIM). Invariants: a used flow is in exactly
 * one bucket's list; snd_max is valid in the states SYN_SENT and UP, rcv_* only in the state UP. */
struct cmx_flow {
    struct cmx_end local, peer; /* local.port 0: free */
    struct cmx_flow *next;      /* the next flow in the bucket's list */
    uint8_t kind;               /* a cmx_flow_kind */
    uint8_t state;              /* a cmx_tcp_state */
    uint8_t scale;              /* window scale that we offered in our SYN */
    bool closing;               /* the socket was closed; the flow ends at the time `expires` */
    uint32_t snd_max;           /* highest sequence number that we sent, plus one */
    uint32_t rcv_ack;           /* highest acknowledgement that we sent */
    uint32_t rcv_edge;          /* right edge of the window that we advertised */
    uint32_t expires;
};

#define CMX_ISO_BUCKETS 128 /* number of flow lists; a flow's ports select its list */

/* An outstanding UDP request, with the values that its answer must have. */
struct cmx_request {
    struct cmx_end peer; /* destination of the request */
    uint32_t id;         /* DNS id, DHCP xid, low half of the SNTP transmit timestamp */
    uint32_t expires;
    uint16_t lport;
    uint8_t iface;
    uint8_t kind; /* CMX_REASON_DHCP, CMX_REASON_DHCP6, CMX_REASON_DNS, CMX_REASON_SNTP; CMX_REASON_NONE: unused */
};

typedef enum { CMX_NEIGHBOUR_FREE, CMX_NEIGHBOUR_ASKED, CMX_NEIGHBOUR_ANSWERED } cmx_neighbour_state;

/* A neighbour whose hardware address we requested, or a router. mac: the hardware address from the neighbour's answer,
 * or the one that sent the router's advertisement; valid in the state ANSWERED. */
struct cmx_neighbour {
    struct cmx_ip ip;
    uint32_t expires; /* when our request expires, or the router's lifetime ends */
    uint8_t mac[6];
    uint8_t iface;
    uint8_t state; /* a cmx_neighbour_state */
};

/* The policy and its state. Zeroed, it denies everything. Large arrays come last, so that short RISC-V instructions
 * reach the other fields. */
struct cmx_isolation {
    unsigned resolving;     /* look-ups of gateways' names in progress */
    struct cmx_flow *flows; /* borrowed; NULL: no flow can be opened */
    size_t n_flows;
    struct cmx_neighbour routers[CMX_ISO_ROUTERS_MAX];
    struct cmx_neighbour neighbours[CMX_ISO_NEIGHBOURS_MAX];
    struct cmx_request requests[CMX_ISO_REQUESTS_MAX];
    struct cmx_ip dhcp_server[CMX_IFACES_MAX]; /* the server that the device chose; all zeros: none yet */
    struct cmx_ip dhcp6_server[CMX_IFACES_MAX];
    uint32_t counts[CMX_REASON_COUNT]; /* number of decisions for each reason; wraps */
    struct cmx_iso_config config;
    struct cmx_flow *buckets[CMX_ISO_BUCKETS];
};

typedef enum { CMX_IN, CMX_OUT } cmx_direction;

/* True if a is after b. Sequence numbers wrap; times wrap after 136 years. */
static inline bool cmx_after(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) > 0;
}
