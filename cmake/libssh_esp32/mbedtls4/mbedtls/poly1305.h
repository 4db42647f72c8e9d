#include <mbedtls/private/poly1305.h>
