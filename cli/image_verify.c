/* cmxsafe image verify, info - the image commands that need no private key. */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>

#include "cli/common/image_file.h"
#include "cli/image_tool.h"
#include "cmxsafe/core/text.h"
#include "gateway/folder/gw_json.h"
#include "port/linux/cli.h"

static const char verify_about[] =
    "Checks IMAGE as a device with these keys does before it activates an image. The exit "
    "status is 0 if the device would accept "
    "the image.";

static const char info_about[] =
    "Prints the description in IMAGE, and whether IMAGE is complete. Signatures are not checked; see verify.";

static int verify_parse(int argc, char **argv, struct cmx_image_policy *p, const char **image)
{
    struct cli_list keys = {.n = 0};
    const char *chip = NULL;
    bool opaque = false;
    uint64_t floor = 0;
    const struct cli_option options[] = {
        CLI_LIST("key", "PUBLIC", "a file with a public key, PEM or hex; at most two", &keys, .required = true),
        CLI_TEXT("chip", "NAME", "the device's chip, such as esp32c3 (default: any chip)", &chip, .except = "opaque"),
        CLI_NUMBER("min-secure-version", "N", 0, UINT32_MAX, "the lowest secure version that the device accepts",
                   &floor, .except = "opaque"),
        CLI_FLAG("opaque", "treat IMAGE as a plain file, not as an ESP-IDF image", &opaque),
    };
    struct cli_line line = CLI_LINE("cmxsafe image verify", "IMAGE", verify_about, 1, 1, options);
    int status;

    if (cli_parse(&line, argc, argv, &status))
        return status ? status : -1;
    for (size_t i = 0; i < keys.n; i++)
        if (image_file_add_key(&p->keys, keys.item[i]) != CMX_OK)
            return CLI_FAILED;
    if (chip && image_file_chip(chip, &p->chip_id) != CMX_OK)
        return cli_usage(line.command, "--chip '%s': unknown chip", chip);
    p->secure_version_min = (uint32_t)floor;
    if (opaque)
        p->format = CMX_IMAGE_OPAQUE;
    *image = line.operand[0];
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
    cmx_text_hex_encode(id, image.trailer.key_id, sizeof image.trailer.key_id);
    printf("%s: good, signed with key %s\n", path, id);
    return CLI_OK;
}

static void info_json(const struct cmx_image *c, bool esp)
{
    struct gw_json out;

    gw_json_begin_stdout(&out);
    image_file_put(&out.j, c, esp);
    gw_json_end_stdout(&out);
}

static void info_text(const struct cmx_image *c, bool esp)
{
    char sha[CMX_SHA256_HEX], id[2 * CMX_TRAILER_KEY_ID_LEN + 1];
    struct cmx_image_build build;

    if (esp) {
        cmx_image_built(c->head, &build);
        printf("chip            %s\n", cmx_image_chip_name(c->info.chip_id));
        printf("version         %s\n", c->info.version);
        printf("project         %s\n", c->info.project);
        printf("built           %s%s%s%sESP-IDF %s\n", build.date, build.date[0] ? " " : "", build.time,
               build.date[0] || build.time[0] ? ", " : "", build.idf);
        printf("secure version  %" PRIu32 "\n", c->info.secure_version);
        printf("segments        %u\n", (unsigned)c->info.segments);
    }
    cmx_text_hex_encode(sha, c->digest, sizeof c->digest);
    printf("bytes           %" PRIu32 "\n", c->signed_len);
    printf("sha256          %s\n", sha);
    if (c->has_secure_boot)
        printf("secure boot     v2 signature sector\n");
    cmx_text_hex_encode(id, c->trailer.key_id, sizeof c->trailer.key_id);
    printf("signature       %s%s\n", c->has_trailer ? "trailer version 1, key " : "none", c->has_trailer ? id : "");
}

int image_info(int argc, char **argv)
{
    bool json = false, opaque = false;
    const struct cli_option options[] = {
        CLI_FLAG("json", "print one JSON object", &json),
        CLI_FLAG("opaque", "treat IMAGE as a plain file, not as an ESP-IDF image", &opaque),
    };
    struct cli_line line = CLI_LINE("cmxsafe image info", "IMAGE", info_about, 1, 1, options);
    struct cmx_image_policy policy = IMAGE_FILE_POLICY;
    struct cmx_image image;
    int rc;

    if (cli_parse(&line, argc, argv, &rc))
        return rc;
    if (opaque)
        policy.format = CMX_IMAGE_OPAQUE;
    rc = image_file_check(line.operand[0], &policy, &image, NULL);
    if (rc != CLI_OK)
        return rc;
    (json ? info_json : info_text)(&image, policy.format == CMX_IMAGE_ESP);
    return CLI_OK;
}
