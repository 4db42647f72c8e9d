#include "image_file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "cmxsafe/core/text.h"

static cmx_err feed_file(const char *path, struct cmx_image *c)
{
    uint8_t buf[16384];
    FILE *f = fopen(path, "rb");
    cmx_err err = CMX_OK;
    size_t n;

    if (!f)
        return CMX_ENOENT;
    while (!err && (n = fread(buf, 1, sizeof buf, f)) > 0)
        err = cmx_image_feed(c, buf, n);
    if (!err && ferror(f))
        err = CMX_EIO;
    fclose(f);
    return err ? err : cmx_image_finish(c);
}

int image_file_check(const char *path, const struct cmx_image_policy *policy, struct cmx_image *c, const char *todo)
{
    cmx_err err = cmx_image_init(c, policy);
    const char *why;

    if (!err)
        err = feed_file(path, c);
    why = err == CMX_ENOENT || err == CMX_EIO ? strerror(errno) : c->why[0] ? c->why : cmx_err_text(err);
    cmx_image_abort(c);
    return err ? cli_fail(path, why, err == CMX_ENOENT ? NULL : todo) : CLI_OK;
}

cmx_err image_file_add_key(struct cmx_ota_keys *keys, const char *path)
{
    char text[4096];
    FILE *f = fopen(path, "r");
    size_t n;
    cmx_err err;

    if (!f) {
        cli_fail(path, strerror(errno), "name a file with a public key, PEM or hex");
        return CMX_ENOENT;
    }
    n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    while (n > 0 && strchr(" \r\n\t", text[n - 1]))
        n--;
    text[n] = '\0';
    if (strstr(text, "PRIVATE KEY")) {
        cli_fail(path, "it is a private key", "give the public one: cmxsafe image key --key FILE --pem");
        return CMX_EFORMAT;
    }
    err = cmx_ota_keys_add(keys, text);
    if (err == CMX_ENOSPC)
        cli_fail(path, "a device has two keys at most", NULL);
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
