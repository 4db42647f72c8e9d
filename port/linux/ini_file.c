/* libinih gives its handler no line number, cuts lines at 200 bytes, silently drops a line without '=' and takes an
 * indented key for a continuation. The reader below therefore counts the lines, removes white space around them, passes
 * a long line in pieces (as continuation lines of libinih) and parses section lines itself. */
#include "port/linux/ini_file.h"

#include <ctype.h>
#include <ini.h>
#include <stdio.h>
#include <string.h>

#include "cmxsafe/core/mem.h"

#define KEY_MAX 63 /* a key is at most this long */

struct ini {
    const struct cmx_ini_handler *handler;
    const char *next; /* text not read yet */
    size_t left;
    unsigned line; /* number of the current line */

    bool before_first; /* there was no section line so far */
    bool skip;         /* ignore the keys of this section */

    const char *rest; /* the part of the current line that libinih has not received */
    size_t rest_len;
    bool key_line;  /* the current line must be key = value */
    bool first;     /* libinih has received no piece of the line */
    bool have_pair; /* libinih found a key and a value in the line */
    char key[KEY_MAX + 1];
    char value[CMX_INI_LINE_MAX];
};

static void ini_error(struct ini *p, const char *what)
{
    p->handler->error(p->handler->arg, p->line, what);
}

/* Ends the current line: reports its pair, or its error. */
static void end_line(struct ini *p)
{
    char what[KEY_MAX + 48];

    if (!p->key_line)
        return;
    p->key_line = false;
    if (!p->have_pair) {
        ini_error(p, "neither 'key = value' nor '[section]'");
    } else if (p->before_first) {
        snprintf(what, sizeof what, "key '%s' is before the first [section]", p->key);
        ini_error(p, what);
    } else if (!p->skip) {
        p->handler->pair(p->handler->arg, p->line, p->key, p->value);
    }
}

static void section_line(struct ini *p, const char *s, size_t len)
{
    const char *end = memchr(s, ']', len);

    p->before_first = false;
    p->skip = true; /* keys below a section line that cannot be read do not belong to the section above it */
    if (!end || end != s + len - 1) {
        ini_error(p, "a section line is '[name]' and nothing else");
        return;
    }
    for (s++; s < end && isspace((unsigned char)*s);)
        s++;
    while (end > s && isspace((unsigned char)end[-1]))
        end--;
    p->skip = !p->handler->section(p->handler->arg, p->line, s, (size_t)(end - s));
}

/* Returns the length of the line without an inline comment (a ';' after white space) and white space at its end. */
static size_t trimmed(const char *s, size_t len)
{
    for (size_t i = 1; i < len; i++)
        if (s[i] == ';' && isspace((unsigned char)s[i - 1]))
            len = i;
    while (len && isspace((unsigned char)s[len - 1]))
        len--;
    return len;
}

static bool has_control(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (((unsigned char)s[i] < 0x20 && s[i] != '\t') || s[i] == 0x7f)
            return true;
    return false;
}

static bool pair_within(const char *s, size_t len)
{
    return memchr(s, '=', len) || memchr(s, ':', len);
}

/* Reads the next line of the text, and sets rest to the part of it that libinih must parse, which may be empty. */
static void load_line(struct ini *p)
{
    const char *eol = memchr(p->next, '\n', p->left);
    const char *s = p->next;
    size_t len = eol ? (size_t)(eol - s) : p->left;

    p->next += eol ? len + 1 : len;
    p->left -= eol ? len + 1 : len;
    p->line++;
    if (p->line == 1 && len >= 3 && memcmp(s, "\xef\xbb\xbf", 3) == 0) {
        s += 3;
        len -= 3;
    }
    for (; len && isspace((unsigned char)*s); len--)
        s++;
    if (len == 0 || *s == '#' || *s == ';')
        return;
    len = trimmed(s, len);
    if (len >= CMX_INI_LINE_MAX)
        ini_error(p, "the line is longer than 4095 bytes");
    else if (has_control(s, len))
        ini_error(p, "a control character in the line");
    else if (*s == '[')
        section_line(p, s, len);
    else if (!pair_within(s, len < KEY_MAX ? len : KEY_MAX))
        ini_error(p, "neither 'key = value' nor '[section]'");
    else {
        p->rest = s;
        p->rest_len = len;
        p->key_line = p->first = true;
        p->have_pair = false;
        p->value[0] = 0;
    }
}

/* Returns how many bytes of the rest of the line to pass, at most room. Cuts only between two letters or digits,
 * because libinih strips white space at both ends of a piece. 0: there is no place to cut. */
static size_t piece(const struct ini *p, size_t room)
{
    size_t n = p->rest_len;

    if (n <= room)
        return n;
    for (n = room; n && !(isalnum((unsigned char)p->rest[n]) && isalnum((unsigned char)p->rest[n - 1]));)
        n--;
    return n;
}

/* libinih's reader: writes at most num - 1 bytes, with a newline at the end, and a NUL. A line without a pair is passed
 * as an empty one. */
static char *read_line(char *out, int num, void *arg)
{
    struct ini *p = arg;
    size_t lead, n;

    if (p->rest_len == 0) {
        end_line(p);
        if (p->left == 0)
            return NULL;
        load_line(p);
    }
    lead = p->rest_len && !p->first ? 1 : 0; /* libinih takes a piece with white space in front for a continuation */
    n = piece(p, (size_t)num - 2 - lead);
    if (p->rest_len && n == 0) {
        ini_error(p, "this long line cannot be read; put the value into a file");
        p->rest_len = 0;
        p->key_line = false;
    }
    out[0] = ' ';
    if (n) {
        memcpy(out + lead, p->rest, n);
        p->rest += n;
        p->rest_len -= n;
    }
    memcpy(out + lead + n, "\n", 2);
    p->first = false;
    return out;
}

/* libinih's handler. Ignores section, which libinih cuts at 49 bytes: section_line has reported the whole name. */
static int on_pair(void *arg, const char *section, const char *name, const char *value)
{
    struct ini *p = arg;
    size_t have = p->have_pair ? strlen(p->value) : 0;

    (void)section;
    if (!p->have_pair)
        snprintf(p->key, sizeof p->key, "%s", name);
    snprintf(p->value + have, sizeof p->value - have, "%s", value);
    p->have_pair = true;
    return 1;
}

cmx_err cmx_ini_parse(const char *text, size_t len, const struct cmx_ini_handler *h)
{
    struct ini *p = cmx_mem_alloc(sizeof *p);
    int rc;

    if (!p)
        return CMX_ENOMEM;
    p->handler = h;
    p->next = text;
    p->left = len;
    p->before_first = true;
    rc = ini_parse_stream(read_line, p, on_pair, p);
    cmx_mem_free(p);
    return rc == -2 ? CMX_ENOMEM : CMX_OK;
}
