/* cmxsafe image sign, key - the image commands that use a private key. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "cli/common/image_file.h"
#include "cli/common/output_file.h"
#include "cli/image_tool.h"
#include "cli/signing_key.h"
#include "cmxsafe/core/text.h"
#include "port/linux/cli.h"
#include "port/linux/file_read.h"

static const char sign_about[] = "Checks IMAGE and appends a signature trailer (docs/OTA.md). Without --out the signed "
                                 "image replaces IMAGE in one step.";

static const char key_about[] =
    "Prints the public half of a signing key in a form for OTA_PUBLIC_KEY: 130 hex digits, or PEM.";

static const char key_help[] = "a PEM file, or a key in a token: 'pkcs11:token=NAME;object=NAME'";

struct sign_options {
    const char *key;
    const char *out;
    const char *image;
    bool opaque;
    bool replace;
};

/* Writes the first `len` bytes of `in`, then the trailer, to a new file, which then replaces `out`. Fails if `out` and
 * `key` are the same file. */
static int write_signed(const char *in, const char *out, const char *key, uint32_t len,
                        const uint8_t trailer[CMX_TRAILER_LEN])
{
    char buf[16384];
    FILE *from = cmx_file_open(in);
    struct cmx_new_file to;
    int unreadable = 0; /* errno of a failed read; 0: no read failed */
    bool ok = true, whole = true;

    if (!from)
        return cli_fail(in, strerror(errno), NULL);
    if (output_file_open(&to, out, key)) {
        fclose(from);
        return CLI_FAILED;
    }
    while (ok && len > 0) {
        size_t n = fread(buf, 1, len < sizeof buf ? len : sizeof buf, from);

        whole = n > 0;
        ok = whole && fwrite(buf, 1, n, to.f) == n;
        len -= (uint32_t)n;
    }
    ok = ok && fwrite(trailer, 1, CMX_TRAILER_LEN, to.f) == CMX_TRAILER_LEN;
    if (ferror(from))
        unreadable = errno;
    fclose(from);
    if (cmx_new_file_close(&to, ok) == CMX_OK && ok)
        return CLI_OK;
    if (unreadable)
        return cli_fail(in, strerror(unreadable), NULL);
    return whole ? cli_fail(out, strerror(errno), NULL) : cli_fail(in, "was changed while it was read", "try again");
}

static int sign_with(const struct sign_options *o, const struct cmx_image *image, struct signing_key *key)
{
    struct cmx_trailer t = {.signed_len = image->signed_len};
    uint8_t pub[CMX_P256_PUBLIC_LEN], message[CMX_TRAILER_MESSAGE_LEN], trailer[CMX_TRAILER_LEN];
    struct cmx_ota_keys keys = {.n = 1};
    char id[2 * CMX_TRAILER_KEY_ID_LEN + 1];
    cmx_err err = signing_key_public(key, pub);

    if (!err)
        err = cmx_trailer_key_id(pub, t.key_id);
    if (!err) {
        cmx_trailer_message(&t, image->digest, message);
        err = signing_key_sign(key, message, sizeof message, t.signature);
    }
    if (!err) { /* a PKCS#11 token may be faulty, so verify the signature before writing it */
        memcpy(keys.key[0], pub, sizeof pub);
        err = cmx_trailer_verify(&t, &keys, t.signed_len, image->digest);
    }
    if (err)
        return cli_fail(o->image, "signing failed", "check that the key may sign (CKA_SIGN) with ECDSA");
    cmx_trailer_write(&t, trailer);
    if (write_signed(o->image, o->out, o->key, t.signed_len, trailer) != CLI_OK)
        return CLI_FAILED;
    cmx_text_hex_encode(id, t.key_id, sizeof t.key_id);
    printf("%s: signed %lu bytes with key %s\n", o->out, (unsigned long)t.signed_len, id);
    return CLI_OK;
}

int image_sign(int argc, char **argv)
{
    struct sign_options o = {0};
    const struct cli_option options[] = {
        CLI_TEXT("key", "KEY", key_help, &o.key, .required = true),
        CLI_TEXT("out", "FILE", "write the signed image to FILE", &o.out),
        CLI_FLAG("opaque", "treat IMAGE as a plain file, for a Linux device, not as an ESP-IDF image", &o.opaque),
        CLI_FLAG("replace", "replace the signature of an image that is signed already", &o.replace),
    };
    struct cli_line line = CLI_LINE("cmxsafe image sign", "IMAGE", sign_about, 1, 1, options);
    struct cmx_image_policy policy = IMAGE_FILE_POLICY;
    struct cmx_image image;
    struct signing_key *key;
    int rc;

    if (cli_parse(&line, argc, argv, &rc))
        return rc;
    o.image = line.operand[0];
    if (!o.out)
        o.out = o.image;
    policy.format = o.opaque ? CMX_IMAGE_OPAQUE : CMX_IMAGE_ESP;
    rc = image_file_check(o.image, &policy, &image, o.opaque ? NULL : "give --opaque if it is not an ESP-IDF image");
    if (rc != CLI_OK)
        return rc;
    if (image.has_trailer && !o.replace)
        return cli_fail(o.image, "it is signed already", "give --replace to replace the signature");
    if (signing_key_open(&key, o.key) != CMX_OK)
        return CLI_FAILED;
    rc = sign_with(&o, &image, key);
    signing_key_close(key);
    return rc;
}

int image_key(int argc, char **argv)
{
    const char *where = NULL;
    bool pem = false;
    const struct cli_option options[] = {
        CLI_TEXT("key", "KEY", key_help, &where, .required = true),
        CLI_FLAG("pem", "print PEM", &pem),
    };
    struct cli_line line = CLI_LINE("cmxsafe image key", "", key_about, 0, 0, options);
    struct signing_key *key;
    uint8_t pub[CMX_P256_PUBLIC_LEN];
    char hex[2 * CMX_P256_PUBLIC_LEN + 1];
    cmx_err err;
    int rc;

    if (cli_parse(&line, argc, argv, &rc))
        return rc;
    if (signing_key_open(&key, where) != CMX_OK)
        return CLI_FAILED;
    err = pem ? signing_key_print_pem(key) : signing_key_public(key, pub);
    signing_key_close(key);
    if (err)
        return cli_fail("the key", "its public half can't be read", NULL);
    if (!pem) {
        cmx_text_hex_encode(hex, pub, sizeof pub);
        puts(hex);
    }
    return CLI_OK;
}
