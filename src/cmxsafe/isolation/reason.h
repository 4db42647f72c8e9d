/* reason.h - the answers of the isolation module: a verdict, and why. Zero denies. Pure. */
#ifndef CMX_ISOLATION_REASON_H
#define CMX_ISOLATION_REASON_H

#include "cmxsafe/core/err.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum { CMX_DENY = 0, CMX_ALLOW = 1 } cmx_verdict;

/* The order is that of the counters in the status; names in reason.c. */
typedef enum {
    CMX_WHY_NONE = 0, /* no rule allows it */

    /* Denied: the bytes */
    CMX_WHY_TRUNCATED,  /* ends before a header does */
    CMX_WHY_LENGTH,     /* lengths contradict each other */
    CMX_WHY_FRAGMENT,   /* a fragment, an atomic one too */
    CMX_WHY_IP_OPTION,  /* an IPv4 option, or an IPv6 extension header */
    CMX_WHY_ETHERTYPE,  /* neither ARP nor IP */
    CMX_WHY_VLAN,       /* a tag that the interface does not have */
    CMX_WHY_PROTOCOL,   /* a transport that nothing here uses */
    CMX_WHY_MARTIAN,    /* an address that can't be there: loopback or own address from outside, multicast source */
    CMX_WHY_NOT_FOR_US, /* to another's hardware address, or from one */
    /* Denied: the state */
    CMX_WHY_NO_FLOW,      /* TCP that belongs to no live session or relay */
    CMX_WHY_TCP_STATE,    /* a live session's, but not in this state or outside its window */
    CMX_WHY_UNASKED,      /* an answer to nothing that was asked */
    CMX_WHY_NOT_PEER,     /* a party that the device does not need */
    CMX_WHY_WRONG_SERVER, /* not the server or router that answered first */
    CMX_WHY_FORM,         /* a permitted protocol in a form that is not */
    CMX_WHY_NAME,         /* a look-up of a name that is not the gateway's, or not now */
    CMX_WHY_ICMP,         /* an ICMP message that no rule allows */
    CMX_WHY_INTERNAL,     /* the attachment could not even ask: no room for the interface, no storage */

    /* Allowed */
    CMX_WHY_SESSION, /* TCP of a live session with the gateway */
    CMX_WHY_RELAY,   /* loopback TCP of a proxy */
    CMX_WHY_DIRECT,  /* loopback TCP to a direct context's listener */
    CMX_WHY_CONTROL, /* loopback UDP to a port that the firmware declared */
    CMX_WHY_ARP,
    CMX_WHY_ND, /* neighbour discovery, router discovery, MLD reports */
    CMX_WHY_ICMP_ERROR,
    CMX_WHY_DHCP,
    CMX_WHY_DHCP6,
    CMX_WHY_DNS,
    CMX_WHY_SNTP,

    CMX_WHY_COUNT
} cmx_why;

#define CMX_WHY_FIRST_ALLOWED CMX_WHY_SESSION

/* One word such as "no-flow", for logs, JSON and tests; never NULL. */
const char *cmx_why_name(cmx_why why);

/* CMX_ALLOW exactly for the values from CMX_WHY_FIRST_ALLOWED on. */
cmx_verdict cmx_why_verdict(cmx_why why);

#ifdef __cplusplus
}
#endif
#endif
