#ifdef ESP_PLATFORM

/* Each connect() and close() of a socket, whichever library calls it: the component's link options lead lwIP's names
 * here (--wrap, cmake/esp_component.cmake, which also says so by CMX_WRAP_CONNECT; a build that does not link with them
 * has no __real functions). */
#ifdef CMX_WRAP_CONNECT

#include "cmxsafe/device/claim.h"

int __real_lwip_connect(int fd, const struct sockaddr *peer, socklen_t len);
int __real_lwip_close(int fd);
int __wrap_lwip_connect(int fd, const struct sockaddr *peer, socklen_t len);
int __wrap_lwip_close(int fd);

int __wrap_lwip_connect(int fd, const struct sockaddr *peer, socklen_t len)
{
    return cmx_claim_connect(fd, peer, len, __real_lwip_connect);
}

int __wrap_lwip_close(int fd)
{
    cmx_claim_close(fd);
    return __real_lwip_close(fd);
}
#endif
#endif
