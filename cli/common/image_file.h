/* image_file.h - checks an image file as a device does (cmxsafe/ota/image.h). */
#pragma once

#include <stdbool.h>

#include "cmxsafe/core/json.h"
#include "cmxsafe/core/why.h"
#include "cmxsafe/ota/image.h"

/* A policy that accepts an image for any device; the caller sets .format. */
#define IMAGE_FILE_POLICY                                                                                              \
    {                                                                                                                  \
        .chip_id = CMX_IMAGE_CHIP_ANY, .max_len = UINT32_MAX - 4096                                                    \
    }

/* Checks the file at path against the policy. On CLI_OK c describes the image; nothing needs to be released. On
 * CLI_FAILED the reason was printed, with todo as the advice (see cli_fail). */
int image_file_check(const char *path, const struct cmx_image_policy *policy, struct cmx_image *c, const char *todo);

/* Like image_file_check, but prints no message: `why` says what is wrong. */
CMX_MUST_USE cmx_err image_file_read(const char *path, const struct cmx_image_policy *policy, struct cmx_image *c,
                                     struct cmx_why *why);

/* Adds the image's description to the open object. esp: the image has ESP-IDF's format. */
void image_file_put(struct cmx_json *j, const struct cmx_image *c, bool esp);

/* Reads a public key (PEM, or 130 hex digits) from path ("-": standard input) and adds it to keys. On failure prints
 * the error. */
CMX_MUST_USE cmx_err image_file_add_key(struct cmx_ota_keys *keys, const char *path);

/* Finds a chip by its name or number: "esp32c3", "ESP32-C3", or a number. CMX_ENOENT: no such chip. */
CMX_MUST_USE cmx_err image_file_chip(const char *name, uint16_t *id);
