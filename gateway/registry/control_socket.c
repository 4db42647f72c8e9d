#include "gateway/registry/control_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "cmxsafe/version.h"

bool gw_control_socket_address(const char *folder, struct sockaddr_un *a, int *dir)
{
    char run[4096];

    *a = (struct sockaddr_un){.sun_family = AF_UNIX};
    *dir = -1;
    errno = ENAMETOOLONG;
    if ((size_t)snprintf(run, sizeof run, "%s/run", folder) < sizeof run)
        *dir = open(run, O_PATH | O_DIRECTORY | O_CLOEXEC);
    snprintf(a->sun_path, sizeof a->sun_path, "/proc/self/fd/%d/control", *dir);
    return *dir >= 0;
}

/* SO_SNDTIMEO also limits `connect`, which waits while the gateway's queue of connections is full. */
static bool connect_within(int fd, const struct sockaddr_un *a, int patience_s)
{
    const struct timeval patience = {.tv_sec = patience_s};

    return setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) == 0 &&
           setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0 &&
           connect(fd, (const struct sockaddr *)a, sizeof *a) == 0;
}

int gw_control_socket_connect(const char *folder, int patience_s)
{
    struct sockaddr_un a;
    int dir;
    int error;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | (patience_s ? 0 : SOCK_NONBLOCK), 0);
    bool connected = fd >= 0 && gw_control_socket_address(folder, &a, &dir);

    if (connected) {
        connected = connect_within(fd, &a, patience_s);
        error = errno;
        close(dir);
        errno = error;
    }
    if (connected || fd < 0)
        return fd;
    error = errno;
    close(fd);
    errno = error;
    return -1;
}

uint64_t gw_control_socket_digest(const char *request)
{
    char *version;
    const uint64_t digest = strtoull(request + strlen(request) + 1, &version, 16);

    return strcmp(version, " " CMX_VERSION "\n") == 0 ? digest : 0;
}
