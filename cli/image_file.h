/* image_file.h - runs a file through the same checks that a device makes (cmxsafe/ota/image.h). */
#ifndef CMX_CLI_IMAGE_FILE_H
#define CMX_CLI_IMAGE_FILE_H

#include <stdbool.h>

#include "cmxsafe/ota/image.h"

/* Reads path through c, which is ready (cmx_image_init), and finishes it. On an error c->why, or errno for CMX_EIO and
 * CMX_ENOENT, says more. */
CMX_MUST_USE cmx_err image_file_check(const char *path, struct cmx_image *c);

/* Adds the public key in path: PEM, or 130 hex digits. The error was printed. */
CMX_MUST_USE cmx_err image_file_add_key(struct cmx_ota_keys *keys, const char *path);

/* "esp32c3", "ESP32-C3", or a number. CMX_ENOENT: no such chip. */
CMX_MUST_USE cmx_err image_file_chip(const char *name, uint16_t *id);

/* Why image_file_check failed, for cli_fail. */
const char *image_file_why(const struct cmx_image *c, cmx_err err);

#endif
