#include "port/linux/host_name.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "cmxsafe/core/ip.h"
#include "cmxsafe/proxy/gateways.h"

#define LABEL_MAX 63 /* RFC 1035 section 2.3.4 */
#define DIGITS "0123456789"
#define ALNUM "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" DIGITS

/* Returns why text is not an IPv6 address such as "fe80::1%eth0", with or without brackets, or NULL if it is one. */
static const char *ipv6_fault(const char *text)
{
    static const char no_address[] = "is neither a host name nor an address (give the port separately)";
    const bool bracketed = text[0] == '[';
    const char *address = text + bracketed;
    const size_t len = strcspn(address, "]%");
    const char *rest = address + len;
    char copy[INET6_ADDRSTRLEN];
    struct cmx_ip ip;

    if (len >= sizeof copy)
        return no_address;
    memcpy(copy, address, len);
    copy[len] = 0;
    if (*rest == '%') {
        const size_t zone = strspn(++rest, ALNUM "._-");

        if (!zone)
            return no_address;
        rest += zone;
    }
    if (!cmx_ip_is_text6(copy) || strcmp(rest, bracketed ? "]" : "") != 0)
        return no_address;
    return cmx_ip_parse(&ip, copy) ? NULL : "mixes IPv4 and IPv6; write a plain IPv4 or IPv6 address";
}

/* True for a last label that makes a resolver read the whole name as an IPv4 address (inet_aton: 0x7f000001, 127.1). */
static bool is_number(const char *label)
{
    const bool hex = label[0] == '0' && (label[1] == 'x' || label[1] == 'X');

    label += hex ? 2 : 0;
    return !label[strspn(label, hex ? DIGITS "ABCDEFabcdef." : DIGITS ".")];
}

const char *cmx_host_fault(const char *text)
{
    uint8_t bytes[4];
    const char *label = text;
    size_t len = 0;

    if (strlen(text) > CMX_HOST_NAME_MAX)
        return "is longer than a host name may be";
    if (strpbrk(text, ":[]%"))
        return ipv6_fault(text);
    if (inet_pton(AF_INET, text, bytes) == 1)
        return NULL;
    for (const char *next = text; *next; next += len + (next[len] == '.')) {
        label = next;
        len = strspn(label, ALNUM "_-");
        if (len == 0 || len > LABEL_MAX || (label[len] && label[len] != '.'))
            return "is not a host name or address";
    }
    if (!len)
        return "is empty";
    return is_number(label) ? "is not an IPv4 address" : NULL;
}

cmx_err cmx_host_check_gateways(const char *text, struct cmx_why *why)
{
    struct cmx_gateway_list gateways;
    cmx_err err = cmx_gateway_list_parse(&gateways, text, 1, why);

    for (size_t i = 0; !err && i < gateways.n; i++) {
        const char *host = gateways.at[i].host, *fault = cmx_host_gateway_fault(host);

        if (fault)
            err = cmx_why_fail(why, CMX_EINVAL, "'%.60s' %s", host, fault);
    }
    return err;
}

const char *cmx_host_gateway_fault(const char *text)
{
    struct cmx_ip ip;
    char address[CMX_IP_TEXT_MAX];

    snprintf(address, sizeof address, "%.*s", (int)strcspn(text, "%"), text);
    if (cmx_ip_parse(&ip, address) && !cmx_ip_is_host(&ip))
        return "is not the address of one host";
    return cmx_host_fault(text);
}
