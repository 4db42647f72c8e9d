/* The tests of test_ip.c with lwIP's inet_ntop and inet_pton, as on an ESP32. */
#define inet_ntop lwip_inet_ntop
#define inet_pton lwip_inet_pton

#include "cmxsafe/core/ip.c"
#include "tests/unit/core/test_ip.c"
