#include "gateway/render/gw_etc_hosts.h"

#include <arpa/inet.h>
#include <string.h>

static const char begin_marker[] = "# cmxsafe gateway: begin (written from the registry)";
static const char end_marker[] = "# cmxsafe gateway: end";

/* One line of the file, with its line end. */
struct line {
    const char *text;
    size_t len; /* length without the line end and the blanks before it */
    size_t whole;
};

static bool next_line(const char **at, const char *end, struct line *l)
{
    const char *newline;

    if (*at == end)
        return false;
    newline = memchr(*at, '\n', (size_t)(end - *at));
    l->text = *at;
    l->whole = (size_t)((newline ? newline + 1 : end) - *at);
    *at += l->whole;
    for (l->len = l->whole; l->len && strchr("\r\n \t", l->text[l->len - 1]); l->len--)
        ;
    return true;
}

static bool is(const struct line *l, const char *text)
{
    return l->len == strlen(text) && memcmp(l->text, text, l->len) == 0;
}

static bool ends_with(const char *word, const char *tail)
{
    size_t n = strlen(word);
    size_t t = strlen(tail);

    return n >= t && strcmp(word + n - t, tail) == 0;
}

/* True for a line that the gateway writes: "ADDRESS NAME.DOMAIN ..." with an address of the fleet or another unique
 * local address. Also true for the two loopback lines that former versions wrote. closed: the line is in a block that
 * has an end marker. Such a block is unlikely to have lines of other programs or people, so the domain may then also be
 * a former one ('init --domain'). */
static bool is_written_by_gateway(const struct gw *g, const struct line *l, bool closed)
{
    char text[256];
    char tail[GW_NAME_MAX + 2];
    uint8_t raw[CMX_IPV6_LEN];
    char *name;
    bool in_fleet;

    if (is(l, "127.0.0.1 localhost") || is(l, "::1 localhost"))
        return true;
    if (l->len >= sizeof text)
        return false;
    memcpy(text, l->text, l->len);
    text[l->len] = '\0';
    name = strchr(text, ' ');
    if (!name)
        return false;
    *name++ = '\0';
    name[strcspn(name, " \t")] = '\0';
    snprintf(tail, sizeof tail, ".%s", g->domain);
    if (inet_pton(AF_INET6, text, raw) != 1)
        return false;
    in_fleet = memcmp(raw, g->fleet.prefix, g->fleet.bits / 8) == 0;
    if (!in_fleet && (raw[0] & 0xfe) != 0xfc)
        return false;
    return ends_with(name, tail) || (closed && strchr(name, '.') && (in_fleet || strncmp(name, "gateway.", 8) == 0));
}

static bool has_end(const char *at, const char *end)
{
    struct line l;

    while (next_line(&at, end, &l))
        if (is(&l, end_marker))
            return true;
        else if (is(&l, begin_marker))
            return false;
    return false;
}

static void put_block(FILE *out, const char *lines)
{
    fprintf(out, "%s\n%s%s\n", begin_marker, lines, end_marker);
}

void gw_etc_hosts_merge(FILE *out, const struct gw *g, const char *old, size_t len, const char *lines)
{
    const char *at = old;
    const char *end = old + len;
    bool inside = false;
    bool closed = false; /* the block that is being read has an end marker */
    bool written = lines == NULL;
    bool newline = true; /* the text written so far ends with a newline */
    struct line l;

    while (next_line(&at, end, &l)) {
        if (is(&l, begin_marker)) {
            inside = true;
            closed = has_end(at, end);
            if (!written)
                put_block(out, lines);
            written = true;
            continue;
        }
        if (is(&l, end_marker)) {
            inside = false;
            continue;
        }
        if (inside && is_written_by_gateway(g, &l, closed))
            continue;
        inside = inside && closed;
        fwrite(l.text, 1, l.whole, out);
        newline = l.text[l.whole - 1] == '\n';
    }
    if (written)
        return;
    if (!newline)
        fputc('\n', out);
    put_block(out, lines);
}
