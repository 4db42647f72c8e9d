/* How an ESP32's cryptography reports failures of PSA Crypto. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define ESP_PLATFORM
#include "cmxsafe/identity/identity.h"
#include "cmxsafe/port/esp/crypto_psa.c"

static unsigned hmacs;

static cmx_err count_hmac(void *arg, const void *msg, size_t len, uint8_t out[32])
{
    (void)arg;
    (void)msg;
    (void)len;
    hmacs++;
    memset(out, 1, 32);
    return CMX_OK;
}

/* CMX_EINVAL makes the caller derive another key (identity.c), so only a scalar out of range may cause it. A device
 * whose cryptography fails for a moment would otherwise take another identity. */
static void only_a_bad_scalar_is_invalid(void **state)
{
    static const struct {
        psa_status_t psa;
        cmx_err err;
    } cases[] = {
        {PSA_SUCCESS, CMX_OK},
        {PSA_ERROR_INVALID_ARGUMENT, CMX_EINVAL},
        {PSA_ERROR_INSUFFICIENT_MEMORY, CMX_ENOMEM},
        {PSA_ERROR_INSUFFICIENT_STORAGE, CMX_EIO},
        {PSA_ERROR_HARDWARE_FAILURE, CMX_EIO},
        {PSA_ERROR_BAD_STATE, CMX_EIO},
        {PSA_ERROR_NOT_SUPPORTED, CMX_EIO},
    };
    uint8_t scalar[CMX_P256_SCALAR_LEN] = {1}, pub[CMX_P256_PUBLIC_LEN], sig[CMX_P256_SIG_LEN];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        psa_import_result = cases[i].psa;
        assert_int_equal(cmx_p256_public(scalar, pub), cases[i].err);
        assert_int_equal(cmx_p256_sign(scalar, pub, sig), cases[i].err);
        hmacs = 0;
        if (cases[i].err == CMX_EINVAL)
            continue;
        assert_int_equal(cmx_identity_ssh_key(count_hmac, NULL, scalar, pub), cases[i].err);
        assert_int_equal(hmacs, 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(only_a_bad_scalar_is_invalid)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
