/* reference.h - provides the expected content of flash from files: from one image, or from the files of a manifest's
 * regions. Files are memory-mapped. */
#pragma once

#include "cmxsafe/core/why.h"
#include "cmxsafe/port/crypto.h"
#include "gateway/verify/manifest.h"

struct reference_part {
    struct cmx_range range; /* the part's addresses in flash */
    const uint8_t *data;    /* the part's bytes; NULL: erased */
    void *map;              /* mapped file, or memory allocated for filler; NULL: erased */
    size_t map_len;         /* size of the mapped file; 0: no file is mapped */
};

struct reference {
    struct reference_part part[CMX_RANGES_MAX];
    size_t n;
};

/* Opens a file with the content of flash from address `at` on. The rest of the last chunk counts as erased. Call
 * reference_close even after an error. After an error, *why has the reason, without the path. Errors as for
 * reference_map; CMX_EINVAL: also if the content would end beyond 4 GB. */
CMX_MUST_USE cmx_err reference_open_image(struct reference *r, const char *path, uint32_t at, struct cmx_why *why);

/* Opens the manifest's regions, whose files are relative to `dir`. CMX_ESIG: the digest of a region's bytes is not the
 * manifest's; CMX_ETRUNC: a file is shorter than its region; CMX_ENOMEM: out of memory; CMX_EINVAL: also if a
 * filler's key is too short; other errors as for reference_map. Call reference_close even after an error. */
CMX_MUST_USE cmx_err reference_open_manifest(struct reference *r, const struct cmx_manifest *m, const char *dir,
                                             struct cmx_why *why);
void reference_close(struct reference *r);

/* Computes the value that GET /hash (chain.h) returns for these ranges. CMX_ENOENT: a range is not within the
 * reference. */
CMX_MUST_USE cmx_err reference_hash(const struct reference *r, const struct cmx_ranges *ranges,
                                    const uint8_t key[CMX_HMAC_KEY_LEN], const void *challenge, size_t len,
                                    uint8_t out[CMX_SHA256_LEN]);

/* Computes the measurement of a range for evidence. key: the member digest of struct verify_key. CMX_ENOENT: the range
 * is not within the reference. */
CMX_MUST_USE cmx_err reference_measure(const struct reference *r, struct cmx_range range,
                                       const uint8_t key[CMX_HMAC_KEY_LEN], const void *nonce, size_t len,
                                       uint8_t out[CMX_SHA256_LEN]);

/* Maps a whole file for reading; the caller unmaps it with reference_unmap. CMX_ENOENT: there is no such file;
 * CMX_EPERM: no permission to read it; CMX_EIO: it can't be opened or mapped; CMX_EINVAL: not a regular file of 1 byte
 * to 4 GB. */
CMX_MUST_USE cmx_err reference_map(const char *path, const uint8_t **data, size_t *len, struct cmx_why *why);
void reference_unmap(const uint8_t *data, size_t len);
