/* cpu_linux.c - reports whether the CPU accelerates AES. The preprocessor chooses one of three functions, because they
 * are too short for a file each. */
#include "cmxsafe/port/crypto.h"

#if defined(__x86_64__) || defined(__i386__)
bool cmx_crypto_fast_aes(void)
{
    return __builtin_cpu_supports("aes") != 0;
}
#elif defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
bool cmx_crypto_fast_aes(void)
{
    return (getauxval(AT_HWCAP) & HWCAP_AES) != 0;
}
#else
bool cmx_crypto_fast_aes(void)
{
    return false;
}
#endif
