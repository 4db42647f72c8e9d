/* Reads any text as the output of 'join --give'. A value must be one line of the text, and a file a part of it that
 * ends with a newline. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/gateway/gw_gift.h"
#include "fuzz/must.h"

static void check_value(const char *gift, const char *key, size_t cap)
{
    char value[64];
    char line[sizeof value + 16];
    const char *at;

    memset(value, 'x', sizeof value);
    if (!gw_gift_value(gift, key, value, cap)) {
        must(value[0] == '\0');
        return;
    }
    must(value[0] != '\0' && strlen(value) < cap && !strchr(value, '\n'));
    snprintf(line, sizeof line, "%s %s", key, value);
    at = strstr(gift, line);
    while (at && ((at > gift && at[-1] != '\n') || (at[strlen(line)] != '\n' && at[strlen(line)] != '\0')))
        at = strstr(at + 1, line);
    must(at != NULL);
}

static void check_file(const char *gift, const char *name)
{
    size_t len = 0;
    const char *file = gw_gift_file(gift, name, &len);
    const size_t before = strlen(name) + 2; /* the line with the name, and the newline before it */

    if (!file)
        return;
    must(len > 0 && file >= gift + before && file + len <= gift + strlen(gift));
    must(file[len - 1] == '\n' && strncmp(file + len, GW_GIFT_FILE_END, strlen(GW_GIFT_FILE_END)) == 0);
    must(file[-1] == '\n' && file[-(ptrdiff_t)before] == '\n' && strncmp(file - before + 1, name, strlen(name)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *gift = malloc(size + 1);

    must(gift != NULL);
    memcpy(gift, data, size);
    gift[size] = '\0';
    check_value(gift, "fleet", 64);
    check_value(gift, "links", 8);
    check_value(gift, "id", 1);
    check_file(gift, "hostkey_ed25519");
    check_file(gift, "hostkey_ed25519.pub");
    free(gift);
    return 0;
}
