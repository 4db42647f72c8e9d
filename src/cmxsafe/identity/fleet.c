#include "cmxsafe/identity/fleet.h"

#include <string.h>

#include "cmxsafe/port/crypto.h"

bool cmx_fleet_is_unicast(const uint8_t prefix[CMX_IPV6_LEN])
{
    return prefix[0] != 0xff && !(prefix[0] == 0xfe && (prefix[1] & 0xc0) == 0x80) && prefix[0] != 0;
}

cmx_err cmx_fleet_parse(const char *text, uint8_t prefix[CMX_IPV6_LEN], unsigned *bits)
{
    struct cmx_ip ip;
    uint32_t n;

    if (!cmx_ip_parse_prefix(&ip, &n, text, strlen(text)) || n < 16 || n > 64 || n % 8)
        return CMX_EINVAL;
    memcpy(prefix, ip.w, CMX_IPV6_LEN);
    for (size_t i = n / 8; i < 16; i++)
        if (prefix[i])
            return CMX_EINVAL;
    *bits = n;
    return cmx_fleet_is_unicast(prefix) ? CMX_OK : CMX_EINVAL;
}

cmx_err cmx_fleet_address(const uint8_t prefix[CMX_IPV6_LEN], unsigned bits, const char *label, const void *data,
                          size_t len, char out[CMX_FLEET_ADDRESS_MAX])
{
    uint8_t digest[CMX_SHA256_LEN];
    struct cmx_ip ip;
    const size_t n = bits / 8;

    if (cmx_sha256_of_two(label, strlen(label), data, len, digest))
        return CMX_EIO;
    memcpy(ip.w, prefix, n);
    memcpy((uint8_t *)ip.w + n, digest, 16 - n);
    cmx_ip_text(&ip, out);
    return CMX_OK;
}

cmx_err cmx_fleet_device_address(const char *prefix, const void *blob, size_t len, char out[CMX_FLEET_ADDRESS_MAX])
{
    uint8_t bytes[CMX_IPV6_LEN];
    unsigned bits;
    cmx_err err = cmx_fleet_parse(prefix, bytes, &bits);

    return err ? err : cmx_fleet_address(bytes, bits, CMX_DOMAIN_DEVICE_ADDRESS, blob, len, out);
}
