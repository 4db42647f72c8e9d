#include "cli/common/image_file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/text.h"
#include "port/linux/cli.h"
#include "port/linux/file_read.h"

#define KEY_MAX ((size_t)4096)

static cmx_err feed_file(const char *path, struct cmx_image *c)
{
    uint8_t buf[16384];
    FILE *f = cmx_file_open(path);
    cmx_err err = CMX_OK;
    size_t n;

    if (!f)
        return errno == ENOENT ? CMX_ENOENT : CMX_EIO;
    while (!err && (n = fread(buf, 1, sizeof buf, f)) > 0)
        err = cmx_image_feed(c, buf, n);
    if (!err && ferror(f))
        err = CMX_EIO;
    fclose(f);
    return err ? err : cmx_image_finish(c);
}

cmx_err image_file_read(const char *path, const struct cmx_image_policy *policy, struct cmx_image *c,
                        struct cmx_why *why)
{
    cmx_err err = cmx_image_init(c, policy);

    if (!err)
        err = feed_file(path, c);
    if (err == CMX_ENOENT || err == CMX_EIO)
        cmx_why_set(why, "%s", strerror(errno));
    else if (err)
        cmx_why_set(why, "%s", c->why && c->why[0] ? c->why : cmx_err_text(err));
    cmx_image_abort(c);
    return err;
}

int image_file_check(const char *path, const struct cmx_image_policy *policy, struct cmx_image *c, const char *todo)
{
    struct cmx_why why = {""};
    cmx_err err = image_file_read(path, policy, c, &why);

    return err ? cli_fail(path, why.text, err == CMX_ENOENT || err == CMX_EIO ? NULL : todo) : CLI_OK;
}

void image_file_put(struct cmx_json *j, const struct cmx_image *c, bool esp)
{
    struct cmx_image_build build;

    cmx_json_str(j, "format", esp ? "esp-idf" : "opaque");
    if (esp) {
        cmx_image_built(c->head, &build);
        cmx_json_str(j, "chip", cmx_image_chip_name(c->info.chip_id));
        cmx_json_str(j, "version", c->info.version);
        cmx_json_str(j, "project", c->info.project);
        cmx_json_u64(j, "secure_version", c->info.secure_version);
        cmx_json_str(j, "idf", build.idf);
        cmx_json_u64(j, "segments", c->info.segments);
        cmx_json_bool(j, "secure_boot_v2", c->has_secure_boot);
    }
    cmx_json_u64(j, "bytes", c->signed_len);
    cmx_json_hex(j, "sha256", c->digest, sizeof c->digest);
    if (c->has_trailer)
        cmx_json_hex(j, "signed_by", c->trailer.key_id, sizeof c->trailer.key_id);
    else
        cmx_json_null(j, "signed_by");
}

cmx_err image_file_add_key(struct cmx_ota_keys *keys, const char *path)
{
    struct cmx_why why = {0};
    char *text;
    size_t n;
    cmx_err err = cmx_file_read_text(path, KEY_MAX, &text, &n, &why);

    if (err) {
        cli_fail(path, why.text, "give a file that holds a public key, in PEM or hex");
        return err;
    }
    while (n > 0 && strchr(" \r\n\t", text[n - 1]))
        text[--n] = '\0';
    if (strstr(text, "PRIVATE KEY")) {
        cmx_mem_free_secret(text);
        cli_fail(path, "it is a private key", "give the public one: cmxsafe image key --key FILE --pem");
        return CMX_EFORMAT;
    }
    err = cmx_ota_keys_add(keys, text);
    cmx_mem_free_secret(text);
    if (err == CMX_ENOSPC)
        cli_fail(path, "a device holds at most two keys", NULL);
    else if (err)
        cli_fail(path, "not an ECDSA P-256 public key, PEM or hex", NULL);
    return err;
}

cmx_err image_file_chip(const char *name, uint16_t *id)
{
    uint64_t v;

    if (cmx_text_u64(name, 0, 0xfffe, &v) == CMX_OK) {
        *id = (uint16_t)v;
        return CMX_OK;
    }
    return cmx_image_chip_id(name, id);
}
