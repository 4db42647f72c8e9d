#include "cli/common/key_file.h"

#include <string.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/why.h"
#include "cmxsafe/port/crypto.h"
#include "port/linux/file_read.h"

#define KEY_FILE_MAX ((size_t)64 * 1024)

cmx_err key_file_read(const char *path, uint8_t key[CMX_HMAC_KEY_LEN], struct cmx_why *why)
{
    size_t len = 0;
    char *bytes = NULL;
    cmx_err err = cmx_file_read_any(path, KEY_FILE_MAX, &bytes, &len, why);

    if (err && err != CMX_ENOSPC)
        return err;
    if (!err && len == 32)
        memcpy(key, bytes, CMX_HMAC_KEY_LEN);
    else if (!err && memmem(bytes, len, CMX_ATTEST_KEY_TYPE " ", strlen(CMX_ATTEST_KEY_TYPE " ")))
        err = cmx_why_fail(why, CMX_EFORMAT, "holds public keys, not the device's 32-byte hardware key");
    else
        err = cmx_why_fail(why, CMX_EFORMAT, "is not 32 bytes long");
    cmx_mem_free_secret(bytes);
    return err;
}

cmx_err key_file_hmac(void *arg, const void *msg, size_t len, uint8_t out[CMX_SHA256_LEN])
{
    struct cmx_hmac mac;
    cmx_err err = cmx_hmac_init(&mac, arg, CMX_HMAC_KEY_LEN);

    if (err)
        return err;
    err = cmx_hmac_update(&mac, msg, len);
    if (!err)
        return cmx_hmac_finish(&mac, out);
    cmx_hmac_abort(&mac);
    return err;
}

cmx_err key_file_read_attest(const char *path, struct cmx_attest_key *out, struct cmx_why *why)
{
    size_t len = 0;
    char *text;
    cmx_err err = cmx_file_read_text(path, KEY_FILE_MAX, &text, &len, why);

    if (err)
        return err;
    err = CMX_EFORMAT;
    for (const char *line = text; err && *line; line += strcspn(line, "\n"), line += *line == '\n')
        err = cmx_attest_key_parse(line, strcspn(line, "\n"), out);
    cmx_mem_free_secret(text);
    if (err)
        cmx_why_set(why, "holds no line that begins with " CMX_ATTEST_KEY_TYPE);
    return err;
}
