/* Reads the lines of any text as the headers Host, Origin and Sec-Fetch-Site of a request. An accepted host must be an
 * address, localhost, the configured name, or a name under .cmx, which no public DNS server resolves. An accepted
 * origin must name the host. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cmxsafe/core/ip.h"
#include "cmxsafe/ota/origin.h"

static bool ends_with(const char *text, size_t len, const char *end)
{
    const size_t n = strlen(end);

    return len >= n && strncasecmp(text + len - n, end, n) == 0;
}

/* Checks an accepted Host header without cmx_text_split_host. */
static void check_host(const char *host)
{
    char copy[300];
    struct cmx_ip ip;
    const char *colon = strchr(host, ':');
    size_t len = colon && colon == strrchr(host, ':') ? (size_t)(colon - host) : strlen(host);

    if (strlen(host) >= sizeof copy)
        abort();
    if (host[0] == '[') {
        len = strcspn(host, "]");
        if (host[len] != ']')
            abort();
        memcpy(copy, host + 1, len - 1);
        copy[len - 1] = 0;
        if (!cmx_ip_is_text6(copy))
            abort();
        return;
    }
    memcpy(copy, host, len);
    copy[len] = 0;
    if (!cmx_ip_parse(&ip, copy) && strcasecmp(copy, "localhost") != 0 && strcasecmp(copy, "cam-1.lab") != 0 &&
        !ends_with(copy, len, ".cmx"))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"cam-1.lab"};
    const char *line[3] = {NULL, NULL, NULL};
    char *text = malloc(size + 1);
    char *at = text;

    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = 0;
    for (size_t i = 0; i < 3 && at; i++)
        line[i] = strsep(&at, "\n");
    if (cmx_origin_host_ok(line[0], names, 1))
        check_host(line[0]);
    if (cmx_origin_same(line[1], line[2], line[0]) && line[1] && !ends_with(line[1], strlen(line[1]), line[0]))
        abort();
    free(text);
    return 0;
}
