/* reference.h - what the flash should hold, from files: one image, or the regions of a manifest. Files are mapped, so
 * that what is hashed is read once. */
#ifndef CMX_VERIFY_REFERENCE_H
#define CMX_VERIFY_REFERENCE_H

#include "cmxsafe/port/crypto.h"
#include "verify/manifest.h"

struct reference_part {
    struct cmx_range range; /* of flash */
    const uint8_t *data;    /* its bytes, or NULL: erased */
    void *map;              /* what is unmapped, or freed if filler */
    size_t map_len;         /* 0: map was allocated */
};

struct reference {
    struct reference_part part[CMX_RANGES_MAX];
    size_t n;
};

/* A file that is flash from address `at` on. why: one sentence. CMX_ENOENT, CMX_EPERM, CMX_EIO; CMX_EINVAL: empty, or
 * beyond 4 GB. */
CMX_MUST_USE cmx_err reference_open_image(struct reference *r, const char *path, uint32_t at, char *why,
                                          size_t why_cap);

/* The manifest's regions; files relative to `dir`. Each region's digest is checked (CMX_ESIG). CMX_ENOMEM. */
CMX_MUST_USE cmx_err reference_open_manifest(struct reference *r, const struct cmx_manifest *m, const char *dir,
                                             char *why, size_t why_cap);
void reference_close(struct reference *r);

/* The image's extent; of a manifest the first region's. */
struct cmx_range reference_extent(const struct reference *r);

/* The value of /hash over ranges. CMX_ENOENT: a range is not within the reference. */
CMX_MUST_USE cmx_err reference_hash(const struct reference *r, const struct cmx_ranges *ranges, const uint8_t key[32],
                                    const void *challenge, size_t len, uint8_t out[32]);

/* The measurement of a range for evidence; key: cmx_identity_evidence_key. CMX_ENOENT. */
CMX_MUST_USE cmx_err reference_measure(const struct reference *r, struct cmx_range range, const uint8_t key[32],
                                       const void *nonce, size_t len, uint8_t out[CMX_SHA256_LEN]);

/* Maps a whole file for reading. len 0 is CMX_EINVAL. For callers that look at files themselves; unmapped with munmap.
 */
CMX_MUST_USE cmx_err reference_map(const char *path, const uint8_t **data, size_t *len, char *why, size_t why_cap);

#endif
