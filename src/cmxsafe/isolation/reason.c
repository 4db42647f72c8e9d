#include "cmxsafe/isolation/reason.h"

/* Two tables: a firmware logs only denials, so it needs only the first table. */
static const char denials[CMX_REASON_FIRST_ALLOWED][sizeof "wrong-server"] = {
    [CMX_REASON_NONE] = "no-rule",
    [CMX_REASON_TRUNCATED] = "truncated",
    [CMX_REASON_LENGTH] = "length",
    [CMX_REASON_FRAGMENT] = "fragment",
    [CMX_REASON_IP_OPTION] = "ip-option",
    [CMX_REASON_ETHERTYPE] = "ethertype",
    [CMX_REASON_VLAN] = "vlan",
    [CMX_REASON_PROTOCOL] = "protocol",
    [CMX_REASON_MARTIAN] = "martian",
    [CMX_REASON_NOT_FOR_US] = "not-for-us",
    [CMX_REASON_NO_FLOW] = "no-flow",
    [CMX_REASON_TCP_STATE] = "tcp-state",
    [CMX_REASON_UNASKED] = "unasked",
    [CMX_REASON_NOT_PEER] = "not-peer",
    [CMX_REASON_WRONG_SERVER] = "wrong-server",
    [CMX_REASON_FORM] = "form",
    [CMX_REASON_NAME] = "name",
    [CMX_REASON_ICMP] = "icmp",
    [CMX_REASON_INTERNAL] = "internal",
};

static const char permissions[CMX_REASON_COUNT - CMX_REASON_FIRST_ALLOWED][sizeof "icmp-error"] = {
    [CMX_REASON_SESSION - CMX_REASON_FIRST_ALLOWED] = "session",
    [CMX_REASON_RELAY - CMX_REASON_FIRST_ALLOWED] = "relay",
    [CMX_REASON_DIRECT - CMX_REASON_FIRST_ALLOWED] = "direct",
    [CMX_REASON_CONTROL - CMX_REASON_FIRST_ALLOWED] = "control",
    [CMX_REASON_ARP - CMX_REASON_FIRST_ALLOWED] = "arp",
    [CMX_REASON_ND - CMX_REASON_FIRST_ALLOWED] = "nd",
    [CMX_REASON_ICMP_ERROR - CMX_REASON_FIRST_ALLOWED] = "icmp-error",
    [CMX_REASON_DHCP - CMX_REASON_FIRST_ALLOWED] = "dhcp",
    [CMX_REASON_DHCP6 - CMX_REASON_FIRST_ALLOWED] = "dhcp6",
    [CMX_REASON_DNS - CMX_REASON_FIRST_ALLOWED] = "dns",
    [CMX_REASON_SNTP - CMX_REASON_FIRST_ALLOWED] = "sntp",
};

const char *cmx_reason_denial_name(cmx_reason why)
{
    return (unsigned)why < CMX_REASON_FIRST_ALLOWED ? denials[why] : "unknown";
}

const char *cmx_reason_name(cmx_reason why)
{
    return cmx_reason_verdict(why) == CMX_ALLOW ? permissions[why - CMX_REASON_FIRST_ALLOWED]
                                                : cmx_reason_denial_name(why);
}

cmx_verdict cmx_reason_verdict(cmx_reason why)
{
    return (unsigned)why >= CMX_REASON_FIRST_ALLOWED && (unsigned)why < CMX_REASON_COUNT ? CMX_ALLOW : CMX_DENY;
}
