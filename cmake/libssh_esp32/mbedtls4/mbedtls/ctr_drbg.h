#include <mbedtls/private/ctr_drbg.h>
