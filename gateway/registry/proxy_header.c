#include "gateway/registry/proxy_header.h"

#include <netinet/in.h>
#include <string.h>

#include "cmxsafe/proxy/proxy_v2.h"

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

cmx_err gw_proxy_header_more(const uint8_t *data, size_t len, size_t *more)
{
    size_t whole = CMX_V2_HEAD;

    if (memcmp(data, CMX_V2_SIGNATURE, least(len, CMX_V2_SIGNATURE_LEN)) != 0)
        return CMX_EFORMAT;
    if (len >= CMX_V2_HEAD)
        whole += (size_t)data[CMX_V2_LENGTH] << 8 | data[CMX_V2_LENGTH + 1];
    if (whole > GW_PROXY_HEADER_MAX || len > whole)
        return CMX_EFORMAT;
    *more = whole - len;
    return CMX_OK;
}

static cmx_err read_ipv4(const uint8_t *at, size_t len, struct sockaddr_in *client)
{
    if (len < CMX_V2_TCP4_LEN)
        return CMX_EFORMAT;
    client->sin_family = AF_INET;
    memcpy(&client->sin_addr, at, 4);
    memcpy(&client->sin_port, at + 8, 2);
    return CMX_OK;
}

static cmx_err read_ipv6(const uint8_t *at, size_t len, struct sockaddr_in6 *client)
{
    if (len < CMX_V2_TCP6_LEN)
        return CMX_EFORMAT;
    client->sin6_family = AF_INET6;
    memcpy(&client->sin6_addr, at, 16);
    memcpy(&client->sin6_port, at + 32, 2);
    return CMX_OK;
}

cmx_err gw_proxy_header_read(const uint8_t *data, size_t len, struct sockaddr_storage *client)
{
    const uint8_t *addresses = data + CMX_V2_HEAD;
    size_t more;
    cmx_err err = gw_proxy_header_more(data, len, &more);

    memset(client, 0, sizeof *client);
    if (err || more)
        return CMX_EFORMAT;
    if (data[CMX_V2_COMMAND] == CMX_V2_LOCAL)
        return CMX_OK;
    if (data[CMX_V2_COMMAND] != CMX_V2_PROXY)
        return CMX_EFORMAT;
    if (data[CMX_V2_FAMILY] == CMX_V2_TCP4)
        return read_ipv4(addresses, len - CMX_V2_HEAD, (struct sockaddr_in *)(void *)client);
    if (data[CMX_V2_FAMILY] == CMX_V2_TCP6)
        return read_ipv6(addresses, len - CMX_V2_HEAD, (struct sockaddr_in6 *)(void *)client);
    return CMX_EFORMAT;
}
