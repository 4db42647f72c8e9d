/* Parses the first line of any text as the originator that the gateway reports for a connection, and the rest as the
 * list allow_from of a configuration file. Writing a known address as text and reading it must give the same address.
 * No list may allow an unknown originator. A PROXY header of version 1 for the originator must end with CR LF, and one
 * of version 2 must have the length that it states. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "cmxsafe/proxy/originator.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1), address[CMX_IP_TEXT_MAX];
    const char *list;
    struct cmx_originator o, again;

    memcpy(text, data, size);
    text[size] = 0;
    list = memchr(text, '\n', size);
    if (list)
        text[list++ - text] = 0;
    cmx_originator_read(&o, text, (uint32_t)size * 7919);
    if (o.known) {
        cmx_ip_text(&o.ip, address);
        cmx_originator_read(&again, address, 1);
        assert(again.known && cmx_ip_equal(&again.ip, &o.ip));
        assert(cmx_originator_allowed(&o, address));
    }
    if (list)
        assert(!cmx_originator_allowed(&o, list) || o.known);
    for (cmx_proxy_peer version = CMX_PEER_PROXY_V1; version <= CMX_PEER_PROXY_V2; version++) {
        uint8_t bytes[CMX_ORIGINATOR_HEADER_MAX];
        struct cmx_buf out;

        cmx_buf_init(&out, bytes, sizeof bytes);
        assert(cmx_originator_header(&out, version, &o, &o) == CMX_OK);
        assert(version == CMX_PEER_PROXY_V1 ? memcmp(bytes + cmx_buf_len(&out) - 2, "\r\n", 2) == 0
                                            : cmx_buf_len(&out) == 16u + bytes[15]);
    }
    free(text);
    return 0;
}
