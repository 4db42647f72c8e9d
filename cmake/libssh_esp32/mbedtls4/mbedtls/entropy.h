#include <mbedtls/private/entropy.h>
