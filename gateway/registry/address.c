#include "gateway/registry/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "cmxsafe/core/label.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/port/crypto.h"

cmx_err gw_fleet_parse(struct gw_fleet *f, const char *text, struct cmx_why *e)
{
    if (cmx_fleet_parse(text, f->prefix, &f->bits) == CMX_OK)
        return CMX_OK;
    return cmx_why_fail(
        e, CMX_EINVAL,
        "'%s' is not a fleet's prefix; give a unicast IPv6 prefix of 16, 24, ... 64 bits with no bit set "
        "beyond its length, such as fd12:3456:789a::/48",
        text);
}

cmx_err gw_fleet_random(struct gw_fleet *f, struct cmx_why *e)
{
    memset(f, 0, sizeof *f);
    f->bits = 48;
    f->prefix[0] = 0xfd;
    return cmx_crypto_random(f->prefix + 1, 5) ? cmx_why_fail(e, CMX_EIO, "the kernel returned no random bytes")
                                               : CMX_OK;
}

/* Parses "aa:bb:cc:dd:ee:ff", also with '-' or without separators. Refuses zeros: the address of a device with this MAC
 * address would be the fleet's prefix itself. */
static cmx_err parse_mac(uint8_t mac[6], const char *text, struct cmx_why *e)
{
    static const uint8_t zero[6];
    char digits[13];
    size_t n = 0;

    for (const char *p = text; *p && n < 13; p++)
        if (*p != ':' && *p != '-')
            digits[n++] = *p;
    if (n != 12)
        return cmx_why_fail(e, CMX_EINVAL, "'%s' is not a MAC address; give one such as 24:6f:28:aa:bb:cc", text);
    digits[12] = '\0';
    return cmx_text_hex_decode(mac, 6, digits) || memcmp(mac, zero, 6) == 0
               ? cmx_why_fail(e, CMX_EINVAL, "'%s' is not a MAC address; give one such as 24:6f:28:aa:bb:cc", text)
               : CMX_OK;
}

cmx_err gw_fleet_from_mac(struct gw_fleet *f, const char *prefix_hex, const char *mac, struct cmx_why *e)
{
    memset(f, 0, sizeof *f);
    f->bits = 64;
    if (cmx_text_hex_decode(f->prefix, 2, prefix_hex) || !cmx_fleet_is_unicast(f->prefix))
        return cmx_why_fail(e, CMX_EINVAL, "'%s' is not a two-byte prefix; give four hex digits such as fd00",
                            prefix_hex);
    return parse_mac(f->prefix + 2, mac, e);
}

void gw_fleet_format(const struct gw_fleet *f, char out[GW_ADDRESS_MAX + 4])
{
    char address[GW_ADDRESS_MAX];

    inet_ntop(AF_INET6, f->prefix, address, sizeof address);
    snprintf(out, GW_ADDRESS_MAX + 4, "%s/%u", address, f->bits);
}

cmx_err gw_address_derive(const struct gw_fleet *f, const struct gw_key *k, char out[GW_ADDRESS_MAX], struct cmx_why *e)
{
    return cmx_fleet_address(f->prefix, f->bits, CMX_DOMAIN_DEVICE_ADDRESS, k->raw, k->raw_len, out)
               ? cmx_why_fail(e, CMX_EIO, "hashing failed")
               : CMX_OK;
}

cmx_err gw_address_from_mac(const struct gw_fleet *f, const char *mac, char out[GW_ADDRESS_MAX], struct cmx_why *e)
{
    uint8_t address[CMX_IPV6_LEN];
    cmx_err err;

    if (f->bits != 64)
        return cmx_why_fail(e, CMX_EINVAL,
                            "addresses from MACs need a fleet of the PREFIX|MAC_GW form; set the gateway up with "
                            "--mac, or leave --mac out here");
    memcpy(address, f->prefix, CMX_IPV6_LEN);
    err = parse_mac(address + 10, mac, e);
    if (!err)
        inet_ntop(AF_INET6, address, out, GW_ADDRESS_MAX);
    return err;
}

cmx_err gw_address_given(const struct gw_fleet *f, const char *text, char out[GW_ADDRESS_MAX], struct cmx_why *e)
{
    uint8_t address[CMX_IPV6_LEN];

    if (inet_pton(AF_INET6, text, address) != 1)
        return cmx_why_fail(e, CMX_EINVAL,
                            "'%s' is not an IPv6 address; give one without brackets, such as fd12:3456:789a::5", text);
    if (memcmp(address, f->prefix, f->bits / 8) != 0)
        return cmx_why_fail(e, CMX_EINVAL, "%s is outside the fleet; see 'cmxsafe gateway show' for the prefix", text);
    if (memcmp(address, f->prefix, sizeof address) == 0)
        return cmx_why_fail(e, CMX_EINVAL, "%s is the fleet's prefix, not an address in it", text);
    inet_ntop(AF_INET6, address, out, GW_ADDRESS_MAX);
    return CMX_OK;
}
