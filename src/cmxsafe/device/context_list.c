#include "cmxsafe/device/context_list.h"

#include <string.h>

#include "cmxsafe/core/text.h"

#define HIGH_BW "+high_bw"

static cmx_err read_port(const char *s, size_t len, int *port)
{
    uint32_t n;

    if (len > 5 || cmx_text_u32(s, len, &n) != CMX_OK || n - 1 >= UINT16_MAX)
        return CMX_EFORMAT;
    *port = (int)n;
    return CMX_OK;
}

static bool ends_high_bw(const char *s, size_t len)
{
    return len > strlen(HIGH_BW) && memcmp(s + len - strlen(HIGH_BW), HIGH_BW, strlen(HIGH_BW)) == 0;
}

cmx_err cmx_context_list_next(const char **text, TaskParameters *out)
{
    const char *s = *text + strspn(*text, " ");
    size_t len = strcspn(s, " "), local;
    const char *end = s + len;
    TaskParameters t = {.high_bw = ends_high_bw(s, len)};

    if (!len)
        return CMX_ENOENT;
    if (t.high_bw)
        len -= strlen(HIGH_BW);
    local = strcspn(s, ": +");
    local = local < len ? local : len;
    if (read_port(s, local, &t.local_port) != CMX_OK)
        return CMX_EFORMAT;
    t.forward_remote_port = t.local_port;
    if (local < len && (s[local] != ':' || read_port(s + local + 1, len - local - 1, &t.forward_remote_port) != CMX_OK))
        return CMX_EFORMAT;
    *out = t;
    *text = end;
    return CMX_OK;
}
