#include "gateway/verify/reference.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmxsafe/attest/chain.h"
#include "cmxsafe/attest/measure.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/secret.h"
#include "cmxsafe/core/why.h"
#include "cmxsafe/port/crypto.h"

#define PATH_MAX_LEN 4096

cmx_err reference_map(const char *path, const uint8_t **data, size_t *len, struct cmx_why *why)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); /* without O_NONBLOCK, a FIFO would block */
    struct stat st;
    void *map;

    if (fd < 0 || fstat(fd, &st) != 0) {
        int number = errno;

        if (fd >= 0)
            close(fd);
        cmx_why_set(why, "%s", strerror(number));
        return number == ENOENT ? CMX_ENOENT : number == EACCES ? CMX_EPERM : CMX_EIO;
    }
    if (!S_ISREG(st.st_mode) || st.st_size == 0 || st.st_size > UINT32_MAX) {
        close(fd);
        cmx_why_set(why, "is not a regular file of 1 byte to 4 GB");
        return CMX_EINVAL;
    }
    map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    close(fd);
    if (map == MAP_FAILED) {
        cmx_why_set(why, "%s", strerror(errno));
        return CMX_EIO;
    }
    *data = map;
    *len = (size_t)st.st_size;
    return CMX_OK;
}

void reference_unmap(const uint8_t *data, size_t len)
{
    (void)munmap((void *)(uintptr_t)data, len);
}

cmx_err reference_open_image(struct reference *r, const char *path, uint32_t at, struct cmx_why *why)
{
    struct reference_part *p = &r->part[0];
    cmx_err err;

    memset(r, 0, sizeof *r);
    err = reference_map(path, &p->data, &p->map_len, why);
    if (err)
        return err;
    p->map = (void *)(uintptr_t)p->data;
    r->n = 2;
    if (at + (uint64_t)p->map_len > UINT32_MAX - CMX_CHUNK) {
        cmx_why_set(why, "reaches beyond 4 GB of flash");
        return CMX_EINVAL;
    }
    p->range = (struct cmx_range){at, at + (uint32_t)p->map_len};
    r->part[1].range = (struct cmx_range){p->range.end, CMX_CHUNK_END(p->range.end)};
    return CMX_OK;
}

static cmx_err open_filler(struct reference_part *p, const char *path, struct cmx_why *why)
{
    const uint8_t *key = NULL;
    size_t key_len = 0;
    uint8_t *filler = cmx_mem_alloc(p->range.end - p->range.begin);
    cmx_err err = filler ? reference_map(path, &key, &key_len, why) : CMX_ENOMEM;

    p->map = filler;
    p->data = filler;
    if (err)
        return err;
    err = cmx_fill(key, key_len, p->range.begin, filler, p->range.end - p->range.begin);
    reference_unmap(key, key_len);
    if (err)
        cmx_why_set(why, "is not a key of at least %d bytes", CMX_FILL_KEY_MIN);
    return err;
}

static cmx_err open_file(struct reference_part *p, const struct cmx_region *region, const char *path,
                         struct cmx_why *why)
{
    const uint8_t *data = NULL;
    uint64_t need = (uint64_t)region->file_offset + (region->range.end - region->range.begin);
    cmx_err err = reference_map(path, &data, &p->map_len, why);

    if (err)
        return err;
    p->map = (void *)(uintptr_t)data;
    if (need > p->map_len) {
        cmx_why_set(why, "is shorter than its region");
        return CMX_ETRUNC;
    }
    p->data = data + region->file_offset;
    return CMX_OK;
}

static cmx_err check_digest(const struct reference_part *p, const struct cmx_region *region, struct cmx_why *why)
{
    uint8_t digest[CMX_SHA256_LEN];
    cmx_err err = cmx_sha256_of(p->data, p->range.end - p->range.begin, digest);

    if (!err && !cmx_secret_equal(digest, region->sha256, sizeof digest)) {
        cmx_why_set(why, "has changed since the manifest was made");
        err = CMX_ESIG;
    }
    return err;
}

cmx_err reference_open_manifest(struct reference *r, const struct cmx_manifest *m, const char *dir, struct cmx_why *why)
{
    memset(r, 0, sizeof *r);
    for (size_t i = 0; i < m->n_regions; i++) {
        const struct cmx_region *region = &m->regions[i];
        struct reference_part *p = &r->part[r->n++];
        struct cmx_why reason = {""};
        char path[PATH_MAX_LEN];
        cmx_err err = CMX_OK;

        p->range = region->range;
        if (region->kind == CMX_REGION_ERASED)
            continue;
        snprintf(path, sizeof path, "%s/%s", dir, region->file);
        err = region->kind == CMX_REGION_FILE ? open_file(p, region, path, &reason) : open_filler(p, path, &reason);
        if (!err)
            err = check_digest(p, region, &reason);
        if (err) {
            cmx_why_set(why, "'%.200s' %s", path, cmx_why_text(&reason, err));
            return err;
        }
    }
    return CMX_OK;
}

void reference_close(struct reference *r)
{
    for (size_t i = 0; i < r->n; i++) {
        if (r->part[i].map_len)
            (void)munmap(r->part[i].map, r->part[i].map_len);
        else
            cmx_mem_free(r->part[i].map);
    }
    r->n = 0;
}

/* Returns the bytes at the flash addresses [offset, offset + len). Uses scratch if the bytes are erased or lie in more
 * than one part. NULL: the reference does not contain all of them. */
static const uint8_t *bytes_at(const struct reference *r, uint32_t offset, size_t len, uint8_t scratch[CMX_CHUNK])
{
    size_t done = 0;

    while (done < len) {
        const struct reference_part *p = NULL;
        uint32_t at = offset + (uint32_t)done;
        size_t n;

        for (size_t i = 0; i < r->n && !p; i++)
            if (at >= r->part[i].range.begin && at < r->part[i].range.end)
                p = &r->part[i];
        if (!p)
            return NULL;
        n = p->range.end - at < len - done ? p->range.end - at : len - done;
        if (n == len && p->data)
            return p->data + (at - p->range.begin);
        if (p->data)
            memcpy(scratch + done, p->data + (at - p->range.begin), n);
        else
            memset(scratch + done, 0xff, n);
        done += n;
    }
    return scratch;
}

static cmx_err chain_chunk(struct cmx_hmac *mac, uint8_t h[CMX_SHA256_LEN], const uint8_t *chunk, size_t len,
                           const void *challenge, size_t challenge_len)
{
    cmx_err err = cmx_hmac_update(mac, h, CMX_SHA256_LEN);

    if (!err)
        err = cmx_hmac_update(mac, chunk, len);
    if (!err)
        err = cmx_hmac_update(mac, challenge, challenge_len);
    return err ? err : cmx_hmac_restart(mac, h);
}

cmx_err reference_hash(const struct reference *r, const struct cmx_ranges *ranges, const uint8_t key[CMX_HMAC_KEY_LEN],
                       const void *challenge, size_t len, uint8_t out[CMX_SHA256_LEN])
{
    uint8_t scratch[CMX_CHUNK];
    struct cmx_hmac mac;
    struct cmx_walk w;
    uint32_t offset;
    size_t n;
    cmx_err err = cmx_hmac_init(&mac, key, CMX_HMAC_KEY_LEN);

    if (err)
        return err;
    memset(out, 0, CMX_SHA256_LEN);
    cmx_chain_walk_init(&w, ranges->r, ranges->n);
    while (!err && cmx_chain_walk_next(&w, &offset, &n)) {
        const uint8_t *chunk = bytes_at(r, offset, n, scratch);

        err = chunk ? chain_chunk(&mac, out, chunk, n, challenge, len) : CMX_ENOENT;
    }
    cmx_hmac_abort(&mac);
    return err;
}

cmx_err reference_measure(const struct reference *r, struct cmx_range range, const uint8_t key[CMX_HMAC_KEY_LEN],
                          const void *nonce, size_t len, uint8_t out[CMX_SHA256_LEN])
{
    uint8_t scratch[CMX_CHUNK];
    struct cmx_sha256 h;
    struct cmx_walk w;
    uint32_t offset;
    size_t n;
    cmx_err err = cmx_measure_begin(&h, key, nonce, len, range);

    if (err)
        return err;
    cmx_chain_walk_init(&w, &range, 1);
    while (!err && cmx_chain_walk_next(&w, &offset, &n)) {
        const uint8_t *chunk = bytes_at(r, offset, n, scratch);

        err = chunk ? cmx_measure_chunk(&h, chunk, n) : CMX_ENOENT;
    }
    if (!err)
        return cmx_sha256_finish(&h, out);
    cmx_sha256_abort(&h);
    return err;
}
