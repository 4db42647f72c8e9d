#ifdef ESP_PLATFORM

/* Intercepts each connect() and close() of a socket, whichever library calls them: with --wrap the linker resolves
 * lwIP's names to these functions. cmake/esp_component.cmake sets --wrap together with CMX_WRAP_CONNECT; without --wrap
 * the __real functions do not exist. */
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
