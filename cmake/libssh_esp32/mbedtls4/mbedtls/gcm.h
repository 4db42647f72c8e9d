#include <mbedtls/private/gcm.h>
