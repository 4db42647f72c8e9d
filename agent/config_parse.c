/* config_parse.c - a configuration's text through libinih into the table's setters.
 *
 * libinih gives its handler no line number, cuts lines at 200 bytes, drops a line that has no '=' without a word to the
 * handler and takes an indented key for a continuation. The reader below, through which it gets its lines, makes up for
 * that: it counts, strips, hands a long line over in pieces (as libinih's own continuation lines) and looks at section
 * lines itself. */
#include <ctype.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/nearest.h"
#include "config_table.h"

#define KEY_MAX 63 /* a key and its '=' stand within that many bytes of a line */

struct parse {
    struct config_report *report;
    struct agent_config *config;
    const char *next; /* text not read yet */
    size_t left;
    unsigned line; /* of what is in rest and value */

    const struct config_section *section; /* NULL: an unknown one, whose keys are skipped */
    bool before_first;                    /* no section line so far */
    void *instance;

    const char *rest; /* of the current line, not yet handed to libinih */
    size_t rest_len;
    bool key_line;  /* the current line must be key = value */
    bool first;     /* none of its pieces was handed over */
    bool have_pair; /* libinih saw it as one */
    char key[KEY_MAX + 1];
    char value[CONFIG_LINE_MAX];
    bool no_memory;
};

void config_error(struct config_report *r, unsigned line, const char *fmt, ...)
{
    char text[512];
    int n = line ? snprintf(text, sizeof text, "%.200s:%u: ", r->file, line)
                 : snprintf(text, sizeof text, "%.200s: ", r->file);
    va_list ap;

    r->errors++;
    if (r->errors > CONFIG_ERRORS_MAX)
        return;
    if (r->errors == CONFIG_ERRORS_MAX)
        fmt = "too many errors; the rest is not shown";
    va_start(ap, fmt);
    vsnprintf(text + n, sizeof text - (size_t)n, fmt, ap);
    va_end(ap);
    r->line(r->arg, text);
}

/* ---- keys ---- */

static void unknown_key(struct parse *p)
{
    struct cmx_nearest near = CMX_NEAREST_INIT(p->key);
    const char *home = NULL;

    for (size_t i = 0; i < config_n_keys; i++) {
        if (strcmp(config_keys[i].section, p->section->name) == 0)
            cmx_nearest_offer(&near, config_keys[i].key);
        else if (strcmp(config_keys[i].key, p->key) == 0)
            home = config_keys[i].section;
    }
    if (home)
        config_error(p->report, p->line, "key '%s' does not belong into [%s] but into [%s]", p->key, p->section->name,
                     home);
    else if (cmx_nearest_result(&near))
        config_error(p->report, p->line, "unknown key '%s' in [%s]; did you mean '%s'?", p->key, p->section->name,
                     cmx_nearest_result(&near));
    else
        config_error(p->report, p->line, "unknown key '%s' in [%s]", p->key, p->section->name);
}

static void take_pair(struct parse *p)
{
    const struct config_key *k = config_key_find(p->section->name, p->key);
    struct config_head *head = p->instance;
    char why[160] = "";
    size_t place;
    cmx_err err;

    if (!k) {
        unknown_key(p);
        return;
    }
    place = config_key_place(k);
    if (head->key_line[place] && k->type != CONFIG_PIN_LIST) {
        config_error(p->report, p->line, "%s is given already in line %u", k->key, head->key_line[place]);
        return;
    }
    err = config_set(k, p->instance, p->value, why, sizeof why);
    head->key_line[place] = p->line; /* also after an error: it is there, so not missing */
    if (err == CMX_ENOMEM)
        p->no_memory = true;
    if (err)
        config_error(p->report, p->line, "%s: %s", k->key, why);
}

/* The current line is complete. */
static void end_line(struct parse *p)
{
    if (!p->key_line)
        return;
    p->key_line = false;
    if (!p->have_pair)
        config_error(p->report, p->line, "neither 'key = value' nor '[section]'");
    else if (p->before_first)
        config_error(p->report, p->line, "key '%s' stands before the first [section]", p->key);
    else if (p->section)
        take_pair(p);
}

/* ---- sections ---- */

static void unknown_section(struct parse *p, const char *name, size_t len)
{
    char word[64];
    struct cmx_nearest near = CMX_NEAREST_INIT(word);

    snprintf(word, sizeof word, "%.*s", (int)(len < 60 ? len : 60), name);
    for (size_t i = 0; i < config_n_sections; i++)
        cmx_nearest_offer(&near, config_sections[i].name);
    if (cmx_nearest_result(&near))
        config_error(p->report, p->line, "unknown section [%s]; did you mean [%s]?", word, cmx_nearest_result(&near));
    else
        config_error(p->report, p->line, "unknown section [%s]", word);
}

/* A context's instance; NULL after an error. */
static void *named_instance(struct parse *p, const char *name, size_t len)
{
    struct agent_config *c = p->config;
    struct context_section *s;

    if (len == 0) {
        config_error(p->report, p->line, "a context needs a name: [context NAME]");
        return NULL;
    }
    if (len >= sizeof s->name) {
        config_error(p->report, p->line, "a context's name has at most %zu characters", sizeof s->name - 1);
        return NULL;
    }
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)name[i]) && !strchr("._-", name[i])) {
            config_error(p->report, p->line, "a context's name may hold letters, digits, '.', '_' and '-' only");
            return NULL;
        }
    for (size_t i = 0; i < c->n_contexts; i++)
        if (strlen(c->contexts[i].name) == len && strncmp(c->contexts[i].name, name, len) == 0) {
            config_error(p->report, p->line, "[context %s] is there already in line %u", c->contexts[i].name,
                         c->contexts[i].head.line);
            return NULL;
        }
    if (c->n_contexts == CMX_PROXY_CONTEXTS_MAX) {
        config_error(p->report, p->line, "more than %d contexts", CMX_PROXY_CONTEXTS_MAX);
        return NULL;
    }
    s = &c->contexts[c->n_contexts++];
    memcpy(s->name, name, len);
    return s;
}

static void *single_instance(struct parse *p, const struct config_section *s, size_t name_len)
{
    struct config_head *head = (void *)((char *)p->config + s->offset);

    if (name_len) {
        config_error(p->report, p->line, "[%s] takes no name", s->name);
        return NULL;
    }
    if (head->line) {
        config_error(p->report, p->line, "[%s] is there already in line %u", s->name, head->line);
        return NULL;
    }
    return head;
}

/* text: what stands between the brackets. */
static void begin_section(struct parse *p, const char *text, size_t len)
{
    size_t word, name;

    while (len && isspace((unsigned char)text[len - 1]))
        len--;
    for (; len && isspace((unsigned char)*text); len--)
        text++;
    for (word = 0; word < len && !isspace((unsigned char)text[word]);)
        word++;
    for (name = word; name < len && isspace((unsigned char)text[name]);)
        name++;
    p->before_first = false;
    p->instance = NULL;
    p->section = config_section_find(text, word);
    if (!p->section) {
        unknown_section(p, text, len);
        return;
    }
    p->instance =
        p->section->named ? named_instance(p, text + name, len - name) : single_instance(p, p->section, len - name);
    if (!p->instance) {
        p->section = NULL;
        return;
    }
    ((struct config_head *)p->instance)->line = p->line;
    if (p->section->named && config_defaults(p->section, p->instance) != CMX_OK)
        p->no_memory = true;
}

static void section_line(struct parse *p, const char *s, size_t len)
{
    const char *end = memchr(s, ']', len);

    if (end && end == s + len - 1) {
        begin_section(p, s + 1, (size_t)(end - s - 1));
        return;
    }
    /* Keys below a section line that can't be read must not fall to the section above it. */
    p->section = NULL;
    p->before_first = false;
    config_error(p->report, p->line, "a section line is '[name]' and nothing else");
}

/* ---- the reader ---- */

/* Length of the line without an inline comment (a ';' after white space) and white space at its end. */
static size_t trimmed(const char *s, size_t len)
{
    for (size_t i = 1; i < len; i++)
        if (s[i] == ';' && isspace((unsigned char)s[i - 1]))
            len = i;
    while (len && isspace((unsigned char)s[len - 1]))
        len--;
    return len;
}

static bool clean(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (((unsigned char)s[i] < 0x20 && s[i] != '\t') || s[i] == 0x7f)
            return false;
    return true;
}

static bool pair_within(const char *s, size_t len)
{
    return memchr(s, '=', len) || memchr(s, ':', len);
}

/* Takes the next line of the text: rest is then what libinih is to see of it, perhaps nothing. */
static void load_line(struct parse *p)
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
    if (len >= CONFIG_LINE_MAX)
        config_error(p->report, p->line, "the line is longer than %d bytes", CONFIG_LINE_MAX - 1);
    else if (!clean(s, len))
        config_error(p->report, p->line, "a control character in the line");
    else if (*s == '[')
        section_line(p, s, len);
    else if (!pair_within(s, len < KEY_MAX ? len : KEY_MAX))
        config_error(p->report, p->line, "neither 'key = value' nor '[section]'");
    else {
        p->rest = s;
        p->rest_len = len;
        p->key_line = p->first = true;
        p->have_pair = false;
        p->value[0] = 0;
    }
}

/* How much of a line's rest goes into room bytes; a piece neither ends nor begins where libinih would strip. 0: nowhere
 * to cut. */
static size_t piece(const struct parse *p, size_t room)
{
    size_t n = p->rest_len;

    if (n <= room)
        return n;
    for (n = room; n && !(isalnum((unsigned char)p->rest[n]) && isalnum((unsigned char)p->rest[n - 1]));)
        n--;
    return n;
}

/* libinih's reader: at most num - 1 bytes and a newline. Lines without a pair come out empty. */
static char *read_line(char *out, int num, void *arg)
{
    struct parse *p = arg;
    size_t lead, n;

    if (p->rest_len == 0) {
        end_line(p);
        if (p->left == 0)
            return NULL;
        load_line(p);
    }
    lead = p->rest_len && !p->first ? 1 : 0; /* white space in front continues the value */
    n = piece(p, (size_t)num - 2 - lead);
    if (p->rest_len && n == 0) {
        config_error(p->report, p->line, "a line this long can't be read; put the value into a file");
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

/* libinih's handler. */
static int on_pair(void *arg, const char *section, const char *name, const char *value)
{
    struct parse *p = arg;
    size_t have = p->have_pair ? strlen(p->value) : 0;

    (void)section; /* cut at 49 bytes there */
    if (!p->have_pair)
        snprintf(p->key, sizeof p->key, "%s", name);
    snprintf(p->value + have, sizeof p->value - have, "%s", value);
    p->have_pair = true;
    return 1;
}

/* ---- the whole ---- */

static void missing_keys(struct parse *p, const struct config_section *s, const void *instance, const char *name)
{
    const struct config_head *head = instance;

    for (size_t i = 0; i < config_n_keys; i++) {
        const struct config_key *k = &config_keys[i];

        if (k->required && strcmp(k->section, s->name) == 0 && !head->key_line[config_key_place(k)])
            config_error(p->report, head->line, "[%s%s%s] lacks %s", s->name, name ? " " : "", name ? name : "",
                         k->key);
    }
}

static void check_all(struct parse *p)
{
    for (size_t i = 0; i < config_n_sections; i++) {
        const struct config_section *s = &config_sections[i];
        const struct config_head *head = (const void *)((const char *)p->config + s->offset);

        if (!s->named && head->line)
            missing_keys(p, s, head, NULL);
    }
    for (size_t i = 0; i < p->config->n_contexts; i++)
        missing_keys(p, config_section_find("context", 7), &p->config->contexts[i], p->config->contexts[i].name);
    config_check(p->config, p->report);
}

static cmx_err set_defaults(struct agent_config *c)
{
    for (size_t i = 0; i < config_n_sections; i++) {
        cmx_err err = CMX_OK;

        if (!config_sections[i].named)
            err = config_defaults(&config_sections[i], (char *)c + config_sections[i].offset);
        if (err)
            return err;
    }
    return CMX_OK;
}

cmx_err config_parse(const char *text, size_t len, struct config_report *r, struct agent_config **out)
{
    struct parse *p = cmx_mem_alloc(sizeof *p);
    struct agent_config *c = cmx_mem_alloc(sizeof *c);
    unsigned before = r->errors;
    cmx_err err = CMX_ENOMEM;

    *out = NULL;
    if (!p || !c || set_defaults(c) != CMX_OK)
        goto out;
    p->report = r;
    p->config = c;
    p->next = text;
    p->left = len;
    p->before_first = true;
    if (ini_parse_stream(read_line, p, on_pair, p) == -2 || p->no_memory)
        goto out;
    check_all(p);
    err = r->errors == before ? CMX_OK : CMX_EINVAL;
    if (!err) {
        *out = c;
        c = NULL;
    }
out:
    if (err == CMX_ENOMEM)
        config_error(r, 0, "out of memory");
    config_free(c);
    cmx_mem_free(p);
    return err;
}
