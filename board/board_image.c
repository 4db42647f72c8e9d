/* board_image.c - `cmxsafe-board image FILE`: makes an image for updating a virtual board. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "board/board.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/version.h"
#include "port/linux/new_file.h"

#define COMMAND "cmxsafe-board image"
#define VERSION_MAX 31 /* esp_app_desc_t.version, without the NUL */

static const char about[] =
    "Makes an application image in ESP-IDF's format. The virtual board always runs the program cmxsafe-board; only the "
    "version that it reports comes from the image.";

static int make(const char *path, const char *chip, const char *version)
{
    uint8_t image[BOARD_FACTORY_LEN];
    size_t len = 0;
    struct cmx_new_file to;
    cmx_err err = board_factory_image(image, chip, version, &len);

    if (err)
        return cli_fail(path, cmx_err_text(err), NULL);
    err = cmx_new_file_open(&to, path, NULL);
    if (!err) {
        (void)fwrite(image, 1, len, to.f); /* cmx_new_file_close reports a failed write */
        err = cmx_new_file_close(&to, true);
    }
    return err ? cli_fail(path, strerror(errno), NULL) : CLI_OK;
}

static bool is_version(const char *text)
{
    const size_t len = strlen(text);

    for (size_t i = 0; i < len; i++)
        if (cmx_text_printable(text[i]) != text[i])
            return false;
    return len > 0 && len <= VERSION_MAX;
}

int board_cmd_image(int argc, char **argv)
{
    const char *chip = "esp32s3", *version = CMX_VERSION;
    const struct cli_option options[] = {
        CLI_TEXT("version", "TEXT", "the version that the image reports", &version),
        CLI_TEXT("chip", "NAME", "the chip that the image is for", &chip, .choices = board_chips),
    };
    struct cli_line line = CLI_LINE(COMMAND, "FILE", about, 1, 1, options);
    int status;

    if (cli_parse(&line, argc, argv, &status))
        return status;
    if (!is_version(version))
        return cli_usage(COMMAND, "--version takes 1 to %d printable ASCII characters", VERSION_MAX);
    if (cli_output_check(line.operand[0]))
        return CLI_FAILED;
    return make(line.operand[0], chip, version);
}
