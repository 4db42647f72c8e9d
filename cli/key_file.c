#include "key_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmxsafe/core/secret.h"
#include "cmxsafe/port/crypto.h"

cmx_err key_file_read(const char *path, uint8_t key[32], char *why, size_t why_cap)
{
    uint8_t mem[33];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, mem, sizeof mem);
    int number = errno;

    if (fd >= 0)
        close(fd);
    if (n == 32)
        memcpy(key, mem, 32);
    cmx_secret_wipe(mem, sizeof mem);
    if (n == 32)
        return CMX_OK;
    snprintf(why, why_cap, "%s", n < 0 ? strerror(number) : "is not 32 bytes long");
    return n >= 0 ? CMX_EFORMAT : number == ENOENT ? CMX_ENOENT : number == EACCES ? CMX_EPERM : CMX_EIO;
}

cmx_err key_file_hmac(void *arg, const void *msg, size_t len, uint8_t out[32])
{
    struct cmx_hmac mac;
    cmx_err err = cmx_hmac_init(&mac, arg, 32);

    if (err)
        return err;
    err = cmx_hmac_update(&mac, msg, len);
    if (!err)
        return cmx_hmac_finish(&mac, out);
    cmx_hmac_abort(&mac);
    return err;
}
