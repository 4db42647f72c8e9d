/* host_name.h - checks the grammar of host names and addresses, so that a program refuses at once what no resolver
 * accepts. Pure: resolves nothing. */
#pragma once

#include "cmxsafe/core/why.h"

#define CMX_HOST_NAME_MAX 255 /* RFC 1035 section 2.3.4 */

/* Returns what is wrong with text, for a message ("'TEXT' is not ..."), or NULL if it is a host name (RFC 1123 section
 * 2.1, and '_', which local networks use) or an IPv4 or IPv6 address. An IPv6 address may have a zone (RFC 4007 section
 * 11) and brackets. "::ffff:10.0.0.1" and "64:ff9b::10.0.0.1" are faults: cmx_ip_parse (core/ip.h) refuses them. */
const char *cmx_host_fault(const char *text);

/* Like cmx_host_fault, but an address that cannot belong to one host (0.0.0.0, ::, multicast) is a fault too. text
 * must not have brackets. */
const char *cmx_host_gateway_fault(const char *text);

/* Checks a list of gateways (proxy/gateways.h) and each host in it. CMX_EINVAL: why says what is wrong. */
CMX_MUST_USE cmx_err cmx_host_check_gateways(const char *text, struct cmx_why *why);
