#include <mbedtls/private/ecp.h>
