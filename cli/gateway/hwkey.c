#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/gateway/enroll.h"
#include "cli/key_file.h"
#include "cmxsafe/core/secret.h"
#include "cmxsafe/identity/identity.h"

static cmx_err read_key(const char *path, uint8_t key[32], struct gw_error *e)
{
    uint8_t bytes[33];
    FILE *f = fopen(path, "rbe");
    size_t n;

    if (!f)
        return gw_error_set(e, CMX_ENOENT, NULL, "can't read %s (%s)", path, strerror(errno));
    setvbuf(f, NULL, _IONBF, 0); /* no copy of the key in a buffer of the library */
    n = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    memcpy(key, bytes, 32);
    cmx_secret_wipe(bytes, sizeof bytes);
    return n == 32 ? CMX_OK
                   : gw_error_set(e, CMX_EFORMAT, "give the file that was burnt into the eFuse",
                                  "%s is not a hardware key of 32 bytes", path);
}

cmx_err gw_key_from_hwkey(struct gw_key *k, const char *path, struct gw_error *e)
{
    char text[CMX_IDENTITY_PUBLIC_MAX + 1];
    const char *line = NULL;
    struct cmx_buf b;
    uint8_t key[32];
    cmx_err err = read_key(path, key, e);

    cmx_buf_init(&b, text, sizeof text);
    if (!err && (cmx_identity_ssh_public(key_file_hmac, key, &b) || cmx_buf_cstr(&b, &line)))
        err = gw_error_set(e, CMX_EINTERNAL, NULL, "the key can't be derived");
    cmx_secret_wipe(key, sizeof key);
    return err ? err : gw_key_parse(k, line, e);
}
