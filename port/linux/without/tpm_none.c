/* tpm_none.c - for a build without tpm2-tss. */
#include "port/linux/hw_key.h"

cmx_err cmx_tpm_hmac_open(const char *tcti, uint32_t handle, struct cmx_hw_key **out, struct cmx_why *why)
{
    (void)tcti;
    (void)handle;
    (void)out;
    return cmx_why_fail(why, CMX_ENOTSUP, "the key in the TPM cannot be used: this program was built without tpm2-tss");
}
