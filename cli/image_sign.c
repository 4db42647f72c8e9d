/* cmxsafe image sign, key - the two that hold a private key. */
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "cmxsafe/core/text.h"
#include "image.h"
#include "image_file.h"
#include "signing_key.h"

static const char sign_help[] = "usage: cmxsafe image sign --key KEY [--out FILE] [--opaque] [--replace] IMAGE\n\n"
                                "Checks IMAGE and appends a signature trailer (docs/OTA.md). Without --out IMAGE "
                                "itself is replaced, as a whole.\n\n"
                                "  --key KEY    PEM file, or a key in a token: 'pkcs11:token=NAME;object=NAME'\n"
                                "  --out FILE   where the signed image goes\n"
                                "  --opaque     IMAGE is no ESP-IDF image but any file (for a Linux device's handler)\n"
                                "  --replace    IMAGE is signed already: sign it anew\n";

struct sign_options {
    const char *key;
    const char *out;
    const char *image;
    bool opaque;
    bool replace;
};

static int sign_parse(int argc, char **argv, struct sign_options *o)
{
    static const struct option options[] = {{"key", 1, NULL, 'k'},     {"out", 1, NULL, 'o'},  {"opaque", 0, NULL, 'p'},
                                            {"replace", 0, NULL, 'r'}, {"help", 0, NULL, 'h'}, {NULL, 0, NULL, 0}};
    int c;

    opterr = 0;
    optind = 1;
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (c == 'k')
            o->key = optarg;
        else if (c == 'o')
            o->out = optarg;
        else if (c == 'p')
            o->opaque = true;
        else if (c == 'r')
            o->replace = true;
        else if (c == 'h')
            return printf("%s", sign_help), -1;
        else
            return cli_usage("cmxsafe image sign", "option '%s' is not known or lacks its value", argv[optind - 1]);
    }
    if (!o->key || optind + 1 != argc)
        return cli_usage("cmxsafe image sign", "needs --key and one image");
    o->image = argv[optind];
    if (!o->out)
        o->out = o->image;
    return CLI_OK;
}

/* The signed bytes of in, then the trailer, to a new file that takes out's place. */
static int write_signed(const char *in, const char *out, uint32_t len, const uint8_t trailer[CMX_TRAILER_LEN])
{
    char temp[4096], buf[16384];
    FILE *from = fopen(in, "rb"), *to;
    bool ok;

    if (!from)
        return cli_fail(in, strerror(errno), NULL);
    if ((size_t)snprintf(temp, sizeof temp, "%s.XXXXXX", out) >= sizeof temp) {
        fclose(from);
        return cli_fail(out, "the name is too long", NULL);
    }
    {
        int fd = mkstemp(temp);

        to = fd < 0 ? NULL : fdopen(fd, "wb");
    }
    ok = to != NULL;
    while (ok && len > 0) {
        size_t n = fread(buf, 1, len < sizeof buf ? len : sizeof buf, from);

        ok = n > 0 && fwrite(buf, 1, n, to) == n;
        len -= (uint32_t)n;
    }
    ok = ok && fwrite(trailer, 1, CMX_TRAILER_LEN, to) == CMX_TRAILER_LEN;
    ok = ok && fflush(to) == 0 && fsync(fileno(to)) == 0 && fchmod(fileno(to), 0644) == 0;
    fclose(from);
    if (to && fclose(to) != 0)
        ok = false;
    if (ok && rename(temp, out) == 0)
        return CLI_OK;
    cli_fail(out, strerror(errno), NULL);
    if (to)
        (void)unlink(temp);
    return CLI_FAILED;
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
    if (!err) { /* a token may be broken: what is written has been verified */
        memcpy(keys.key[0], pub, sizeof pub);
        err = cmx_trailer_verify(&t, &keys, t.signed_len, image->digest);
    }
    if (err)
        return cli_fail(o->key, "signing failed", "look whether the key may sign (CKA_SIGN) with ECDSA");
    cmx_trailer_write(&t, trailer);
    if (write_signed(o->image, o->out, t.signed_len, trailer) != CLI_OK)
        return CLI_FAILED;
    cmx_hex_encode(id, t.key_id, sizeof t.key_id);
    printf("%s: signed %lu bytes with key %s\n", o->out, (unsigned long)t.signed_len, id);
    return CLI_OK;
}

int image_sign(int argc, char **argv)
{
    struct sign_options o = {0};
    struct cmx_image_policy policy = IMAGE_FILE_POLICY;
    struct cmx_image image;
    struct signing_key *key;
    int rc = sign_parse(argc, argv, &o);

    if (rc != CLI_OK)
        return rc < 0 ? CLI_OK : rc;
    policy.format = o.opaque ? CMX_IMAGE_OPAQUE : CMX_IMAGE_ESP;
    rc = image_file_check(o.image, &policy, &image, o.opaque ? NULL : "give --opaque if it is no ESP-IDF image");
    if (rc != CLI_OK)
        return rc;
    if (image.has_trailer && !o.replace)
        return cli_fail(o.image, "it is signed already", "give --replace to sign it anew");
    if (signing_key_open(&key, o.key) != CMX_OK)
        return CLI_FAILED;
    rc = sign_with(&o, &image, key);
    signing_key_close(key);
    return rc;
}

int image_key(int argc, char **argv)
{
    static const struct option options[] = {
        {"key", 1, NULL, 'k'}, {"pem", 0, NULL, 'p'}, {"help", 0, NULL, 'h'}, {NULL, 0, NULL, 0}};
    const char *where = NULL;
    struct signing_key *key;
    uint8_t pub[CMX_P256_PUBLIC_LEN];
    char hex[2 * CMX_P256_PUBLIC_LEN + 1];
    bool pem = false;
    cmx_err err;
    int c;

    opterr = 0;
    optind = 1;
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (c == 'h')
            return printf(
                       "usage: cmxsafe image key --key KEY [--pem]\n\nPrints the public half of KEY (a PEM file or a "
                       "pkcs11: URI) as OTA_PUBLIC_KEY takes it: 130 hex digits, or PEM.\n"),
                   CLI_OK;
        if (c == 'k')
            where = optarg;
        else if (c == 'p')
            pem = true;
        else
            return cli_usage("cmxsafe image key", "option '%s' is not known or lacks its value", argv[optind - 1]);
    }
    if (!where || optind != argc)
        return cli_usage("cmxsafe image key", "needs --key and nothing else");
    if (signing_key_open(&key, where) != CMX_OK)
        return CLI_FAILED;
    err = pem ? signing_key_print_pem(key) : signing_key_public(key, pub);
    signing_key_close(key);
    if (err)
        return cli_fail(where, "its public half cannot be read", NULL);
    if (!pem) {
        cmx_hex_encode(hex, pub, sizeof pub);
        puts(hex);
    }
    return CLI_OK;
}
