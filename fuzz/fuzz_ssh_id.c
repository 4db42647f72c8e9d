/* Parses any bytes as a request from libssh to our ssh-agent. The SSH session identifier in the request must fit into
 * its buffer. Also parses the bytes as an eFuse file. The values in this file must be within their ranges. */
#include <stdlib.h>
#include <string.h>

#include "board/idf/efuse.h"
#include "cmxsafe/core/why.h"
#include "cmxsafe/proxy/ssh_id.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t id[CMX_PROXY_SESSION_ID_MAX], key[32];
    struct cmx_efuse f;
    struct cmx_why why = {""};

    if (cmx_ssh_id_parse(data, size, id) > sizeof id)
        abort();
    if (cmx_efuse_parse(&f, data, size) == CMX_OK) {
        (void)!cmx_efuse_key(&f, "efuse.bin", key, &why);
        for (int chip = CMX_EFUSE_ESP32S2; chip <= CMX_EFUSE_ESP32H2; chip++)
            if (cmx_efuse_debug(&f, (cmx_efuse_chip)chip) > CMX_DEBUG_DISABLED_FULLY ||
                cmx_efuse_secure_version(&f, (cmx_efuse_chip)chip) > 16)
                abort();
    }
    return 0;
}
