#include "cli/gateway/gw_child.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "cli/common/json_get.h"
#include "cmxsafe/core/text.h"
#include "gateway/server/gw_inside.h"

#define LINE_MAX_CHARS 512
#define JSON_MAX 16384 /* size limit; attest and update print less */

void gw_child_url(const char *address, uint64_t port, char *out, size_t cap)
{
    if (address[0])
        snprintf(out, cap, "http://[%s]:%llu", address, (unsigned long long)port);
    else
        snprintf(out, cap, "http://localhost:%llu", (unsigned long long)port);
}

/* Other children must not inherit the file. */
static FILE *own_file(void)
{
    FILE *f = tmpfile();

    if (f)
        fcntl(fileno(f), F_SETFD, FD_CLOEXEC);
    return f;
}

bool gw_child_start(struct gw_child *c, const struct gw *g, bool unprivileged, const char *argv[])
{
    c->pid = -1;
    c->output = own_file();
    c->errors = own_file();
    argv[0] = "cmxsafe";
    if (c->output && c->errors)
        c->pid = gw_inside_start(g, unprivileged, fileno(c->output), fileno(c->errors), argv);
    return c->pid > 0;
}

static bool last_line(FILE *f, char *out, size_t cap)
{
    char line[LINE_MAX_CHARS];

    out[0] = '\0';
    if (!f)
        return false;
    rewind(f);
    while (fgets(line, sizeof line, f))
        if (line[0] != '\n')
            snprintf(out, cap, "%s", line);
    out[strcspn(out, "\r\n")] = '\0';
    cmx_text_clean(out);
    return out[0] != '\0';
}

void gw_child_last_line(const struct gw_child *c, bool good, char *out, size_t cap)
{
    if (!(good && last_line(c->output, out, cap)) && !last_line(c->errors, out, cap) && !last_line(c->output, out, cap))
        snprintf(out, cap, "no output");
}

static bool read_output(const struct gw_child *c, char text[JSON_MAX])
{
    size_t n;

    if (!c->output)
        return false;
    rewind(c->output);
    n = fread(text, 1, JSON_MAX - 1, c->output);
    text[n] = '\0';
    return true;
}

bool gw_child_json(const struct gw_child *c, const char *path, char *out, size_t cap)
{
    char text[JSON_MAX];

    out[0] = '\0';
    return read_output(c, text) && json_text(text, path, out, cap);
}

void gw_child_claims(const struct gw_child *c, char out[GW_CLAIMS_MAX])
{
    char text[JSON_MAX];
    char name[32];
    char result[16];
    char found[96];
    size_t used = 0;

    out[0] = '\0';
    if (!read_output(c, text))
        return;
    for (const char *object = json_first(text, "checks"); object; object = json_next(object)) {
        int n;

        if (!json_text(object, "check", name, sizeof name))
            return;
        json_text(object, "result", result, sizeof result);
        json_text(object, "found", found, sizeof found);
        n = snprintf(out + used, GW_CLAIMS_MAX - used, "%s%s %s %s", used ? "\n" : "",
                     strcmp(result, "ok") == 0       ? "ok"
                     : strcmp(result, "FAILED") == 0 ? "failed"
                                                     : "skipped",
                     name, found);
        if (n < 0 || (size_t)n >= GW_CLAIMS_MAX - used) {
            out[used] = '\0';
            return; /* no room for more: the claims so far are kept */
        }
        used += (size_t)n;
    }
}

void gw_child_close(struct gw_child *c)
{
    if (c->output)
        fclose(c->output);
    if (c->errors)
        fclose(c->errors);
    *c = (struct gw_child){0};
}
