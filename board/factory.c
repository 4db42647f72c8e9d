/* factory.c - makes, in memory, the image that a new board boots, in ESP-IDF's format. A virtual board always runs this
 * program's code, not the image's. The image provides the descriptor, and real bytes for image checks and
 * attestation. */
#include <stdio.h>
#include <string.h>

#include "board/board.h"
#include "cmxsafe/ota/bytes.h"
#include "cmxsafe/ota/image.h"
#include "cmxsafe/port/crypto.h"

enum { HEADER_LEN = 24, SEGMENT_HEADER_LEN = 8, DESC_LEN = 256, CHECKSUM_SEED = 0xef };

static void header(uint8_t *p, uint16_t chip_id)
{
    p[0] = 0xe9; /* ESP_IMAGE_HEADER_MAGIC */
    p[1] = 1;    /* number of segments */
    p[2] = 2;    /* SPI mode: DIO */
    p[3] = 0x2f; /* flash frequency 80 MHz, flash size 4 MB */
    cmx_put_le32(p + 4, 0x40380000);
    p[8] = 0xee; /* no WP pin */
    cmx_put_le16(p + 12, chip_id);
    cmx_put_le16(p + 17, 0xffff);
    p[23] = 1; /* a SHA-256 is appended */
}

static void descriptor(uint8_t *p, const char *version)
{
    cmx_put_le32(p, 0xabcd5432); /* ESP_APP_DESC_MAGIC_WORD */
    snprintf((char *)p + 16, 32, "%s", version);
    snprintf((char *)p + 48, 32, "secure_services");
    snprintf((char *)p + 112, 32, "virtual board");
}

cmx_err board_factory_image(uint8_t out[BOARD_FACTORY_LEN], const char *chip, const char *version, size_t *len)
{
    size_t at = HEADER_LEN + SEGMENT_HEADER_LEN;
    uint8_t sum = CHECKSUM_SEED;
    uint16_t chip_id;
    cmx_err err = cmx_image_chip_id(chip, &chip_id);

    if (err)
        return err;
    memset(out, 0, BOARD_FACTORY_LEN);
    header(out, chip_id);
    cmx_put_le32(out + HEADER_LEN, 0x3c000020);
    cmx_put_le32(out + HEADER_LEN + 4, DESC_LEN);
    descriptor(out + at, version);
    for (size_t i = 0; i < DESC_LEN; i++)
        sum ^= out[at + i];
    at += DESC_LEN;
    at += 15 - at % 16;
    out[at++] = sum;
    *len = at + CMX_SHA256_LEN;
    return cmx_sha256_of(out, at, out + at);
}
