#include "cmxsafe/isolation/reason.h"

/* In the order of cmx_why, one after the other: a table of pointers would be as large again. */
static const char names[] = "no-rule\0truncated\0length\0fragment\0ip-option\0ethertype\0vlan\0protocol\0martian\0"
                            "not-for-us\0no-flow\0tcp-state\0unasked\0not-peer\0wrong-server\0form\0name\0icmp\0"
                            "internal\0session\0relay\0direct\0control\0arp\0nd\0icmp-error\0dhcp\0dhcp6\0dns\0sntp";

const char *cmx_why_name(cmx_why why)
{
    const char *name = names;

    if ((unsigned)why >= CMX_WHY_COUNT)
        return "unknown";
    for (unsigned n = why; n; n--)
        while (*name++)
            continue;
    return name;
}

cmx_verdict cmx_why_verdict(cmx_why why)
{
    return (unsigned)why >= CMX_WHY_FIRST_ALLOWED && (unsigned)why < CMX_WHY_COUNT ? CMX_ALLOW : CMX_DENY;
}
