#include "cmxsafe/isolation/reason.h"

#include "cmxsafe/core/text.h"

/* In the order of cmx_why. */
static const char names[] = "no-rule\0truncated\0length\0fragment\0ip-option\0ethertype\0vlan\0protocol\0martian\0"
                            "not-for-us\0no-flow\0tcp-state\0unasked\0not-peer\0wrong-server\0form\0name\0icmp\0"
                            "internal\0session\0relay\0direct\0control\0arp\0nd\0icmp-error\0dhcp\0dhcp6\0dns\0sntp";

const char *cmx_why_name(cmx_why why)
{
    return (unsigned)why < CMX_WHY_COUNT ? cmx_text_nth(names, why) : "unknown";
}

cmx_verdict cmx_why_verdict(cmx_why why)
{
    return (unsigned)why >= CMX_WHY_FIRST_ALLOWED && (unsigned)why < CMX_WHY_COUNT ? CMX_ALLOW : CMX_DENY;
}
