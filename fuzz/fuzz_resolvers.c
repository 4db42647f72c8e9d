/* Reads any bytes as /etc/resolv.conf and as systemd-resolved's resolv.conf. The agent may query the name servers that
 * it finds there, so each of them must come from a line of its own that begins with the word "nameserver". The servers
 * are then written as a file. Reading that file must give the same servers. */
#include <stdio.h>
#include <string.h>

#include "agent/isolation/resolvers.h"
#include "fuzz/must.h"

#define KEYWORD "nameserver"

static const char *file;
static size_t file_len;

FILE *__wrap_fopen(const char *path, const char *mode);
FILE *__real_fopen(const char *path, const char *mode);

FILE *__wrap_fopen(const char *path, const char *mode)
{
    FILE *f;

    if (!strstr(path, "/resolv.conf"))
        return __real_fopen(path, mode);
    f = fmemopen((void *)(uintptr_t)file, file_len, "r");
    must(f != NULL);
    return f;
}

static void find(const char *text, size_t len, struct resolvers *out)
{
    struct agent_config c = {.gateways = {.n = 1}};
    struct cmx_why why = {0};

    c.gateways.at[0].host = "gateway.example.org"; /* because this is a name, resolvers_find needs name servers */
    file = text;
    file_len = len;
    must(resolvers_find(&c, out, &why) == CMX_OK);
}

/* Counts the lines of the file that name a server. */
static size_t count_lines(const char *text, size_t len)
{
    size_t n = 0;

    for (const char *end = text + len, *next; text < end; text = next) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));

        next = newline ? newline + 1 : end;
        n += (size_t)(next - text) > strlen(KEYWORD) && memcmp(text, KEYWORD, strlen(KEYWORD)) == 0 &&
             strchr(" \t", text[strlen(KEYWORD)]) && text[strlen(KEYWORD)];
    }
    return n;
}

static size_t write_file(const struct resolvers *r, char *out, size_t cap)
{
    char address[CMX_IP_TEXT_MAX];
    size_t n = 0;

    for (size_t i = 0; i < r->n; i++) {
        cmx_ip_text(&r->ip[i], address);
        n += (size_t)snprintf(out + n, cap - n, KEYWORD " %s\n", address);
    }
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct resolvers r, again;
    char text[CMX_ISO_ADDRESSES_MAX * 80];

    find((const char *)data, size, &r);
    must(r.n <= CMX_ISO_ADDRESSES_MAX && r.n <= count_lines((const char *)data, size));
    for (size_t i = 0; i < r.n; i++)
        for (size_t k = 0; k < i; k++)
            must(!cmx_ip_equal(&r.ip[i], &r.ip[k]));
    find(text, write_file(&r, text, sizeof text), &again);
    must(r.n == again.n && r.stuck == again.stuck && r.forwarder_uid == again.forwarder_uid);
    for (size_t i = 0; i < r.n; i++)
        must(cmx_ip_equal(&r.ip[i], &again.ip[i]));
    return 0;
}
