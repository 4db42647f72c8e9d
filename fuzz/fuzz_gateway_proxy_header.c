/* Reads any bytes as the PROXY header before a login, in the same pieces as the gateway. The parser must never request
 * more bytes than the longest header has, and must refuse an incomplete header. An accepted header has an IPv4 address,
 * an IPv6 address or no address. */
#include <assert.h>
#include <string.h>

#include "gateway/registry/proxy_header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t header[GW_PROXY_HEADER_MAX];
    struct sockaddr_storage client;
    size_t len = 0, more;

    while (gw_proxy_header_more(header, len, &more) == CMX_OK) {
        assert(len + more <= sizeof header);
        if (!more) {
            cmx_err err = gw_proxy_header_read(header, len, &client);

            assert(err || client.ss_family == AF_UNSPEC || client.ss_family == AF_INET || client.ss_family == AF_INET6);
            return 0;
        }
        assert(gw_proxy_header_read(header, len, &client) != CMX_OK);
        if (len == size)
            return 0;
        if (more > size - len)
            more = size - len;
        memcpy(header + len, data + len, more);
        len += more;
    }
    assert(gw_proxy_header_read(header, len, &client) != CMX_OK);
    return 0;
}
