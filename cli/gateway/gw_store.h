/* gw_store.h - the gateway's folder "store": copies of campaign images, of policy manifests, and of the files that the
 * manifests name. The gateway uses only the copies, so the operator may change or move the
 * original files. The name of a copy is its SHA-256. */
#pragma once

#include "gateway/folder/gw_folder.h"
#include "gateway/registry/campaign.h"
#include "gateway/registry/evidence_policy.h"
#include "gateway/verify/reference.h"

#define GW_STORE_PATH_MAX (GW_PATH_MAX + 16)

struct gw_manifest {
    struct cmx_manifest manifest;
    struct reference reference; /* the manifest's files, mapped into memory */
};

/* Writes the path of a copy: DIR/store/DIGEST. */
void gw_store_path(const struct gw *g, const char *digest, char out[GW_STORE_PATH_MAX]);

/* Writes a file's SHA-256 to digest. store: also copies the file into the store. An earlier copy that was changed is
 * replaced. */
CMX_MUST_USE cmx_err gw_store_file(const struct gw *g, const char *path, bool store, char digest[CMX_SHA256_HEX],
                                   struct cmx_why *e);
/* Sets m->path to the absolute form of the operator's path. Refuses a path that is not plain text (plain_text.h),
 * because commands show it and PostgreSQL stores only UTF-8. */
CMX_MUST_USE cmx_err gw_manifest_file_find(struct gw_manifest_file *m, const char *path, struct cmx_why *e);
/* Reads a manifest, checks the files that it names, and writes the SHA-256 of its copy to digest. store: also stores
 * copies of the files and of the manifest. The stored manifest names the copies, so its digest is the same for equal
 * content, wherever the original files are. */
CMX_MUST_USE cmx_err gw_store_manifest(const struct gw *g, const char *path, bool store, char digest[CMX_SHA256_HEX],
                                       struct cmx_why *e);
/* Reads a stored manifest and maps its files; CMX_ESIG: the manifest or one of its files was changed. The caller frees
 * *out, even after an error. */
CMX_MUST_USE cmx_err gw_store_open_manifest(const struct gw *g, const char *digest, struct gw_manifest **out,
                                            struct cmx_why *e);
/* m may be NULL. */
void gw_manifest_free(struct gw_manifest *m);

/* ---- images kept for later updates: the file DIR/images/DIGEST holds an image's label ---- */

#define GW_STORE_LABEL_MAX 128

/* Adds an image to the list of kept images. The caller has stored it with gw_store_file. */
CMX_MUST_USE cmx_err gw_store_keep(const struct gw *g, const char *digest, const char *label, struct cmx_why *e);
/* Removes an image from the list of kept images; its copy stays while a campaign needs it. If store is false, only
 * checks that the image is on the list. CMX_ENOENT: the image is not on the list. */
CMX_MUST_USE cmx_err gw_store_forget(const struct gw *g, const char *digest, bool store, struct cmx_why *e);
/* Calls fn for each kept image, in the order of the digests; at: the Unix time at which it was added. If fn
 * returns an error, stops and returns that error. */
typedef cmx_err (*gw_kept_fn)(void *arg, const char *digest, const char *label, int64_t at);
CMX_MUST_USE cmx_err gw_store_each_kept(const struct gw *g, gw_kept_fn fn, void *arg, struct cmx_why *e);

/* Removes files from the store, except kept images and copies that a policy or campaign in the registry needs. Call it
 * with the folder locked, before storing files. If a file can't be removed, the next call tries again. */
void gw_store_collect(struct gw *g);
/* Checks the copies that policies need, and the images of unfinished campaigns. The reason in e names the policy or
 * campaign whose file is missing or was changed, and says what to do. */
CMX_MUST_USE cmx_err gw_store_check(struct gw *g, struct cmx_why *e);
