/* What an agent of ours reads, and an eFuse file of 512 bytes: both come from outside our own code. */
#include <stdlib.h>
#include <string.h>

#include "cmxsafe/proxy/ssh_id.h"
#include "efuse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t id[CMX_PROXY_SESSION_ID_MAX], key[32];
    struct cmx_efuse f;
    char why[512];

    if (cmx_ssh_id_parse(data, size, id) > sizeof id)
        abort();
    if (cmx_efuse_parse(&f, data, size) == CMX_OK) {
        (void)!cmx_efuse_key(&f, "efuse.bin", key, why, sizeof why);
        for (int chip = CMX_EFUSE_ESP32S2; chip <= CMX_EFUSE_ESP32H2; chip++)
            if (cmx_efuse_debug(&f, (cmx_efuse_chip)chip) > CMX_DEBUG_DISABLED_FULLY ||
                cmx_efuse_secure_version(&f, (cmx_efuse_chip)chip) > 16)
                abort();
    }
    return 0;
}
