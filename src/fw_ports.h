/* fw_ports.h - the security contexts of cmxsafe's own services. Define the application's contexts (such as streamPort)
 * in the sketch, or in your own fw_ports.h beside it. Your own fw_ports.h replaces this file, so it must also define
 * those contexts below that you use. */
#pragma once

#include "cmxsafe/device/device_settings.h"

/* A context is a weak symbol, so that several source files of a sketch may include this header. */
#define CMX_CONTEXT __attribute__((weak)) TaskParameters

CMX_C_BEGIN

/* Firmware update (ota.h). */
CMX_CONTEXT otaPort = {
    .local_port = 8989,
    .forward_remote_port = 8989,
    .high_bw = false,
};

/* Remote attestation (remoteAttest.h). */
CMX_CONTEXT attestationPort = {
    .local_port = 8888,
    .forward_remote_port = 8888,
    .high_bw = false,
};

CMX_C_END
