/* udp.h - rules for DHCP, DHCPv6, DNS and SNTP. An answer passes only if it comes from the server of an outstanding
 * request that we sent and carries the request's number. Requests pass only to configured servers, and DNS queries only
 * for the names that the device needs. Internal to the module. */
#pragma once

#include "cmxsafe/isolation/rules.h"

cmx_why cmx_udp_judge(const struct cmx_question *q);
