#include "remoteAttest.h"

#include "cmxsafe/core/log.h"
#include "cmxsafe/device/attest_service.h"

void setup_remoteAttest(void *param)
{
    cmx_err err = cmx_attest_start(NULL, CMX_ATTEST_PORT);

    (void)param;
    if (err)
        cmx_module_log(CMX_LOG_ERROR | CMX_LOG_ATTEST, "cannot serve on port %u: %s", (unsigned)CMX_ATTEST_PORT,
                       cmx_err_text(err));
    else
        cmx_module_log(CMX_LOG_INFO | CMX_LOG_ATTEST, "attestation on port %d", CMX_ATTEST_PORT);
}
