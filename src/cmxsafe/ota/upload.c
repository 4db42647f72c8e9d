#include "cmxsafe/ota/upload.h"

#include <string.h>

#include "cmxsafe/core/check.h"
#include "cmxsafe/core/erased.h"
#include "cmxsafe/core/secret.h"
#include "cmxsafe/ota/crc32.h"
#include "cmxsafe/port/port.h"

const char cmx_upload_unconfirmed[] = "the running image is not confirmed yet";

static void check(const struct cmx_upload *u)
{
    CMX_CHECK(u->received == u->written + u->buffered && u->buffered <= sizeof u->buffer);
    (void)u;
}

/* Never inlined, because it has many callers. */
__attribute__((noinline)) static cmx_err fail(struct cmx_upload *u, cmx_err err, const char *why)
{
    u->why = why;
    cmx_image_abort(&u->image);
    return err;
}

cmx_err cmx_upload_begin(struct cmx_upload *u, const struct cmx_slots *slots, const struct cmx_image_policy *policy)
{
    struct cmx_slots_status status;
    cmx_err err;

    memset(u, 0, sizeof *u);
    u->slots = slots;
    u->policy = *policy;
    u->crc = CMX_CRC32_INIT;
    err = slots->status(slots->arg, &status);
    if (err)
        return fail(u, err, "the slots cannot be read");
    if (status.pending)
        return fail(u, CMX_EBUSY, cmx_upload_unconfirmed);
    if (status.target[0] == '\0')
        return fail(u, CMX_ENOTSUP, "there is no slot for an update");
    u->slot_size = status.target_size;
    u->policy.max_len = status.target_size;
    if (u->policy.secure_version_min < status.secure_version)
        u->policy.secure_version_min = status.secure_version;
    err = cmx_image_init(&u->image, &u->policy);
    return err ? fail(u, err, "no memory") : CMX_OK;
}

static cmx_err touch(struct cmx_upload *u)
{
    cmx_err err;

    if (u->begun)
        return CMX_OK;
    CMX_CHECK(cmx_image_head_ok(&u->image));
    err = u->slots->begin(u->slots->arg);
    if (err)
        return fail(u, err, err == CMX_EBUSY ? cmx_upload_unconfirmed : "the slot cannot be opened");
    u->begun = true;
    return CMX_OK;
}

static cmx_err erase_sector(struct cmx_upload *u, uint32_t at)
{
    cmx_err err = u->slots->erase(u->slots->arg, at, CMX_FLASH_SECTOR);

    return err ? fail(u, err, "erasing the slot failed") : CMX_OK;
}

static cmx_err flush(struct cmx_upload *u)
{
    uint32_t skip = 0;
    cmx_err err = touch(u);

    for (; !err && u->erased < u->written + u->buffered; u->erased += CMX_FLASH_SECTOR)
        err = erase_sector(u, u->erased);
    if (err)
        return err;
    if (u->written == 0) {
        skip = u->buffered < CMX_UPLOAD_WITHHELD ? u->buffered : CMX_UPLOAD_WITHHELD;
        memcpy(u->withheld, u->buffer, skip);
    }
    if (u->buffered > skip)
        err = u->slots->write(u->slots->arg, u->written + skip, u->buffer + skip, u->buffered - skip);
    if (err)
        return fail(u, err, "writing to the slot failed");
    u->written += u->buffered;
    u->buffered = 0;
    return CMX_OK;
}

cmx_err cmx_upload_data(struct cmx_upload *u, const void *data, size_t len)
{
    const uint8_t *p = data;

    check(u);
    while (len > 0) {
        size_t room = sizeof u->buffer - u->buffered, n = len < room ? len : room;
        cmx_err err = cmx_image_feed(&u->image, p, n);

        if (err)
            return fail(u, err, u->image.why);
        memcpy(u->buffer + u->buffered, p, n);
        u->crc = cmx_crc32(u->crc, p, n);
        u->buffered += (uint32_t)n;
        u->received += (uint32_t)n;
        p += n;
        len -= n;
        if (u->buffered == sizeof u->buffer) {
            err = flush(u);
            if (err)
                return err;
        }
    }
    return CMX_OK;
}

/* Erases what is left of a longer, older image after the end of the new image. The slot then contains the file's bytes,
 * followed only by 0xff. */
static cmx_err erase_rest(struct cmx_upload *u)
{
    cmx_err err = CMX_OK;

    if (u->policy.format != CMX_IMAGE_ESP)
        return CMX_OK;
    for (uint32_t at = u->erased; at < u->slot_size && !err; at += sizeof u->buffer) {
        if (u->slots->read(u->slots->arg, at, u->buffer, sizeof u->buffer) != CMX_OK)
            return fail(u, CMX_EIO, "reading the slot failed");
        if (!cmx_erased_check(u->buffer, sizeof u->buffer)) {
            err = erase_sector(u, at & ~(CMX_FLASH_SECTOR - 1u));
            /* Continue in the next sector, because with flash encryption an erased sector does not read as 0xff. */
            at |= CMX_FLASH_SECTOR - (uint32_t)sizeof u->buffer;
        }
    }
    return err;
}

/* Reads a piece of the stored image. Takes the withheld bytes from memory, because they are not stored yet. */
static cmx_err read_piece(struct cmx_upload *u, uint32_t at, uint32_t n)
{
    cmx_err err = CMX_OK;

    if (at + n > CMX_UPLOAD_WITHHELD)
        err = u->slots->read(u->slots->arg, at, u->buffer, n);
    if (at == 0)
        memcpy(u->buffer, u->withheld, sizeof u->withheld);
    return err;
}

/* Checks the image again, this time as it is read back from storage. */
static cmx_err verify_stored(struct cmx_upload *u)
{
    uint8_t digest[CMX_SHA256_LEN];
    cmx_err err;

    memcpy(digest, u->image.digest, sizeof digest);
    err = cmx_image_init(&u->image, &u->policy);
    for (uint32_t at = 0; at < u->received && !err;) {
        uint32_t left = u->received - at, n = left < sizeof u->buffer ? left : (uint32_t)sizeof u->buffer;

        err = read_piece(u, at, n);
        if (!err)
            err = cmx_image_feed(&u->image, u->buffer, n);
        at += n;
        cmx_port_watchdog_feed(0);
    }
    if (!err)
        err = cmx_image_finish(&u->image);
    if (err || !cmx_secret_equal(digest, u->image.digest, sizeof digest))
        return fail(u, CMX_EIO, "the slot does not hold the written bytes");
    return CMX_OK;
}

/* Writes the withheld bytes, after which the slot can boot. */
static cmx_err release(struct cmx_upload *u)
{
    uint32_t n = u->received < CMX_UPLOAD_WITHHELD ? u->received : CMX_UPLOAD_WITHHELD;
    cmx_err err = u->slots->write(u->slots->arg, 0, u->withheld, n);

    if (!err)
        err = u->slots->read(u->slots->arg, 0, u->buffer, n);
    if (!err && memcmp(u->buffer, u->withheld, n) != 0)
        err = CMX_EIO;
    return err ? fail(u, err, "writing to the slot failed") : CMX_OK;
}

cmx_err cmx_upload_verify(struct cmx_upload *u)
{
    cmx_err err;

    check(u);
    err = cmx_image_finish(&u->image);
    if (err)
        return fail(u, err, u->image.why);
    err = flush(u);
    if (!err)
        err = erase_rest(u);
    return err ? err : verify_stored(u);
}

cmx_err cmx_upload_activate(struct cmx_upload *u)
{
    cmx_err err = release(u);

    if (err)
        return err;
    err = u->slots->activate(u->slots->arg, &u->image, &u->refusal);
    return err ? fail(u, err, u->refusal.text) : CMX_OK;
}

void cmx_upload_abort(struct cmx_upload *u)
{
    cmx_image_abort(&u->image);
}
