/* image_opaque.c - updates that are not ESP-IDF images: any bytes, optionally followed by a trailer. A separate file,
 * so that the linker leaves it out of firmware, which does not use it. */
#include <string.h>

#include "cmxsafe/ota/image_format.h"

/* The trailer can be recognised only at the end of the file, so the last CMX_TRAILER_LEN bytes are kept out of the
 * hash. */
static cmx_err feed(struct cmx_image *c, const uint8_t *p, uint32_t len)
{
    cmx_err err = CMX_OK;

    c->offset += len;
    while (len > 0 && !err) {
        uint32_t room = (uint32_t)sizeof c->part - c->part_len, n;

        if (room == 0) { /* more bytes follow, so the oldest gathered bytes are not part of the trailer */
            n = len < c->part_len ? len : c->part_len;
            err = cmx_sha256_update(&c->signed_sha, c->part, n);
            memmove(c->part, c->part + n, c->part_len - n);
            c->part_len -= n;
            c->signed_len += n;
            continue;
        }
        n = len < room ? len : room;
        cmx_image_gather(c, p, n);
        p += n;
        len -= n;
    }
    return err ? cmx_image_refuse(c, err, "hashing failed") : CMX_OK;
}

static cmx_err finish(struct cmx_image *c)
{
    cmx_err err;

    err = cmx_trailer_parse(&c->trailer, c->part, c->part_len);
    if (err == CMX_ENOTSUP)
        return cmx_image_refuse(c, err, "unknown signature version");
    c->has_trailer = err == CMX_OK;
    if (!c->has_trailer) {
        c->signed_len += c->part_len;
        if (cmx_sha256_update(&c->signed_sha, c->part, c->part_len) != CMX_OK)
            return cmx_image_refuse(c, CMX_EIO, "hashing failed");
    }
    c->image_len = c->signed_len;
    return CMX_OK;
}

const struct cmx_image_format cmx_image_opaque = {feed, finish};
