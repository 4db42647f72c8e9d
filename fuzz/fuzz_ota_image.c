/* Checks any bytes as an update image (header, segments, signature sector, trailer). The verdict must not depend on how
 * the input is split. Random inputs rarely have a valid checksum and hash, so the corpus contains whole images to reach
 * the later states. */
#include <stdint.h>
#include <stdlib.h>

#include "cmxsafe/ota/image.h"

static cmx_err run(const struct cmx_image_policy *p, const uint8_t *data, size_t size, size_t piece)
{
    struct cmx_image c;
    cmx_err err = cmx_image_init(&c, p);

    if (err)
        abort();
    for (size_t at = 0; at < size && !err; at += piece)
        err = cmx_image_feed(&c, data + at, size - at < piece ? size - at : piece);
    if (!err)
        err = cmx_image_finish(&c);
    if (!err && (c.signed_len > size || c.image_len > c.signed_len))
        abort();
    cmx_image_abort(&c);
    return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cmx_image_policy p = {.chip_id = CMX_IMAGE_CHIP_ANY, .max_len = 1u << 20};
    struct cmx_image_info info;

    if (size < 2)
        return 0;
    p.format = data[0] & 1 ? CMX_IMAGE_OPAQUE : CMX_IMAGE_ESP;
    p.secure_boot = (data[0] & 2) != 0;
    if (run(&p, data + 1, size - 1, size) != run(&p, data + 1, size - 1, 1u + data[0] / 4))
        abort();
    if (size > CMX_IMAGE_HEAD_LEN)
        (void)cmx_image_describe(data + 1, &info);
    return 0;
}
