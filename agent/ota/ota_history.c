#include "agent/ota/ota_history.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cmxsafe/core/text.h"
#include "cmxsafe/port/port.h"
#include "port/linux/file_read.h"
#include "port/linux/new_file.h"

#define FILE_MAX 1024 /* enough for CMX_OTA_PAST lines */

static bool parse_line(const char *line, struct cmx_ota_past *p)
{
    char verdict[8];
    int64_t at;
    int what = 0;
    int64_t age;

    memset(p, 0, sizeof *p);
    if (sscanf(line, "%" SCNd64 " %" SCNu32 " %7s %45s %n", &at, &p->received, verdict, p->from, &what) != 4 || !what ||
        at < 0)
        return false;
    p->ok = strcmp(verdict, "ok") == 0;
    if (strcmp(p->from, "-") == 0)
        p->from[0] = '\0';
    snprintf(p->what, sizeof p->what, "%s", line + what);
    cmx_text_clean(p->what);
    cmx_text_clean(p->from);
    age = (int64_t)time(NULL) - at;
    p->at_ms = cmx_port_now_ms() - (age > 0 ? (uint64_t)age * 1000 : 0);
    return true;
}

void ota_history_read(struct ota_history *h, int folder, const char *name)
{
    char text[FILE_MAX];
    char *rest = text;
    char *line;

    h->folder = folder;
    h->n = 0;
    snprintf(h->name, sizeof h->name, "%s", name);
    (void)cmx_file_read_begin(folder, name, text, sizeof text);
    while (h->n < CMX_OTA_PAST && (line = strsep(&rest, "\n")) != NULL)
        if (parse_line(line, &h->past[h->n]))
            h->n++;
}

static size_t format(const struct ota_history *h, char *text, size_t cap)
{
    const uint64_t now_ms = cmx_port_now_ms();
    const int64_t now = (int64_t)time(NULL);
    size_t n = 0;

    for (size_t i = 0; i < h->n; i++) {
        const struct cmx_ota_past *p = &h->past[i];

        n += (size_t)snprintf(text + n, cap - n, "%" PRId64 " %" PRIu32 " %s %s %s\n",
                              now - (int64_t)((now_ms - p->at_ms) / 1000), p->received, p->ok ? "ok" : "refused",
                              p->from[0] ? p->from : "-", p->what);
    }
    return n;
}

cmx_err ota_history_add(struct ota_history *h, const struct cmx_ota_past *p)
{
    char text[FILE_MAX];

    if (h->n == CMX_OTA_PAST)
        memmove(h->past, h->past + 1, --h->n * sizeof h->past[0]);
    h->past[h->n] = *p;
    cmx_text_clean(h->past[h->n].what);
    h->n++;
    return cmx_file_replace(h->folder, h->name, text, format(h, text, sizeof text));
}

_Static_assert(CMX_OTA_PAST *(20 + 11 + 9 + CMX_IP_TEXT_MAX + sizeof((struct cmx_ota_past *)0)->what) < FILE_MAX,
               "the file has room for a line for each upload");
