/* Parses any bytes as a line of a known_hosts file. A line must never be both a pin and a revocation. */
#include <stdlib.h>
#include <string.h>

#include "agent/config/known_hosts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *line = malloc(size + 1);
    const char *key = NULL;
    bool pin, revoked;

    if (!line)
        return 0;
    memcpy(line, data, size);
    line[size] = 0;
    pin = known_hosts_match(line, "gw.example.org", 22);
    revoked = known_hosts_revoked(line, "gw.example.org", 22, &key);
    if (pin && revoked)
        abort();
    if (revoked && (!key || key < line || key > line + size || !*key))
        abort();
    if (pin && !known_hosts_key(line))
        abort();
    free(line);
    return 0;
}
