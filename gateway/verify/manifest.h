/* manifest.h - a manifest: the reference values that a verifier compares evidence with. It is text with one statement
 * per line; '#' begins a comment:
 *
 *     cmxsafe-manifest 1
 *     name secure_services
 *     version 1.4.0
 *     secure-version 3            at least
 *     hardware ESP32-S3
 *     flash-size 0x400000
 *     require secure-boot         also: flash-encryption, debug-off, isolation, hardware-key, confirmed,
 *                                 post-quantum
 *     policy 4f1c...              SHA-256, hex
 *     gateway 9a02...             SHA-256 of the gateway's host key, hex
 *     region 0x010000 0x12a340 file firmware.bin 0x0 3b88...   begin end, file, offset in it, SHA-256 of the bytes
 *     region 0x12a340 0x400000 erased
 *     region 0x12a340 0x400000 fill fill.key 77d0...           keyed filler, SHA-256 of the bytes
 *     mask 0x009000 0x00e000 nvs                               changes at run time: not measured
 *
 * A word that contains blanks or '#' is put in quotes, as in version "idf 5.5"; there '\' escapes the next character.
 * Printable ASCII only. cmxsafe-manifest, flash-size and one region are required; only require, region and mask may
 * occur more than once. Pure: never opens the files. */
#pragma once

#include <stdbool.h>

#include "cmxsafe/attest/evidence.h"
#include "cmxsafe/core/why.h"

#define CMX_MANIFEST_FILE_MAX 128 /* a file's name, NUL included; relative to the manifest */
#define CMX_MANIFEST_TEXT_MAX 8192
#define CMX_MASK_NAME_MAX 32

typedef enum { CMX_REGION_FILE, CMX_REGION_ERASED, CMX_REGION_FILL } cmx_region_kind;

struct cmx_region {
    struct cmx_range range;
    cmx_region_kind kind;
    char file[CMX_MANIFEST_FILE_MAX]; /* the image file, or the file with the filler's key */
    uint32_t file_offset;
    uint8_t sha256[CMX_SHA256_LEN]; /* SHA-256 of the region's bytes; unused for CMX_REGION_ERASED */
};

struct cmx_mask {
    struct cmx_range range;
    char name[CMX_MASK_NAME_MAX];
};

enum {
    CMX_REQUIRE_SECURE_BOOT = 1 << 0,
    CMX_REQUIRE_FLASH_ENCRYPTION = 1 << 1, /* flash encryption in release mode */
    CMX_REQUIRE_DEBUG_OFF = 1 << 2,
    CMX_REQUIRE_ISOLATION = 1 << 3,
    CMX_REQUIRE_HARDWARE_KEY = 1 << 4,
    CMX_REQUIRE_CONFIRMED = 1 << 5,    /* the slot's state is "valid" */
    CMX_REQUIRE_POST_QUANTUM = 1 << 6, /* the session's key exchange resists a quantum computer */
};

struct cmx_manifest {
    char name[CMX_EVIDENCE_NAME_MAX]; /* "": any name; version and hardware likewise */
    char version[CMX_EVIDENCE_NAME_MAX];
    char hardware[CMX_EVIDENCE_NAME_MAX];
    uint32_t secure_version;
    uint32_t flash_size;
    unsigned require; /* bits CMX_REQUIRE_* */
    bool has_policy;
    uint8_t policy[CMX_SHA256_LEN];
    bool has_gateway;
    uint8_t gateway[CMX_SHA256_LEN];
    struct cmx_region regions[CMX_RANGES_MAX];
    size_t n_regions;
    struct cmx_mask masks[CMX_RANGES_MAX];
    size_t n_masks;
};

/* Parses len bytes, which may begin with a byte order mark. On error *line is the number of the line that was read
 * last, counted from 1, and *why the reason. CMX_EFORMAT: a line is not a valid statement, or a required one is
 * missing; CMX_EINVAL: ranges overlap, are reversed or end beyond the flash, or a value is not valid; CMX_EEXIST: a
 * statement occurs twice; CMX_ENOSPC: a line is too long or has too many words, or there are too many regions or masks.
 */
CMX_MUST_USE cmx_err cmx_manifest_parse(struct cmx_manifest *m, const char *text, size_t len, unsigned *line,
                                        struct cmx_why *why);

/* Appends the manifest as text, which cmx_manifest_parse reads back as the same manifest. CMX_ENOSPC: out is full;
 * CMX_EINVAL: a string in m is not printable ASCII. */
CMX_MUST_USE cmx_err cmx_manifest_print(const struct cmx_manifest *m, struct cmx_buf *out);

/* Writes the ranges whose measurements a verifier requests, in the order of the regions. A device accepts only whole
 * chunks: where two regions meet within a chunk, the range of the first one gets the whole chunk, and a region that
 * lies within that chunk has no range of its own. */
void cmx_manifest_ranges(const struct cmx_manifest *m, struct cmx_ranges *out);
/* CMX_EINVAL: a device would refuse these ranges, because a region begins or ends within a chunk, but meets no other
 * region there. */
CMX_MUST_USE cmx_err cmx_manifest_check_ranges(const struct cmx_manifest *m, struct cmx_why *why);

#define CMX_MANIFEST_GAPS_MAX (2 * CMX_RANGES_MAX + 1)

/* Finds the parts of flash that are neither region nor mask, in ascending order: nothing is known about their content.
 * Returns their number. */
size_t cmx_manifest_gaps(const struct cmx_manifest *m, struct cmx_range out[CMX_MANIFEST_GAPS_MAX]);

/* ---- filler ---- */

#define CMX_FILL_KEY_MIN 16

/* Writes the filler's bytes for flash addresses [address, address + len): block i of 32 bytes is HMAC-SHA256(key,
 * "cmxsafe fill 1" NUL || i, 8 bytes big-endian). The key must be neither on the device nor derived from the hardware
 * key; otherwise firmware could compute the filler instead of storing it. */
CMX_MUST_USE cmx_err cmx_fill(const void *key, size_t key_len, uint32_t address, uint8_t *out, size_t len);
