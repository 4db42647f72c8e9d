#include "cmxsafe/isolation/reason.h"

/* Two tables, because a firmware names only denials: it logs them. */
static const char denials[CMX_WHY_FIRST_ALLOWED][sizeof "wrong-server"] = {
    [CMX_WHY_NONE] = "no-rule",
    [CMX_WHY_TRUNCATED] = "truncated",
    [CMX_WHY_LENGTH] = "length",
    [CMX_WHY_FRAGMENT] = "fragment",
    [CMX_WHY_IP_OPTION] = "ip-option",
    [CMX_WHY_ETHERTYPE] = "ethertype",
    [CMX_WHY_VLAN] = "vlan",
    [CMX_WHY_PROTOCOL] = "protocol",
    [CMX_WHY_MARTIAN] = "martian",
    [CMX_WHY_NOT_FOR_US] = "not-for-us",
    [CMX_WHY_NO_FLOW] = "no-flow",
    [CMX_WHY_TCP_STATE] = "tcp-state",
    [CMX_WHY_UNASKED] = "unasked",
    [CMX_WHY_NOT_PEER] = "not-peer",
    [CMX_WHY_WRONG_SERVER] = "wrong-server",
    [CMX_WHY_FORM] = "form",
    [CMX_WHY_NAME] = "name",
    [CMX_WHY_ICMP] = "icmp",
    [CMX_WHY_INTERNAL] = "internal",
};

static const char permissions[CMX_WHY_COUNT - CMX_WHY_FIRST_ALLOWED][sizeof "icmp-error"] = {
    [CMX_WHY_SESSION - CMX_WHY_FIRST_ALLOWED] = "session",
    [CMX_WHY_RELAY - CMX_WHY_FIRST_ALLOWED] = "relay",
    [CMX_WHY_DIRECT - CMX_WHY_FIRST_ALLOWED] = "direct",
    [CMX_WHY_CONTROL - CMX_WHY_FIRST_ALLOWED] = "control",
    [CMX_WHY_ARP - CMX_WHY_FIRST_ALLOWED] = "arp",
    [CMX_WHY_ND - CMX_WHY_FIRST_ALLOWED] = "nd",
    [CMX_WHY_ICMP_ERROR - CMX_WHY_FIRST_ALLOWED] = "icmp-error",
    [CMX_WHY_DHCP - CMX_WHY_FIRST_ALLOWED] = "dhcp",
    [CMX_WHY_DHCP6 - CMX_WHY_FIRST_ALLOWED] = "dhcp6",
    [CMX_WHY_DNS - CMX_WHY_FIRST_ALLOWED] = "dns",
    [CMX_WHY_SNTP - CMX_WHY_FIRST_ALLOWED] = "sntp",
};

const char *cmx_why_denial_name(cmx_why why)
{
    return (unsigned)why < CMX_WHY_FIRST_ALLOWED ? denials[why] : "unknown";
}

const char *cmx_why_name(cmx_why why)
{
    return cmx_why_verdict(why) == CMX_ALLOW ? permissions[why - CMX_WHY_FIRST_ALLOWED] : cmx_why_denial_name(why);
}

cmx_verdict cmx_why_verdict(cmx_why why)
{
    return (unsigned)why >= CMX_WHY_FIRST_ALLOWED && (unsigned)why < CMX_WHY_COUNT ? CMX_ALLOW : CMX_DENY;
}
