/* image_file.h - runs a file through the same checks that a device makes (cmxsafe/ota/image.h). */
#ifndef CMX_CLI_IMAGE_FILE_H
#define CMX_CLI_IMAGE_FILE_H

#include <stdbool.h>

#include "cmxsafe/ota/image.h"

/* What a desk accepts, whatever device it is for; .format is left to the caller. */
#define IMAGE_FILE_POLICY                                                                                              \
    {                                                                                                                  \
        .chip_id = CMX_IMAGE_CHIP_ANY, .max_len = UINT32_MAX - 4096                                                    \
    }

/* Reads path through all the checks of that policy; c then tells what was found, and holds nothing. CLI_OK, or
 * CLI_FAILED with the reason printed; todo as cli_fail's. */
int image_file_check(const char *path, const struct cmx_image_policy *policy, struct cmx_image *c, const char *todo);

/* Adds the public key in path: PEM, or 130 hex digits. The error was printed. */
CMX_MUST_USE cmx_err image_file_add_key(struct cmx_ota_keys *keys, const char *path);

/* "esp32c3", "ESP32-C3", or a number. CMX_ENOENT: no such chip. */
CMX_MUST_USE cmx_err image_file_chip(const char *name, uint16_t *id);

#endif
