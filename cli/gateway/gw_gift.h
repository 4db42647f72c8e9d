/* gw_gift.h - parses the settings and host keys that 'join --give' prints on another gateway: lines "KEY VALUE", then
 * each file as a line with its name, its content, and the line GW_GIFT_FILE_END. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define GW_GIFT_FILE_END "END\n"

/* Copies the value of the first line that begins with the key. False: there is no such line, its value is empty, or the
 * value does not fit into cap bytes; out is then "". */
bool gw_gift_value(const char *gift, const char *key, char *out, size_t cap);
/* Finds the content of a file. NULL: the gift does not have the whole file, or it is empty. */
const char *gw_gift_file(const char *gift, const char *name, size_t *len);
