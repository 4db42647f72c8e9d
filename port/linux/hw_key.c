#include "port/linux/hw_key.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/secret.h"
#include "cmxsafe/port/crypto.h"
#include "port/linux/file_read.h"

struct cmx_hw_key {
    cmx_key_kind kind;
    const struct cmx_hw_key_ops *ops;
    void *state;
    struct cmx_mutex lock;
};

cmx_err cmx_hw_key_create(cmx_key_kind kind, const struct cmx_hw_key_ops *ops, void *state, struct cmx_hw_key **out)
{
    struct cmx_hw_key *k = cmx_mem_alloc(sizeof *k);

    if (!k) {
        ops->close(state);
        return CMX_ENOMEM;
    }
    cmx_port_mutex_init(&k->lock);
    k->kind = kind;
    k->ops = ops;
    k->state = state;
    *out = k;
    return CMX_OK;
}

cmx_key_kind cmx_hw_key_kind(const struct cmx_hw_key *k)
{
    return k ? k->kind : CMX_KEY_NONE;
}

cmx_err cmx_hw_key_hmac(struct cmx_hw_key *k, const void *msg, size_t len, uint8_t out[CMX_SHA256_LEN])
{
    cmx_err err;

    if (!k)
        return CMX_ENOKEY;
    cmx_port_mutex_lock(&k->lock);
    err = k->ops->hmac(k->state, msg, len, out);
    cmx_port_mutex_unlock(&k->lock);
    return err;
}

void cmx_hw_key_close(struct cmx_hw_key *k)
{
    if (!k)
        return;
    k->ops->close(k->state);
    cmx_port_mutex_destroy(&k->lock);
    cmx_mem_free(k);
}

/* ---- a key in memory: the HMAC state is keyed once and restarted for each message ---- */

static cmx_err raw_hmac(void *state, const void *msg, size_t len, uint8_t out[CMX_SHA256_LEN])
{
    struct cmx_hmac *mac = state;
    cmx_err err = cmx_hmac_update(mac, msg, len);

    return err ? err : cmx_hmac_restart(mac, out);
}

static void raw_close(void *state)
{
    cmx_hmac_abort(state);
    cmx_mem_free_secret(state);
}

cmx_err cmx_hw_key_create_raw(cmx_key_kind kind, const uint8_t key[CMX_HMAC_KEY_LEN], struct cmx_hw_key **out)
{
    static const struct cmx_hw_key_ops ops = {raw_hmac, raw_close};
    struct cmx_hmac *mac = cmx_mem_alloc(sizeof *mac);
    cmx_err err;

    if (!mac)
        return CMX_ENOMEM;
    err = cmx_hmac_init(mac, key, CMX_HMAC_KEY_LEN);
    if (err) {
        cmx_mem_free(mac);
        return err;
    }
    return cmx_hw_key_create(kind, &ops, mac, out);
}

/* ---- files ---- */

static cmx_err system_error(const char *path, struct cmx_why *why, int number)
{
    cmx_why_set(why, "%s: %s", path, strerror(number));
    return number == ENOENT ? CMX_ENOENT : number == EACCES || number == EPERM || number == ELOOP ? CMX_EPERM : CMX_EIO;
}

static cmx_err refuse(struct cmx_why *why, const char *path, const char *what)
{
    return cmx_why_fail(why, CMX_ENOKEY, "%s: %s", path, what);
}

cmx_err cmx_hw_key_read_file(const char *path, bool closed, uint8_t key[CMX_HMAC_KEY_LEN], struct cmx_why *why)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    uint8_t more[33];
    struct stat st;
    ssize_t n;

    if (fd < 0)
        return system_error(path, why, errno);
    n = fstat(fd, &st) != 0 ? -1 : S_ISREG(st.st_mode) ? read(fd, more, sizeof more) : 0;
    if (n < 0) {
        cmx_err err = system_error(path, why, errno);

        close(fd);
        return err;
    }
    close(fd);
    if (n == 32)
        memcpy(key, more, CMX_HMAC_KEY_LEN);
    cmx_secret_wipe(more, sizeof more);
    if (n != 32)
        return refuse(why, path, "is not a file of 32 bytes; make one with: openssl rand -out FILE 32");
    if (closed && ((st.st_uid != geteuid() && st.st_uid != 0) || !cmx_file_is_private(&st, path)))
        return refuse(why, path, "others can read or change it; chown it to root and chmod 600");
    return CMX_OK;
}

cmx_err cmx_hw_key_open_file(const char *path, struct cmx_hw_key **out, struct cmx_why *why)
{
    uint8_t key[CMX_HMAC_KEY_LEN];
    cmx_err err = cmx_hw_key_read_file(path, true, key, why);

    if (!err)
        err = cmx_hw_key_create_raw(CMX_KEY_SOFTWARE, key, out);
    cmx_secret_wipe(key, sizeof key);
    return err;
}
