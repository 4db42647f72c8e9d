#include "gateway/registry/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmxsafe/core/text.h"
#include "cmxsafe/port/crypto.h"

static const char derive_label[] = "cmxsafe device address 1";

static bool usable_prefix(const struct gw_fleet *f)
{
    return f->prefix[0] != 0xff && !(f->prefix[0] == 0xfe && (f->prefix[1] & 0xc0) == 0x80) && f->prefix[0] != 0;
}

static bool host_bits_clear(const struct gw_fleet *f)
{
    for (size_t i = f->bits / 8; i < 16; i++)
        if (f->prefix[i])
            return false;
    return true;
}

cmx_err gw_fleet_parse(struct gw_fleet *f, const char *text, struct gw_error *e)
{
    char address[GW_ADDRESS_MAX];
    const char *slash = strchr(text, '/');
    uint64_t bits;

    memset(f, 0, sizeof *f);
    if (!slash || (size_t)(slash - text) >= sizeof address)
        return gw_error_set(e, CMX_EINVAL, "give one such as fd12:3456:789a::/48", "'%s' is not an IPv6 prefix", text);
    memcpy(address, text, (size_t)(slash - text));
    address[slash - text] = '\0';
    if (inet_pton(AF_INET6, address, f->prefix) != 1)
        return gw_error_set(e, CMX_EINVAL, "give one such as fd12:3456:789a::/48", "'%s' is not an IPv6 prefix", text);
    if (cmx_text_u64(slash + 1, 16, 64, &bits) || bits % 8 != 0)
        return gw_error_set(e, CMX_EINVAL, "use a length of 16, 24, ... 64; /48 is usual",
                            "the length of '%s' does not fit", text);
    f->bits = (unsigned)bits;
    if (!usable_prefix(f) || !host_bits_clear(f))
        return gw_error_set(e, CMX_EINVAL, "use a unique local prefix (fd00::/8)",
                            "'%s' has bits beyond its length, or is no unicast prefix", text);
    return CMX_OK;
}

cmx_err gw_fleet_random(struct gw_fleet *f, struct gw_error *e)
{
    memset(f, 0, sizeof *f);
    f->bits = 48;
    f->prefix[0] = 0xfd;
    return cmx_crypto_random(f->prefix + 1, 5) ? gw_error_set(e, CMX_EIO, NULL, "no random bytes") : CMX_OK;
}

/* "aa:bb:cc:dd:ee:ff", also with '-' or without separators. Nobody has the one of zeros alone: in an address it would
 * be the prefix itself. */
static cmx_err parse_mac(uint8_t mac[6], const char *text, struct gw_error *e)
{
    static const uint8_t nobody[6];
    char digits[13];
    size_t n = 0;

    for (const char *p = text; *p && n < 13; p++)
        if (*p != ':' && *p != '-')
            digits[n++] = *p;
    if (n != 12)
        return gw_error_set(e, CMX_EINVAL, NULL, "'%s' is not a MAC address", text);
    digits[12] = '\0';
    return cmx_hex_decode(mac, 6, digits) || memcmp(mac, nobody, 6) == 0
               ? gw_error_set(e, CMX_EINVAL, NULL, "'%s' is not a MAC address", text)
               : CMX_OK;
}

cmx_err gw_fleet_from_mac(struct gw_fleet *f, const char *prefix_hex, const char *mac, struct gw_error *e)
{
    memset(f, 0, sizeof *f);
    f->bits = 64;
    if (cmx_hex_decode(f->prefix, 2, prefix_hex) || !usable_prefix(f))
        return gw_error_set(e, CMX_EINVAL, "give four hex digits such as fd00", "'%s' is no two-byte prefix",
                            prefix_hex);
    return parse_mac(f->prefix + 2, mac, e);
}

void gw_fleet_format(const struct gw_fleet *f, char out[GW_ADDRESS_MAX + 4])
{
    char address[GW_ADDRESS_MAX];

    inet_ntop(AF_INET6, f->prefix, address, sizeof address);
    snprintf(out, GW_ADDRESS_MAX + 4, "%s/%u", address, f->bits);
}

cmx_err gw_address_derive(const struct gw_fleet *f, const struct gw_key *k, char out[GW_ADDRESS_MAX],
                          struct gw_error *e)
{
    struct cmx_sha256 h;
    uint8_t digest[CMX_SHA256_LEN];
    uint8_t address[16];
    size_t n = f->bits / 8;

    if (cmx_sha256_init(&h) || cmx_sha256_update(&h, derive_label, sizeof derive_label - 1) ||
        cmx_sha256_update(&h, k->raw, k->raw_len) || cmx_sha256_finish(&h, digest)) {
        cmx_sha256_abort(&h);
        return gw_error_set(e, CMX_EIO, NULL, "hashing failed");
    }
    memcpy(address, f->prefix, n);
    memcpy(address + n, digest, 16 - n);
    inet_ntop(AF_INET6, address, out, GW_ADDRESS_MAX);
    return CMX_OK;
}

cmx_err gw_address_from_mac(const struct gw_fleet *f, const char *mac, char out[GW_ADDRESS_MAX], struct gw_error *e)
{
    uint8_t address[16];
    cmx_err err;

    if (f->bits != 64)
        return gw_error_set(e, CMX_EINVAL, "set the gateway up with --mac, or leave --mac out here",
                            "addresses from MACs need a fleet of the PREFIX|MAC_GW form");
    memcpy(address, f->prefix, 16);
    err = parse_mac(address + 10, mac, e);
    if (!err)
        inet_ntop(AF_INET6, address, out, GW_ADDRESS_MAX);
    return err;
}

cmx_err gw_address_given(const struct gw_fleet *f, const char *text, char out[GW_ADDRESS_MAX], struct gw_error *e)
{
    uint8_t address[16];

    if (inet_pton(AF_INET6, text, address) != 1)
        return gw_error_set(e, CMX_EINVAL, NULL, "'%s' is not an IPv6 address", text);
    for (size_t i = 0; i < f->bits / 8; i++)
        if (address[i] != f->prefix[i])
            return gw_error_set(e, CMX_EINVAL, "see 'cmxsafe gateway show' for the prefix", "%s is outside the fleet",
                                text);
    for (size_t i = f->bits / 8; i < 16; i++)
        if (address[i]) {
            inet_ntop(AF_INET6, address, out, GW_ADDRESS_MAX);
            return CMX_OK;
        }
    return gw_error_set(e, CMX_EINVAL, NULL, "%s is the prefix itself", text);
}

cmx_err gw_address_hex(const char *address, char out[33])
{
    uint8_t raw[16];

    if (inet_pton(AF_INET6, address, raw) != 1)
        return CMX_EINVAL;
    cmx_hex_encode(out, raw, sizeof raw);
    return CMX_OK;
}
