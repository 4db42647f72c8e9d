#include "cmxsafe/isolation/reason.h"

static const char names[CMX_WHY_COUNT][sizeof "wrong-server"] = {
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
    [CMX_WHY_SESSION] = "session",
    [CMX_WHY_RELAY] = "relay",
    [CMX_WHY_DIRECT] = "direct",
    [CMX_WHY_CONTROL] = "control",
    [CMX_WHY_ARP] = "arp",
    [CMX_WHY_ND] = "nd",
    [CMX_WHY_ICMP_ERROR] = "icmp-error",
    [CMX_WHY_DHCP] = "dhcp",
    [CMX_WHY_DHCP6] = "dhcp6",
    [CMX_WHY_DNS] = "dns",
    [CMX_WHY_SNTP] = "sntp",
};

const char *cmx_why_name(cmx_why why)
{
    return (unsigned)why < CMX_WHY_COUNT ? names[why] : "unknown";
}

cmx_verdict cmx_why_verdict(cmx_why why)
{
    return (unsigned)why >= CMX_WHY_FIRST_ALLOWED && (unsigned)why < CMX_WHY_COUNT ? CMX_ALLOW : CMX_DENY;
}
