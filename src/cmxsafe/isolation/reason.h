/* reason.h - the decisions of the isolation module: a verdict and its reason. Zero denies. Pure. */
#pragma once

#include "cmxsafe/core/err.h"

typedef enum { CMX_DENY = 0, CMX_ALLOW = 1 } cmx_verdict;

/* cmx_isolation.counts has one counter for each value, in this order; reason.c has the values' names. */
typedef enum {
    CMX_REASON_NONE = 0, /* as a decision: no rule allows the packet; as the result of a check: no fault found */

    /* Denied because of the packet's bytes: */
    CMX_REASON_TRUNCATED, /* a header is incomplete */
    CMX_REASON_LENGTH,    /* lengths contradict each other */
    CMX_REASON_FRAGMENT,  /* a fragment, even if it is the whole packet (RFC 6946) */
    CMX_REASON_IP_OPTION, /* an IPv4 option, or an IPv6 extension header */
    CMX_REASON_ETHERTYPE, /* neither ARP nor IP */
    CMX_REASON_VLAN,      /* an 802.1Q tag, even a priority tag (VLAN 0) */
    CMX_REASON_PROTOCOL,  /* a transport protocol without a rule */
    CMX_REASON_MARTIAN,   /* an impossible address, e.g. loopback, a multicast source, or our own address as an inbound
                             source */
    /* Inbound: a frame to another hardware address, or an ARP packet or neighbour solicitation about another host;
     * outbound: a frame that is not from our hardware address */
    CMX_REASON_NOT_FOR_US,
    /* Denied because of the policy's state: */
    /* TCP outside any live session or relay; an ICMP error about such TCP; loopback UDP without a declared port */
    CMX_REASON_NO_FLOW,
    CMX_REASON_TCP_STATE, /* a TCP segment that the state or window of its session or relay does not allow */
    /* an answer without a request, or a request for our hardware address from a peer whose hardware address we do not
     * know */
    CMX_REASON_UNASKED,
    CMX_REASON_NOT_PEER,     /* a host that the device does not need, or a task that the direct context does not name */
    CMX_REASON_WRONG_SERVER, /* a server, router or hardware address other than the one in use */
    CMX_REASON_FORM,         /* a permitted protocol in a form that is not permitted */
    CMX_REASON_NAME,     /* a look-up of a name that is not permitted (now or ever), or of a type other than A, AAAA */
    CMX_REASON_ICMP,     /* an ICMP message that no rule allows */
    CMX_REASON_INTERNAL, /* the filter's description of the interface exceeds the policy's bounds */

    /* Allowed */
    CMX_REASON_SESSION, /* TCP of a live session with the gateway */
    CMX_REASON_RELAY,   /* loopback TCP of a relay, or from the engine to itself */
    CMX_REASON_DIRECT,  /* loopback TCP to a direct context's listener */
    CMX_REASON_CONTROL, /* loopback UDP from or to a port that the firmware declared */
    CMX_REASON_ARP,
    CMX_REASON_ND, /* neighbour discovery, router discovery, MLD reports */
    CMX_REASON_ICMP_ERROR,
    CMX_REASON_DHCP,
    CMX_REASON_DHCP6,
    CMX_REASON_DNS,
    CMX_REASON_SNTP,

    CMX_REASON_COUNT
} cmx_reason;

#define CMX_REASON_FIRST_ALLOWED CMX_REASON_SESSION

/* Returns the reason's name, one word such as "no-flow", for logs, JSON and tests; never NULL. */
const char *cmx_reason_name(cmx_reason why);

/* Like cmx_reason_name, for a reason to deny; "unknown" for any other value. */
const char *cmx_reason_denial_name(cmx_reason why);

/* Returns CMX_ALLOW exactly for the values from CMX_REASON_FIRST_ALLOWED on. */
cmx_verdict cmx_reason_verdict(cmx_reason why);
