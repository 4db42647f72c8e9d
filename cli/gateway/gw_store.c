#include "cli/gateway/gw_store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/port/crypto.h"
#include "gateway/folder/gw_files.h"
#include "gateway/registry/list.h"
#include "gateway/registry/plain_text.h"

#define FILE_MODE 0640

void gw_store_path(const struct gw *g, const char *digest, char out[GW_STORE_PATH_MAX])
{
    snprintf(out, GW_STORE_PATH_MAX, "%s/store/%.64s", g->dir, digest);
}

static cmx_err hash_text(const uint8_t *data, size_t len, char digest[CMX_SHA256_HEX], struct cmx_why *e)
{
    uint8_t raw[CMX_SHA256_LEN];

    if (cmx_sha256_of(data, len, raw))
        return cmx_why_fail(e, CMX_EIO, "hashing failed");
    cmx_text_hex_encode(digest, raw, sizeof raw);
    return CMX_OK;
}

/* ---- writing copies ---- */

/* Sets the file's group to GW_NOBODY: the worker's unprivileged children run in this group, and read images. */
static cmx_err give_group(const struct gw *g, const char *path, struct cmx_why *e)
{
    if (geteuid() != 0 || g->user || chown(path, 0, GW_NOBODY) == 0)
        return CMX_OK;
    return cmx_why_fail(e, CMX_EPERM, "can't change the group of %s", path);
}

static cmx_err map_named(const char *path, const uint8_t **data, size_t *len, struct cmx_why *e)
{
    struct cmx_why why = {""};
    cmx_err err = reference_map(path, data, len, &why);

    return err ? cmx_why_fail(e, err, "%.120s: %s", path, cmx_why_text(&why, err)) : CMX_OK;
}

/* True if the file at path exists and has exactly these bytes. */
static bool is_copy(const char *path, const uint8_t *data, size_t len)
{
    const uint8_t *is;
    size_t is_len;
    struct cmx_why e = {0};
    bool same;

    if (map_named(path, &is, &is_len, &e))
        return false;
    same = is_len == len && memcmp(is, data, len) == 0;
    reference_unmap(is, is_len);
    return same;
}

/* Computes the digest of the bytes and, if store is true, stores them in a file that has the digest as its name. */
static cmx_err put_bytes(const struct gw *g, const uint8_t *data, size_t len, bool store, char digest[CMX_SHA256_HEX],
                         struct cmx_why *e)
{
    char path[GW_STORE_PATH_MAX];
    cmx_err err = hash_text(data, len, digest, e);

    if (err || !store)
        return err;
    gw_store_path(g, "", path);
    err = gw_file_mkdir(path, 0750, e);
    if (!err)
        err = give_group(g, path, e);
    gw_store_path(g, digest, path);
    if (!err && !is_copy(path, data, len))
        err = gw_file_write(path, (const char *)data, len, FILE_MODE, e);
    return err ? err : give_group(g, path, e);
}

cmx_err gw_store_file(const struct gw *g, const char *path, bool store, char digest[CMX_SHA256_HEX], struct cmx_why *e)
{
    const uint8_t *data;
    size_t len;
    cmx_err err = map_named(path, &data, &len, e);

    if (err)
        return err;
    err = put_bytes(g, data, len, store, digest, e);
    reference_unmap(data, len);
    return err;
}

/* ---- manifests ---- */

/* digest: the SHA-256 that a stored manifest must have; NULL: the operator gave the manifest, so that its ranges are
 * checked, too. A stored manifest may have ranges that only devices of earlier versions accept. */
static cmx_err read_manifest(struct gw_manifest *m, const char *path, const char *digest, struct cmx_why *e)
{
    char folder[GW_STORE_PATH_MAX];
    char is[CMX_SHA256_HEX];
    const uint8_t *text;
    size_t len;
    unsigned line = 0;
    struct cmx_why reason = {""};
    cmx_err err = map_named(path, &text, &len, e);

    if (err)
        return err;
    err = hash_text(text, len, is, e);
    if (!err && digest && strcmp(is, digest) != 0)
        err = cmx_why_fail(e, CMX_ESIG, "%.120s was changed; set the policy again", path);
    if (!err && len > CMX_MANIFEST_TEXT_MAX)
        err = cmx_why_fail(e, CMX_ENOSPC, "%.120s is too long", path);
    if (!err) {
        err = cmx_manifest_parse(&m->manifest, (const char *)text, len, &line, &reason);
        if (err)
            cmx_why_set(e, "%.120s:%u: %s", path, line, reason.text);
    }
    if (!err && !digest && cmx_manifest_check_ranges(&m->manifest, &reason) != CMX_OK)
        err = cmx_why_fail(e, CMX_EINVAL, "%.120s: %s", path, reason.text);
    reference_unmap(text, len);
    if (err)
        return err;
    snprintf(folder, sizeof folder, "%s", path);
    err = reference_open_manifest(&m->reference, &m->manifest, dirname(folder), &reason);
    return err ? cmx_why_fail(e, err, "the files of %.100s: %s", path, reason.text) : CMX_OK;
}

static cmx_err open_manifest(struct gw_manifest **out, const char *path, const char *digest, struct cmx_why *e)
{
    *out = cmx_mem_alloc(sizeof **out);
    return *out ? read_manifest(*out, path, digest, e) : cmx_why_fail(e, CMX_ENOMEM, "out of memory");
}

/* Replaces the name of the region's file with the name of its copy. If store is true, also stores the copy: the
 * region's bytes of the file, or the whole file with the filler's key. */
static cmx_err put_region(const struct gw *g, struct cmx_region *region, const struct reference_part *part,
                          const char *folder, bool store, struct cmx_why *e)
{
    char path[GW_STORE_PATH_MAX + CMX_MANIFEST_FILE_MAX];
    char digest[CMX_SHA256_HEX] = "";
    cmx_err err;

    if (region->kind == CMX_REGION_ERASED)
        return CMX_OK;
    snprintf(path, sizeof path, "%s/%s", folder, region->file);
    err = region->kind == CMX_REGION_FILE
              ? put_bytes(g, part->data, part->range.end - part->range.begin, store, digest, e)
              : gw_store_file(g, path, store, digest, e);
    snprintf(region->file, sizeof region->file, "%s", digest);
    region->file_offset = 0;
    return err;
}

static cmx_err put_manifest(const struct gw *g, struct gw_manifest *m, const char *path, bool store,
                            char digest[CMX_SHA256_HEX], struct cmx_why *e)
{
    static uint8_t text[CMX_MANIFEST_TEXT_MAX];
    char folder[GW_STORE_PATH_MAX];
    const char *dir;
    struct cmx_buf b;
    cmx_err err = CMX_OK;

    snprintf(folder, sizeof folder, "%s", path);
    dir = dirname(folder);
    for (size_t i = 0; !err && i < m->manifest.n_regions; i++)
        err = put_region(g, &m->manifest.regions[i], &m->reference.part[i], dir, store, e);
    if (err)
        return err;
    cmx_buf_init(&b, text, sizeof text);
    err = cmx_manifest_print(&m->manifest, &b);
    return err ? cmx_why_fail(e, err, "%.120s is too long", path)
               : put_bytes(g, cmx_buf_data(&b), cmx_buf_len(&b), store, digest, e);
}

cmx_err gw_manifest_file_find(struct gw_manifest_file *m, const char *path, struct cmx_why *e)
{
    char full[PATH_MAX];
    char what[200];

    if (!realpath(path, full))
        return cmx_why_fail(e, CMX_ENOENT, "%.120s: %s", path, strerror(errno));
    if (cmx_text_copy(m->path, sizeof m->path, full))
        return cmx_why_fail(e, CMX_ENOSPC, "the path of %.120s is too long", path);
    snprintf(what, sizeof what, "the path '%.150s'", m->path);
    return gw_text_check(what, m->path, sizeof m->path - 1, e);
}

cmx_err gw_store_manifest(const struct gw *g, const char *path, bool store, char digest[CMX_SHA256_HEX],
                          struct cmx_why *e)
{
    struct gw_manifest *m = NULL;
    cmx_err err = open_manifest(&m, path, NULL, e);

    digest[0] = '\0';
    if (!err)
        err = put_manifest(g, m, path, store, digest, e);
    gw_manifest_free(m);
    return err;
}

cmx_err gw_store_open_manifest(const struct gw *g, const char *digest, struct gw_manifest **out, struct cmx_why *e)
{
    char path[GW_STORE_PATH_MAX];

    gw_store_path(g, digest, path);
    return open_manifest(out, path, digest, e);
}

void gw_manifest_free(struct gw_manifest *m)
{
    if (!m)
        return;
    reference_close(&m->reference);
    cmx_mem_free(m);
}

/* ---- images kept for later updates ---- */

static void kept_path(const struct gw *g, const char *digest, char out[GW_STORE_PATH_MAX])
{
    snprintf(out, GW_STORE_PATH_MAX, "%s/images/%.64s", g->dir, digest);
}

cmx_err gw_store_keep(const struct gw *g, const char *digest, const char *label, struct cmx_why *e)
{
    char path[GW_STORE_PATH_MAX];
    cmx_err err;

    kept_path(g, "", path);
    err = gw_file_mkdir(path, 0750, e);
    kept_path(g, digest, path);
    return err ? err : gw_file_write(path, label, strlen(label), FILE_MODE, e);
}

cmx_err gw_store_forget(const struct gw *g, const char *digest, bool store, struct cmx_why *e)
{
    char path[GW_STORE_PATH_MAX];

    kept_path(g, digest, path);
    if ((store ? unlink(path) : access(path, F_OK)) == 0)
        return CMX_OK;
    return errno == ENOENT
               ? cmx_why_fail(e, CMX_ENOENT, "the gateway keeps no such image; see 'cmxsafe gateway image list'")
               : cmx_why_fail(e, CMX_EIO, "%s", strerror(errno));
}

static cmx_err read_kept(const struct gw *g, const char *digest, gw_kept_fn fn, void *arg, struct cmx_why *e)
{
    char path[GW_STORE_PATH_MAX];
    char *label = NULL;
    size_t len = 0;
    struct stat st = {0};
    cmx_err err;

    kept_path(g, digest, path);
    if (stat(path, &st) != 0)
        return CMX_OK; /* the image was removed meanwhile */
    err = gw_file_read(path, &label, &len, e);
    if (!err)
        err = fn(arg, digest, label ? label : "", (int64_t)st.st_mtime);
    free(label); /* allocated by gw_file_read */
    return err;
}

static int is_digest(const struct dirent *entry)
{
    return strlen(entry->d_name) == CMX_SHA256_HEX - 1;
}

cmx_err gw_store_each_kept(const struct gw *g, gw_kept_fn fn, void *arg, struct cmx_why *e)
{
    char path[GW_STORE_PATH_MAX];
    struct dirent **list;
    cmx_err err = CMX_OK;
    int n;

    kept_path(g, "", path);
    n = scandir(path, &list, is_digest, alphasort);
    if (n < 0)
        return errno == ENOENT ? CMX_OK : cmx_why_fail(e, CMX_EIO, "%.120s: %s", path, strerror(errno));
    for (int i = 0; i < n; i++) {
        if (!err)
            err = read_kept(g, list[i]->d_name, fn, arg, e);
        free(list[i]); /* allocated by scandir, like the list itself */
    }
    free(list);
    return err;
}

/* ---- removing copies that are not needed ---- */

struct collecting {
    struct gw *g;
    char (*needed)[CMX_SHA256_HEX];
    size_t n, cap;
    struct cmx_why *e;
};

static cmx_err need(struct collecting *k, const char *digest)
{
    char copy[CMX_SHA256_HEX];

    snprintf(copy, sizeof copy, "%s", digest);
    return gw_list_add(&k->needed, &k->n, &k->cap, copy, sizeof copy);
}

static bool is_needed(const struct collecting *k, const char *digest)
{
    for (size_t i = 0; i < k->n; i++)
        if (strcmp(k->needed[i], digest) == 0)
            return true;
    return false;
}

static cmx_err need_manifest(struct collecting *k, const char *digest)
{
    struct gw_manifest *m = NULL;
    cmx_err err = need(k, digest);

    if (!err && gw_store_open_manifest(k->g, digest, &m, k->e) == CMX_OK)
        for (size_t i = 0; !err && i < m->manifest.n_regions; i++)
            err = need(k, m->manifest.regions[i].file);
    gw_manifest_free(m);
    return err;
}

static cmx_err need_campaign(void *arg, const struct gw_campaign *c)
{
    struct collecting *k = arg;
    cmx_err err = need(k, c->image);

    for (size_t i = 0; !err && i < c->n_manifests; i++)
        err = need_manifest(k, c->manifests[i]);
    return err;
}

static cmx_err need_policy(void *arg, const struct gw_policy *p)
{
    struct collecting *k = arg;
    cmx_err err = CMX_OK;

    for (size_t i = 0; !err && i < p->n_manifests; i++)
        err = need_manifest(k, p->manifests[i].digest);
    return err;
}

static cmx_err need_kept(void *arg, const char *digest, const char *label, int64_t at)
{
    (void)label;
    (void)at;
    return need(arg, digest);
}

static void remove_others(const struct collecting *k)
{
    char path[GW_STORE_PATH_MAX];
    const struct dirent *entry;
    DIR *d;

    gw_store_path(k->g, "", path);
    d = opendir(path);
    while (d && (entry = readdir(d)) != NULL)
        if (entry->d_name[0] != '.' && !is_needed(k, entry->d_name))
            (void)unlinkat(dirfd(d), entry->d_name, 0); /* if this fails, the next call tries again */
    if (d)
        closedir(d);
}

void gw_store_collect(struct gw *g)
{
    struct cmx_why e = {0};
    struct collecting k = {.g = g, .e = &e};

    if (gw_policy_each(&g->registry, need_policy, &k, &e) == CMX_OK &&
        gw_campaign_each(&g->registry, need_campaign, &k, &e) == CMX_OK &&
        gw_store_each_kept(g, need_kept, &k, &e) == CMX_OK)
        remove_others(&k);
    cmx_mem_free(k.needed);
}

/* ---- checking the copies ---- */

#define REPAIR_ON_ANOTHER "or copy the file from another gateway's folder 'store'"

static cmx_err check_policy(void *arg, const struct gw_policy *p)
{
    struct collecting *k = arg;
    struct gw_manifest *m = NULL;
    cmx_err err = CMX_OK;

    for (size_t i = 0; !err && i < p->n_manifests; i++) {
        err = gw_store_open_manifest(k->g, p->manifests[i].digest, &m, k->e);
        gw_manifest_free(m);
    }
    return err ? cmx_why_fail(
                     k->e, err,
                     "a manifest in the policy for '%.80s', or a file that it names, is missing or was changed; run "
                     "'cmxsafe gateway policy set' again, " REPAIR_ON_ANOTHER,
                     p->target)
               : CMX_OK;
}

static cmx_err check_campaign(void *arg, const struct gw_campaign *c)
{
    struct collecting *k = arg;
    char path[GW_STORE_PATH_MAX];
    char is[CMX_SHA256_HEX] = "";
    const uint8_t *data;
    size_t len;
    cmx_err err;

    if (c->state == GW_CAMPAIGN_STOPPED || c->state == GW_CAMPAIGN_DONE)
        return CMX_OK;
    gw_store_path(k->g, c->image, path);
    err = map_named(path, &data, &len, k->e);
    if (!err) {
        err = hash_text(data, len, is, k->e);
        reference_unmap(data, len);
    }
    if (!err && strcmp(is, c->image) == 0)
        return CMX_OK;
    return cmx_why_fail(k->e, err ? err : CMX_ESIG,
                        "the image of the campaign '%.80s' is missing or was changed; run 'cmxsafe gateway image add' "
                        "again, " REPAIR_ON_ANOTHER,
                        c->name);
}

cmx_err gw_store_check(struct gw *g, struct cmx_why *e)
{
    struct collecting k = {.g = g, .e = e};
    cmx_err err = gw_policy_each(&g->registry, check_policy, &k, e);

    return err ? err : gw_campaign_each(&g->registry, check_campaign, &k, e);
}
