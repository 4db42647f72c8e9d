#include <mbedtls/private/chacha20.h>
