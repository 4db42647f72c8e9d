/* image.c - `cmxsafe-board image FILE`: something to update a virtual board with. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "board.h"
#include "cmxsafe/ota/image.h"
#include "cmxsafe/version.h"

#define VERSION_MAX 31 /* esp_app_desc_t.version, without the NUL */

static int print_help(void)
{
    puts("usage: cmxsafe-board image FILE [OPTION ...]\n\n"
         "Makes an application image in ESP-IDF's format. The virtual board's program stays the same whatever the "
         "image\n"
         "holds; its version is the image's.\n\n"
         "  --version TEXT  what it says it is (default: this program's version)\n"
         "  --chip NAME     as for create (default: esp32s3)");
    return BOARD_OK;
}

static int make(const char *path, const char *chip, const char *version)
{
    uint8_t image[BOARD_FACTORY_LEN];
    uint16_t chip_id;
    size_t len = 0;
    FILE *f;
    cmx_err err = cmx_image_chip_id(chip, &chip_id);

    if (err)
        return board_usage("chip '%s': not known", chip);
    err = board_factory_image(image, chip_id, version, &len);
    if (err)
        return board_fail(path, cmx_err_text(err), NULL);
    f = fopen(path, "wb");
    if (!f)
        return board_fail(path, strerror(errno), NULL);
    if (fwrite(image, 1, len, f) != len) {
        fclose(f);
        return board_fail(path, strerror(errno), NULL);
    }
    return fclose(f) ? board_fail(path, strerror(errno), NULL) : BOARD_OK;
}

int board_cmd_image(int argc, char **argv)
{
    static const struct option options[] = {
        {"help", no_argument, NULL, 'h'},
        {"version", required_argument, NULL, 'v'},
        {"chip", required_argument, NULL, 'c'},
        {NULL, 0, NULL, 0},
    };
    const char *chip = "esp32s3", *version = CMX_VERSION;
    int c;

    opterr = 0;
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (c == 'h')
            return print_help();
        if (c == 'v')
            version = optarg;
        else if (c == 'c')
            chip = optarg;
        else
            return board_usage("image: option '%s' is not known or lacks its value", argv[optind - 1]);
    }
    if (optind + 1 != argc)
        return board_usage("image: name one file");
    if (!*version || strlen(version) > VERSION_MAX)
        return board_usage("version: 1 to %d characters", VERSION_MAX);
    return make(argv[optind], chip, version);
}
