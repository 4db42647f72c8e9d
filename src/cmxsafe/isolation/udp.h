/* udp.h - rules for DHCP, DHCPv6, DNS and SNTP. An answer passes only if it carries the number of an outstanding
 * request that we sent. A DNS or SNTP answer must also come from the request's destination. A DHCP or DHCPv6
 * answer must come from the chosen server, once there is one. DNS and SNTP requests pass only to the device's
 * resolvers and time servers. DNS queries pass only for the names that the device needs. Internal to the module. */
#pragma once

#include "cmxsafe/isolation/rules.h"

cmx_reason cmx_udp_judge(const struct cmx_question *q);
