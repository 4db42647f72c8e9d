#include "cmxsafe/ota/image.h"

#include <string.h>
#include <strings.h>

#include "cmxsafe/core/check.h"
#include "cmxsafe/core/secret.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/ota/bytes.h"
#include "cmxsafe/ota/crc32.h"
#include "cmxsafe/ota/image_format.h"

enum {
    MAGIC = 0xe9,           /* ESP_IMAGE_HEADER_MAGIC */
    CHECKSUM_SEED = 0xef,   /* ESP_ROM_CHECKSUM_INITIAL */
    HEADER_LEN = 24,        /* esp_image_header_t */
    SEGMENT_HEADER_LEN = 8, /* esp_image_segment_header_t */
    DESC_OFFSET = HEADER_LEN + SEGMENT_HEADER_LEN,
    DESC_LEN = 256, /* esp_app_desc_t */
    SIGNATURE_BLOCK_CRC_AT = 1196,
    SIGNATURE_BLOCK_MAGIC = 0xe7
};
#define CHIP_NAME_MAX 10       /* NUL included */
#define DESC_MAGIC 0xabcd5432u /* ESP_APP_DESC_MAGIC_WORD */

enum { HEADER, SEGMENT, DATA, PADDING, HASH, TAIL, TAIL_PAD, SECTOR, AFTER_SECTOR, TRAILER, COMPLETE };

/* Never inlined, because it has many callers. */
__attribute__((noinline)) cmx_err cmx_image_refuse(struct cmx_image *c, cmx_err err, const char *why)
{
    cmx_image_abort(c);
    c->state = CMX_IMAGE_REFUSED;
    c->why = why;
    return err;
}

static void go(struct cmx_image *c, int state, uint32_t need)
{
    c->state = state;
    c->need = need;
    c->part_len = 0;
}

cmx_err cmx_image_init(struct cmx_image *c, const struct cmx_image_policy *policy)
{
    cmx_err err;

    memset(c, 0, sizeof *c);
    c->policy = policy;
    c->why = "";
    c->state = CMX_IMAGE_REFUSED;
    err = cmx_sha256_init(&c->signed_sha);
    if (err)
        return err;
    c->hashing = true;
    if (policy->format) {
        go(c, COMPLETE, UINT32_MAX);
        return CMX_OK;
    }
    err = cmx_sha256_init(&c->sha);
    if (err) {
        cmx_image_abort(c);
        return err;
    }
    c->hashing_image = true;
    c->checksum = CHECKSUM_SEED;
    go(c, HEADER, HEADER_LEN);
    return CMX_OK;
}

void cmx_image_abort(struct cmx_image *c)
{
    if (c->hashing)
        cmx_sha256_abort(&c->signed_sha);
    if (c->hashing_image)
        cmx_sha256_abort(&c->sha);
    c->hashing = false;
    c->hashing_image = false;
}

/* ---- the head ---- */

static void text(char *out, const uint8_t *in, size_t len)
{
    cmx_text_clean_ascii(out, len + 1, in, strnlen((const char *)in, len));
}

cmx_err cmx_image_describe(const uint8_t head[CMX_IMAGE_HEAD_LEN], struct cmx_image_info *out)
{
    const uint8_t *d = head + DESC_OFFSET;

    if (head[0] != MAGIC || cmx_le32(d) != DESC_MAGIC || cmx_le32(head + HEADER_LEN + 4) < DESC_LEN)
        return CMX_EFORMAT;
    memset(out, 0, sizeof *out);
    out->segments = head[1];
    out->chip_id = cmx_le16(head + 12);
    out->secure_version = cmx_le32(d + 4);
    text(out->version, d + 16, 32);
    text(out->project, d + 48, 32);
    return CMX_OK;
}

void cmx_image_built(const uint8_t head[CMX_IMAGE_HEAD_LEN], struct cmx_image_build *out)
{
    const uint8_t *d = head + DESC_OFFSET;

    text(out->time, d + 80, 16);
    text(out->date, d + 96, 16);
    text(out->idf, d + 112, 32);
}

static const struct {
    uint8_t id;
    char name[CHIP_NAME_MAX];
} chips[] = {{0x00, "ESP32"},    {0x02, "ESP32-S2"},  {0x05, "ESP32-C3"},  {0x09, "ESP32-S3"},
             {0x0c, "ESP32-C2"}, {0x0d, "ESP32-C6"},  {0x10, "ESP32-H2"},  {0x12, "ESP32-P4"},
             {0x17, "ESP32-C5"}, {0x14, "ESP32-C61"}, {0x19, "ESP32-H21"}, {0x1c, "ESP32-H4"}};

const char *cmx_image_chip_name(uint16_t chip_id)
{
    for (size_t i = 0; i < sizeof chips / sizeof chips[0]; i++)
        if (chips[i].id == chip_id)
            return chips[i].name;
    return "unknown chip";
}

/* Compares names without regard to case and hyphens. */
static bool same_name(const char *a, const char *b)
{
    while (*a || *b) {
        if (*a == '-')
            a++;
        else if (*b == '-')
            b++;
        else if (strncasecmp(a++, b++, 1) != 0)
            return false;
    }
    return true;
}

cmx_err cmx_image_chip_id(const char *name, uint16_t *id)
{
    for (size_t i = 0; i < sizeof chips / sizeof chips[0]; i++)
        if (same_name(name, chips[i].name)) {
            *id = chips[i].id;
            return CMX_OK;
        }
    return CMX_ENOENT;
}

bool cmx_image_head_ok(const struct cmx_image *c)
{
    if (c->state == CMX_IMAGE_REFUSED)
        return false;
    return c->policy->format || c->offset >= CMX_IMAGE_HEAD_LEN;
}

/* ---- the pieces of an image ---- */

static cmx_err header(struct cmx_image *c)
{
    const uint8_t *h = c->part;
    uint8_t speed = h[3] & 0x0f, size = h[3] >> 4;
    uint16_t chip = cmx_le16(h + 12);

    if (h[0] != MAGIC)
        return cmx_image_refuse(c, CMX_EFORMAT, "not an ESP-IDF application image");
    if (h[1] == 0 || h[1] > CMX_IMAGE_SEGMENTS_MAX || h[2] > 5 || (speed > 2 && speed != 0x0f) || size > 7)
        return cmx_image_refuse(c, CMX_EFORMAT, "bad segment count or flash parameters");
    if (c->policy->chip_id != CMX_IMAGE_CHIP_ANY && chip != c->policy->chip_id)
        return cmx_image_refuse(c, CMX_EPERM, "for another chip");
    if (h[23] != 1)
        return cmx_image_refuse(c, CMX_EFORMAT, "no appended SHA-256");
    c->segments_left = h[1];
    go(c, SEGMENT, SEGMENT_HEADER_LEN);
    return CMX_OK;
}

/* The last segment is followed by zeros and by a checksum byte, which is the last byte of a block of 16. */
static void next_segment(struct cmx_image *c)
{
    if (c->segments_left > 0)
        go(c, SEGMENT, SEGMENT_HEADER_LEN);
    else
        go(c, PADDING, 16 - c->offset % 16);
}

static cmx_err segment(struct cmx_image *c)
{
    uint32_t len = cmx_le32(c->part + 4);
    bool first = c->offset == DESC_OFFSET;

    if (len % 4 != 0 || len >= CMX_IMAGE_SEGMENT_LEN_MAX)
        return cmx_image_refuse(c, CMX_EFORMAT, "bad segment length");
    if (len > c->policy->max_len - c->offset)
        return cmx_image_refuse(c, CMX_ENOSPC, "larger than the slot");
    if (first && len < DESC_LEN)
        return cmx_image_refuse(c, CMX_EFORMAT, "no application descriptor");
    c->segments_left--;
    go(c, DATA, len);
    if (len == 0)
        next_segment(c);
    return CMX_OK;
}

static cmx_err head(struct cmx_image *c)
{
    if (cmx_image_describe(c->head, &c->info) != CMX_OK)
        return cmx_image_refuse(c, CMX_EFORMAT, "no application descriptor");
    if (c->info.secure_version < c->policy->secure_version_min)
        return cmx_image_refuse(c, CMX_EDOWNGRADE, "secure version is below the device's");
    return CMX_OK;
}

static cmx_err padding(struct cmx_image *c)
{
    uint8_t n = (uint8_t)c->part_len;

    for (uint8_t i = 0; i + 1 < n; i++)
        if (c->part[i] != 0)
            return cmx_image_refuse(c, CMX_EFORMAT, "checksum does not match");
    if (c->part[n - 1] != c->checksum)
        return cmx_image_refuse(c, CMX_ESIG, "checksum does not match");
    c->hashing_image = false;
    if (cmx_sha256_finish(&c->sha, c->digest) != CMX_OK)
        return cmx_image_refuse(c, CMX_EIO, "hashing failed");
    go(c, HASH, CMX_SHA256_LEN);
    return CMX_OK;
}

static cmx_err appended_hash(struct cmx_image *c)
{
    if (!cmx_secret_equal(c->part, c->digest, CMX_SHA256_LEN))
        return cmx_image_refuse(c, CMX_ESIG, "SHA-256 does not match");
    c->image_len = c->offset;
    c->signed_len = c->offset;
    go(c, TAIL, 1);
    return CMX_OK;
}

/* The image may be followed by padding to a sector and a Secure Boot v2 signature sector, and then by the trailer.
 * Selects the next state by the byte `first`, which that state then consumes. */
static cmx_err tail(struct cmx_image *c, uint8_t first)
{
    uint32_t pad = (CMX_IMAGE_SECTOR - c->offset % CMX_IMAGE_SECTOR) % CMX_IMAGE_SECTOR;

    if (first == cmx_trailer_magic[0])
        go(c, TRAILER, CMX_TRAILER_LEN);
    else if (c->state == TAIL && pad == 0 && first == SIGNATURE_BLOCK_MAGIC)
        go(c, SECTOR, CMX_IMAGE_SECTOR);
    else if (c->state == TAIL && pad > 0 && first == 0xff)
        go(c, TAIL_PAD, pad);
    else
        return cmx_image_refuse(c, CMX_EFORMAT, "bytes follow the image");
    return CMX_OK;
}

/* Checks the sector's signature block. Its format is esp_secure_boot's ets_secure_boot_sig_block_t: magic, version 2
 * (RSA) or 3 (ECDSA), ..., CRC-32 at 1196. The bootloader verifies the signature. `part` holds the block's first four
 * bytes and its CRC. */
static cmx_err sector(struct cmx_image *c)
{
    if (c->part[0] != SIGNATURE_BLOCK_MAGIC || (c->part[1] != 2 && c->part[1] != 3) || cmx_le32(c->part + 4) != c->crc)
        return cmx_image_refuse(c, CMX_EFORMAT, "broken Secure Boot sector");
    c->has_secure_boot = true;
    c->signed_len = c->offset;
    go(c, AFTER_SECTOR, 1);
    return CMX_OK;
}

static cmx_err trailer(struct cmx_image *c)
{
    cmx_err err = cmx_trailer_parse(&c->trailer, c->part, c->part_len);

    if (err == CMX_ENOTSUP)
        return cmx_image_refuse(c, err, "unknown signature version");
    if (err)
        return cmx_image_refuse(c, err, "bytes follow the image");
    c->has_trailer = true;
    go(c, COMPLETE, UINT32_MAX);
    return CMX_OK;
}

/* ---- the stream ---- */

static cmx_err hash(struct cmx_image *c, const uint8_t *p, uint32_t n)
{
    cmx_err err = CMX_OK;

    if (c->hashing_image)
        err = cmx_sha256_update(&c->sha, p, n);
    if (!err && c->state != TRAILER)
        err = cmx_sha256_update(&c->signed_sha, p, n);
    return err ? cmx_image_refuse(c, err, "hashing failed") : CMX_OK;
}

void cmx_image_gather(struct cmx_image *c, const uint8_t *p, uint32_t n)
{
    CMX_CHECK(c->part_len + n <= sizeof c->part);
    memcpy(c->part + c->part_len, p, n);
    c->part_len += n;
}

/* Consumes the n bytes at offset `at` of the signature sector. Stores the sector's first four bytes and the CRC that it
 * contains, and computes the CRC to compare. */
static void sector_bytes(struct cmx_image *c, uint32_t at, const uint8_t *p, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++, at++) {
        if (at == 0)
            c->crc = CMX_CRC32_INIT;
        if (at < 4)
            c->part[at] = p[i];
        if (at < SIGNATURE_BLOCK_CRC_AT)
            c->crc = cmx_crc32(c->crc, p + i, 1);
        else if (at < SIGNATURE_BLOCK_CRC_AT + 4)
            c->part[4 + at - SIGNATURE_BLOCK_CRC_AT] = p[i];
    }
}

/* Consumes n bytes, all of which belong to the current state. */
static cmx_err take(struct cmx_image *c, const uint8_t *p, uint32_t n)
{
    switch (c->state) {
    case DATA:
        for (uint32_t i = 0; i < n; i++)
            c->checksum ^= p[i];
        break;
    case TAIL_PAD:
        for (uint32_t i = 0; i < n; i++)
            if (p[i] != 0xff)
                return cmx_image_refuse(c, CMX_EFORMAT, "bytes follow the image");
        break;
    case SECTOR:
        sector_bytes(c, CMX_IMAGE_SECTOR - c->need, p, n);
        break;
    default:
        cmx_image_gather(c, p, n);
        break;
    }
    return CMX_OK;
}

/* Leaves the current state, all of whose bytes have arrived. */
static cmx_err step(struct cmx_image *c)
{
    switch (c->state) {
    case HEADER:
        return header(c);
    case SEGMENT:
        return segment(c);
    case DATA:
        next_segment(c);
        return CMX_OK;
    case PADDING:
        return padding(c);
    case HASH:
        return appended_hash(c);
    case TAIL_PAD:
        go(c, SECTOR, CMX_IMAGE_SECTOR);
        return CMX_OK;
    case SECTOR:
        return sector(c);
    default: /* TRAILER; this function is not called in the other states */
        return trailer(c);
    }
}

static cmx_err feed_esp(struct cmx_image *c, const uint8_t *p, uint32_t len)
{
    cmx_err err;

    while (len > 0) {
        uint32_t n;

        if (c->state == COMPLETE)
            return cmx_image_refuse(c, CMX_EFORMAT, "bytes follow the signature");
        if (c->state == TAIL || c->state == AFTER_SECTOR) {
            err = tail(c, *p);
            if (err)
                return err;
        }
        n = len < c->need ? len : c->need;
        err = hash(c, p, n);
        if (!err)
            err = take(c, p, n);
        if (err)
            return err;
        if (c->offset < CMX_IMAGE_HEAD_LEN) {
            uint32_t room = CMX_IMAGE_HEAD_LEN - c->offset;

            memcpy(c->head + c->offset, p, n < room ? n : room);
        }
        c->offset += n;
        c->need -= n;
        p += n;
        len -= n;
        if (c->offset >= CMX_IMAGE_HEAD_LEN && c->offset - n < CMX_IMAGE_HEAD_LEN) {
            err = head(c);
            if (err)
                return err;
        }
        if (c->need == 0) {
            err = step(c);
            if (err)
                return err;
        }
    }
    return CMX_OK;
}

cmx_err cmx_image_feed(struct cmx_image *c, const void *data, size_t len)
{
    if (c->state == CMX_IMAGE_REFUSED)
        return CMX_EFORMAT;
    if (len > c->policy->max_len - c->offset)
        return cmx_image_refuse(c, CMX_ENOSPC, "larger than the slot");
    if (c->policy->format)
        return c->policy->format->feed(c, data, (uint32_t)len);
    return feed_esp(c, data, (uint32_t)len);
}

static cmx_err signature(struct cmx_image *c)
{
    cmx_err err;

    if (c->policy->keys.n == 0 || (c->policy->secure_boot && c->has_secure_boot && !c->has_trailer))
        return CMX_OK;
    if (!c->has_trailer)
        return cmx_image_refuse(c, CMX_ENOKEY, "not signed");
    err = cmx_trailer_verify(&c->trailer, &c->policy->keys, c->signed_len, c->digest);
    if (err == CMX_ENOKEY)
        return cmx_image_refuse(c, err, "signer is not trusted");
    return err ? cmx_image_refuse(c, err, "signature does not match") : CMX_OK;
}

cmx_err cmx_image_finish(struct cmx_image *c)
{
    cmx_err err = CMX_OK;

    if (c->state == CMX_IMAGE_REFUSED)
        return CMX_EFORMAT;
    if (c->offset == 0)
        err = cmx_image_refuse(c, CMX_ETRUNC, "empty");
    else if (c->policy->format)
        err = c->policy->format->finish(c);
    else if (c->state != TAIL && c->state != AFTER_SECTOR && c->state != COMPLETE)
        err = cmx_image_refuse(c, CMX_ETRUNC, "ends too early");
    if (err)
        return err;
    c->hashing = false;
    err = cmx_sha256_finish(&c->signed_sha, c->digest);
    if (err)
        return cmx_image_refuse(c, err, "hashing failed");
    return signature(c);
}
