/* cmxsafe image verify, info - the two that need no private key. */
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>

#include "cli.h"
#include "cmxsafe/core/json.h"
#include "cmxsafe/core/text.h"
#include "image.h"
#include "image_file.h"

static const char verify_help[] =
    "usage: cmxsafe image verify --key PUBLIC [--key PUBLIC] [--chip NAME] [--min-secure-version N] [--opaque] "
    "IMAGE\n\n"
    "Checks IMAGE as a device with these keys does before it activates it. Exit status 0: it would be accepted.\n\n"
    "  --key PUBLIC   file with a public key, PEM or hex; two at most\n"
    "  --chip NAME    the device's chip, such as esp32c3; without it any\n"
    "  --min-secure-version N   the device's floor\n"
    "  --opaque       IMAGE is no ESP-IDF image but any file\n";

static int verify_parse(int argc, char **argv, struct cmx_image_policy *p, const char **image)
{
    static const struct option options[] = {{"key", 1, NULL, 'k'},    {"chip", 1, NULL, 'c'},
                                            {"opaque", 0, NULL, 'p'}, {"min-secure-version", 1, NULL, 's'},
                                            {"help", 0, NULL, 'h'},   {NULL, 0, NULL, 0}};
    uint64_t floor;
    int c;

    opterr = 0;
    optind = 1;
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (c == 'h')
            return printf("%s", verify_help), -1;
        if (c == 'k') {
            if (image_file_add_key(&p->keys, optarg) != CMX_OK)
                return CLI_FAILED;
        } else if (c == 'c') {
            if (image_file_chip(optarg, &p->chip_id) != CMX_OK)
                return cli_usage("cmxsafe image verify", "no chip is called '%s'", optarg);
        } else if (c == 's') {
            if (cmx_text_u64(optarg, 0, UINT32_MAX, &floor) != CMX_OK)
                return cli_usage("cmxsafe image verify", "'%s' is no secure version", optarg);
            p->secure_version_min = (uint32_t)floor;
        } else if (c == 'p') {
            p->format = CMX_IMAGE_OPAQUE;
        } else {
            return cli_usage("cmxsafe image verify", "option '%s' is not known or lacks its value", argv[optind - 1]);
        }
    }
    if (p->keys.n == 0 || optind + 1 != argc)
        return cli_usage("cmxsafe image verify", "needs --key and one image");
    *image = argv[optind];
    return CLI_OK;
}

int image_verify(int argc, char **argv)
{
    struct cmx_image_policy policy = IMAGE_FILE_POLICY;
    const char *path = NULL;
    struct cmx_image image;
    char id[2 * CMX_TRAILER_KEY_ID_LEN + 1];
    int rc = verify_parse(argc, argv, &policy, &path);

    if (rc != CLI_OK)
        return rc < 0 ? CLI_OK : rc;
    rc = image_file_check(path, &policy, &image, "a device with these keys refuses it");
    if (rc != CLI_OK)
        return rc;
    cmx_hex_encode(id, image.trailer.key_id, sizeof image.trailer.key_id);
    printf("%s: good, signed with key %s\n", path, id);
    return CLI_OK;
}

static void info_json(const struct cmx_image *c, bool esp)
{
    static uint8_t mem[2048];
    struct cmx_buf out;
    struct cmx_json j;
    const char *text;

    cmx_buf_init(&out, mem, sizeof mem);
    cmx_json_init(&j, &out);
    cmx_json_object(&j, NULL);
    cmx_json_str(&j, "format", esp ? "esp-idf" : "opaque");
    if (esp) {
        cmx_json_str(&j, "chip", cmx_image_chip_name(c->info.chip_id));
        cmx_json_str(&j, "version", c->info.version);
        cmx_json_str(&j, "project", c->info.project);
        cmx_json_u64(&j, "secure_version", c->info.secure_version);
        cmx_json_str(&j, "idf", c->info.idf);
        cmx_json_u64(&j, "segments", c->info.segments);
        cmx_json_bool(&j, "secure_boot_v2", c->has_secure_boot);
    }
    cmx_json_u64(&j, "bytes", c->signed_len);
    cmx_json_hex(&j, "sha256", c->digest, sizeof c->digest);
    if (c->has_trailer)
        cmx_json_hex(&j, "signed_by", c->trailer.key_id, sizeof c->trailer.key_id);
    else
        cmx_json_null(&j, "signed_by");
    cmx_json_end(&j);
    if (cmx_json_finish(&j) == CMX_OK && cmx_buf_cstr(&out, &text) == CMX_OK)
        puts(text);
}

static void info_text(const struct cmx_image *c, bool esp)
{
    char sha[2 * CMX_SHA256_LEN + 1], id[2 * CMX_TRAILER_KEY_ID_LEN + 1];

    if (esp) {
        printf("chip            %s\n", cmx_image_chip_name(c->info.chip_id));
        printf("version         %s\n", c->info.version);
        printf("project         %s\n", c->info.project);
        printf("built           %s%s%s%sESP-IDF %s\n", c->info.date, c->info.date[0] ? " " : "", c->info.time,
               c->info.date[0] || c->info.time[0] ? ", " : "", c->info.idf);
        printf("secure version  %" PRIu32 "\n", c->info.secure_version);
        printf("segments        %u\n", (unsigned)c->info.segments);
    }
    cmx_hex_encode(sha, c->digest, sizeof c->digest);
    printf("bytes           %" PRIu32 "\n", c->signed_len);
    printf("sha256          %s\n", sha);
    if (c->has_secure_boot)
        printf("secure boot     v2 signature sector\n");
    cmx_hex_encode(id, c->trailer.key_id, sizeof c->trailer.key_id);
    printf("signature       %s%s\n", c->has_trailer ? "trailer version 1, key " : "none", c->has_trailer ? id : "");
}

int image_info(int argc, char **argv)
{
    static const struct option options[] = {
        {"json", 0, NULL, 'j'}, {"opaque", 0, NULL, 'p'}, {"help", 0, NULL, 'h'}, {NULL, 0, NULL, 0}};
    struct cmx_image_policy policy = IMAGE_FILE_POLICY;
    struct cmx_image image;
    bool json = false;
    int c, rc;

    opterr = 0;
    optind = 1;
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (c == 'h')
            return printf(
                       "usage: cmxsafe image info [--json] [--opaque] IMAGE\n\nPrints what IMAGE says of itself, and "
                       "whether it is whole. Signatures are not checked: see verify.\n"),
                   CLI_OK;
        if (c == 'j')
            json = true;
        else if (c == 'p')
            policy.format = CMX_IMAGE_OPAQUE;
        else
            return cli_usage("cmxsafe image info", "option '%s' is not known", argv[optind - 1]);
    }
    if (optind + 1 != argc)
        return cli_usage("cmxsafe image info", "needs one image");
    rc = image_file_check(argv[optind], &policy, &image, NULL);
    if (rc != CLI_OK)
        return rc;
    (json ? info_json : info_text)(&image, policy.format == CMX_IMAGE_ESP);
    return CLI_OK;
}
