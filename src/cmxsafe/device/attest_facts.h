/* attest_facts.h - collects the facts that evidence states. The update service's slots describe the running image. The
 * proxy describes gateway and session. The platform provides the other facts. */
#pragma once

#include "cmxsafe/attest/evidence.h"

CMX_C_BEGIN

/* Facts that the platform provides. A zeroed struct claims no protection. */
struct cmx_device_platform_facts {
    const char *hw_model; /* "ESP32-S3"; must stay valid */
    bool secure_boot;
    cmx_debug_state debug;
    cmx_flash_encryption flash_encryption;
    /* The secure version in the eFuse. Evidence reports the running image's secure version instead if it is higher. */
    uint32_t secure_version;
    uint32_t boot_count;
};

/* Copies *p for the attestation service. Call before setup_remoteAttest. */
void cmx_device_set_platform_facts(const struct cmx_device_platform_facts *p);

CMX_C_END
