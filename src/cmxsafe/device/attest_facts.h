/* attest_facts.h - collects the facts that evidence states: those about the running image from the update service's
 * slots, those about gateway and session from the proxy, and the others from the platform. */
#pragma once

#include "cmxsafe/attest/evidence.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Facts of the platform. A zeroed struct claims no protection. */
struct cmx_device_platform_facts {
    const char *hw_model; /* "ESP32-S3"; must stay valid */
    bool secure_boot;
    cmx_debug_state debug;
    cmx_flash_encryption flash_encryption;
    uint32_t secure_version; /* from the eFuse; evidence reports the running image's if that is larger */
    uint32_t boot_count;
};

/* Copies *p for the attestation service. Call before setup_remoteAttest. */
void cmx_device_set_platform_facts(const struct cmx_device_platform_facts *p);

#ifdef __cplusplus
}
#endif
