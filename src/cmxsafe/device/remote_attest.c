#include "remoteAttest.h"

#include "cmxsafe/core/log.h"
#include "cmxsafe/device/attest_service.h"
#include "cmxsafe/device/device.h"
#include "cmxsafe/port/port.h"

void setup_remoteAttest(void *param)
{
    cmx_err err = cmx_port_device_start();
    const int port = CMX_ATTEST_PORT + cmx_device_port_offset();

    (void)param;
    if (!err)
        err = cmx_attest_start(NULL, CMX_ATTEST_PORT);
    if (err)
        cmx_log(CMX_LOG_ERROR, "attest", "cannot serve on port %d: %s", port, cmx_err_text(err));
    else
        cmx_log(CMX_LOG_INFO, "attest", "attestation on port %d", port);
}
