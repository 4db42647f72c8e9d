/* image.h - decides whether the device may run an update. Checks an ESP-IDF application image while it arrives in
 * pieces of any size; gives the verdict at the end. Stores only the first CMX_IMAGE_HEAD_LEN bytes. Pure: no I/O.
 *
 * Format: ESP-IDF's esp_app_format.h and esp_app_desc.h (header, segments, checksum, appended SHA-256), optionally a
 * Secure Boot v2 sector, optionally our trailer (trailer.h). A Linux device accepts any bytes, optionally followed by
 * our trailer. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"
#include "cmxsafe/ota/trailer.h"
#include "cmxsafe/port/crypto.h"

#define CMX_IMAGE_HEAD_LEN 288 /* header 24, first segment's header 8, application descriptor 256 */
#define CMX_IMAGE_SEGMENTS_MAX 16
#define CMX_IMAGE_SEGMENT_LEN_MAX (16u << 20)
#define CMX_IMAGE_SECTOR 4096 /* alignment and length of a Secure Boot v2 signature sector */
#define CMX_IMAGE_TEXT_MAX 33 /* a descriptor's text, NUL included */
#define CMX_IMAGE_TIME_MAX 17 /* a descriptor's time or date, NUL included */

/* The two image formats: ESP-IDF's, and any bytes ("opaque"). Both may end with a trailer. */
struct cmx_image_format;
extern const struct cmx_image_format cmx_image_opaque;
#define CMX_IMAGE_ESP ((const struct cmx_image_format *)0)
#define CMX_IMAGE_OPAQUE (&cmx_image_opaque)

/* The images that a device accepts. A zeroed policy refuses every image, because max_len is 0. */
struct cmx_image_policy {
    const struct cmx_image_format *format; /* CMX_IMAGE_ESP (NULL) or CMX_IMAGE_OPAQUE */
    uint16_t chip_id;            /* esp_chip_id_t: 5 ESP32-C3, 9 ESP32-S3, ...; CMX_IMAGE_CHIP_ANY for tools */
    uint32_t max_len;            /* maximum size of a file, trailer included: the slot's size */
    uint32_t secure_version_min; /* an image with a lower secure version is a downgrade */
    bool secure_boot;            /* the bootloader verifies Secure Boot v2: an image signed that way needs no trailer */
    struct cmx_ota_keys keys;    /* without a key, no signature is required */
};
#define CMX_IMAGE_CHIP_ANY 0xffff

/* What the image's header and application descriptor contain, with texts made printable. */
struct cmx_image_info {
    uint16_t chip_id;
    uint8_t segments;
    uint32_t secure_version;
    char version[CMX_IMAGE_TEXT_MAX];
    char project[CMX_IMAGE_TEXT_MAX];
};

/* An image's build time and ESP-IDF version, made printable. */
struct cmx_image_build {
    char time[CMX_IMAGE_TIME_MAX];
    char date[CMX_IMAGE_TIME_MAX];
    char idf[CMX_IMAGE_TEXT_MAX];
};

/* Invariant: `offset` bytes have been consumed, and the state does not change before `need` more bytes have arrived. */
struct cmx_image {
    const struct cmx_image_policy *policy; /* borrowed */
    int state;
    uint32_t offset;
    uint32_t need;
    uint32_t part_len;
    uint32_t crc;
    uint8_t segments_left;
    uint8_t checksum;
    bool hashing;       /* signed_sha holds resources */
    bool hashing_image; /* sha holds resources; always false for CMX_IMAGE_OPAQUE */

    /* Results. They are valid once cmx_image_finish has returned CMX_OK; `why` is valid once the image was refused. */
    bool has_secure_boot;
    bool has_trailer;
    const char *why;                /* why the image was refused, one clause; static */
    uint32_t image_len;             /* length of the image with its appended SHA-256 */
    uint32_t signed_len;            /* length of everything before the trailer */
    uint8_t digest[CMX_SHA256_LEN]; /* SHA-256 of the first signed_len bytes, i.e. of the unsigned file (sha256sum) */
    struct cmx_image_info info;
    struct cmx_trailer trailer;

    uint8_t part[CMX_TRAILER_LEN]; /* the small piece being assembled: header, hash, trailer */
    uint8_t head[CMX_IMAGE_HEAD_LEN];
    struct cmx_sha256 sha;        /* hash of the image up to its appended SHA-256 */
    struct cmx_sha256 signed_sha; /* hash of everything before the trailer */
};

/* Prepares c for the first byte. Borrows policy. CMX_ENOMEM: out of memory. */
CMX_MUST_USE cmx_err cmx_image_init(struct cmx_image *c, const struct cmx_image_policy *policy);

/* Consumes the next bytes. On an error the image is refused, and c->why is the reason. CMX_EFORMAT: malformed;
 * CMX_ENOSPC: too large; CMX_EDOWNGRADE: the secure version is too low; CMX_EPERM: the image is for another chip;
 * CMX_ESIG: the checksum or SHA-256 does not match; CMX_ENOTSUP: unknown trailer version; CMX_EIO: hashing failed. */
CMX_MUST_USE cmx_err cmx_image_feed(struct cmx_image *c, const void *data, size_t len);

/* True once the first CMX_IMAGE_HEAD_LEN bytes have been accepted; info is valid then. For CMX_IMAGE_OPAQUE, which has
 * no info: true until the image is refused. The caller must not write to storage while this function returns false. */
bool cmx_image_head_ok(const struct cmx_image *c);

/* Ends the image. CMX_ETRUNC: it ends too early; CMX_ENOKEY: it is not signed, or signed by an unknown key; CMX_ESIG:
 * the signature does not match. */
CMX_MUST_USE cmx_err cmx_image_finish(struct cmx_image *c);

/* Releases the hashes. Safe at any time after init, and more than once. */
void cmx_image_abort(struct cmx_image *c);

/* Reads the description in a slot's first CMX_IMAGE_HEAD_LEN bytes. CMX_EFORMAT: not an application image. */
CMX_MUST_USE cmx_err cmx_image_describe(const uint8_t head[CMX_IMAGE_HEAD_LEN], struct cmx_image_info *out);

/* Reads the build time and ESP-IDF version from the head of an application image. */
void cmx_image_built(const uint8_t head[CMX_IMAGE_HEAD_LEN], struct cmx_image_build *out);

/* Finds a chip by its name, such as "ESP32-C3" or "esp32c3". CMX_ENOENT: unknown name. */
CMX_MUST_USE cmx_err cmx_image_chip_id(const char *name, uint16_t *id);

/* Returns a name such as "ESP32-C3", or "unknown chip". Static. */
const char *cmx_image_chip_name(uint16_t chip_id);
