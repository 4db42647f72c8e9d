/* config_parse.c - parses a configuration file's text with the table of keys. */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "agent/config/config_table.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/nearest.h"
#include "cmxsafe/core/text.h"
#include "port/linux/ini_file.h"

struct parse {
    struct config_report *report;
    struct agent_config *config;
    const struct config_section *section; /* the section to which the following keys belong */
    void *instance;
    bool no_memory;
};

void config_error(struct config_report *r, unsigned line, const char *fmt, ...)
{
    char text[512];
    int n = line ? snprintf(text, sizeof text, "%.200s:%u: ", r->file, line)
                 : snprintf(text, sizeof text, "%.200s: ", r->file);
    va_list ap;

    r->errors++;
    if (!r->line || r->errors > CONFIG_ERRORS_MAX)
        return;
    if (r->errors == CONFIG_ERRORS_MAX)
        fmt = "too many errors; the rest is not shown";
    va_start(ap, fmt);
    cmx_text_format(text + n, sizeof text - (size_t)n, fmt, ap);
    va_end(ap);
    cmx_text_clean(text); /* the file's name comes from the command line, and may contain control characters */
    r->line(r->arg, text);
}

/* ---- keys ---- */

static void unknown_key(struct parse *p, unsigned line, const char *key)
{
    struct cmx_nearest near = CMX_NEAREST_INIT(key);
    const char *home = NULL;

    for (size_t i = 0; i < config_n_keys; i++) {
        if (strcmp(config_keys[i].section, p->section->name) == 0)
            cmx_nearest_offer(&near, config_keys[i].key);
        else if (strcmp(config_keys[i].key, key) == 0)
            home = config_keys[i].section;
    }
    if (home)
        config_error(p->report, line, "key '%s' belongs in [%s], not in [%s]", key, home, p->section->name);
    else if (cmx_nearest_result(&near))
        config_error(p->report, line, "unknown key '%s' in [%s]; did you mean '%s'?", key, p->section->name,
                     cmx_nearest_result(&near));
    else
        config_error(p->report, line, "unknown key '%s' in [%s]", key, p->section->name);
}

/* Refuses a command that a comment would cut, and a text or path with a '#' that looks like the start of a comment
 * but is part of the value. */
static cmx_err check_comment(const struct config_key *k, const char *value, const char *comment, struct cmx_why *why)
{
    const char *hash = cmx_ini_hash(value);

    if (k->type == CONFIG_COMMAND && comment[0])
        return cmx_why_fail(
            why, CMX_EINVAL,
            "'%.20s' would be a comment; remove the white space before the ';', or put the command into a script",
            comment);
    if ((k->type == CONFIG_TEXT || k->type == CONFIG_PATH) && hash)
        return cmx_why_fail(why, CMX_EINVAL, "'%.20s' is no comment; within a line, a comment begins with ' ;'", hash);
    return CMX_OK;
}

static void on_pair(void *arg, unsigned line, const char *key, const char *value, const char *comment)
{
    struct parse *p = arg;
    const struct config_key *k = config_key_find(p->section->name, key);
    struct config_head *head = p->instance;
    struct cmx_why why = {""};
    size_t place;
    cmx_err err;

    if (!k) {
        unknown_key(p, line, key);
        return;
    }
    place = config_key_place(k);
    if (head->key_line[place] && k->type != CONFIG_PIN_LIST) {
        config_error(p->report, line, "%s is already given in line %u", k->key, head->key_line[place]);
        return;
    }
    err = check_comment(k, value, comment, &why);
    if (!err)
        err = config_set(k, p->instance, value, &why);
    head->key_line[place] = line; /* set even after an error, so that the key is not also reported as missing */
    if (err == CMX_ENOMEM)
        p->no_memory = true;
    if (err)
        config_error(p->report, line, "%s: %s", k->key, why.text);
}

/* ---- sections ---- */

static void unknown_section(struct parse *p, unsigned line, const char *name, size_t len)
{
    char word[64];
    struct cmx_nearest near = CMX_NEAREST_INIT(word);

    snprintf(word, sizeof word, "%.*s", (int)(len < 60 ? len : 60), name);
    for (size_t i = 0; i < config_n_sections; i++)
        cmx_nearest_offer(&near, config_sections[i].name);
    if (cmx_nearest_result(&near))
        config_error(p->report, line, "unknown section [%s]; did you mean [%s]?", word, cmx_nearest_result(&near));
    else
        config_error(p->report, line, "unknown section [%s]", word);
}

/* Adds a context and returns its section; NULL after an error. */
static void *named_instance(struct parse *p, unsigned line, const char *name, size_t len)
{
    struct agent_config *c = p->config;
    struct context_section *s;

    if (len == 0) {
        config_error(p->report, line, "a context needs a name: [context NAME]");
        return NULL;
    }
    if (len >= sizeof s->name) {
        config_error(p->report, line, "a context's name has at most %zu characters", sizeof s->name - 1);
        return NULL;
    }
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)name[i]) && !strchr("._-", name[i])) {
            config_error(p->report, line, "a context's name may hold letters, digits, '.', '_' and '-' only");
            return NULL;
        }
    for (size_t i = 0; i < c->n_contexts; i++)
        if (strlen(c->contexts[i].name) == len && strncmp(c->contexts[i].name, name, len) == 0) {
            config_error(p->report, line, "[context %s] is already given in line %u", c->contexts[i].name,
                         c->contexts[i].head.line);
            return NULL;
        }
    if (c->n_contexts == CMX_PROXY_CONTEXTS_MAX) {
        config_error(p->report, line, "more than %d contexts", CMX_PROXY_CONTEXTS_MAX);
        return NULL;
    }
    s = &c->contexts[c->n_contexts++];
    memcpy(s->name, name, len);
    return s;
}

static void *single_instance(struct parse *p, unsigned line, const struct config_section *s, size_t name_len)
{
    struct config_head *head = (void *)((char *)p->config + s->offset);

    if (name_len) {
        config_error(p->report, line, "[%s] takes no name", s->name);
        return NULL;
    }
    if (head->line) {
        config_error(p->report, line, "[%s] is already given in line %u", s->name, head->line);
        return NULL;
    }
    return head;
}

/* Begins a section. text: "SECTION" or "SECTION NAME". */
static bool on_section(void *arg, unsigned line, const char *text, size_t len)
{
    struct parse *p = arg;
    size_t word, name;

    for (word = 0; word < len && !isspace((unsigned char)text[word]);)
        word++;
    for (name = word; name < len && isspace((unsigned char)text[name]);)
        name++;
    p->section = config_section_find(text, word);
    if (!p->section) {
        unknown_section(p, line, text, len);
        return false;
    }
    p->instance = p->section->named ? named_instance(p, line, text + name, len - name)
                                    : single_instance(p, line, p->section, len - name);
    if (!p->instance)
        return false;
    ((struct config_head *)p->instance)->line = line;
    if (p->section->named && config_defaults(p->section, p->instance) != CMX_OK)
        p->no_memory = true;
    return true;
}

static void on_error(void *arg, unsigned line, const char *what)
{
    struct parse *p = arg;

    config_error(p->report, line, "%s", what);
}

/* ---- checks of the whole file ---- */

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
    if (p->config->gateway.options.host && cmx_gateway_list_parse(&p->config->gateways, p->config->gateway.options.host,
                                                                  p->config->gateway.options.port, NULL) != CMX_OK)
        config_error(p->report, p->config->gateway.head.line, "[gateway] host is not a valid list of gateways");
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
    struct agent_config *c = cmx_mem_alloc(sizeof *c);
    struct parse p = {.report = r, .config = c};
    const struct cmx_ini_handler handler = {.arg = &p, .section = on_section, .pair = on_pair, .error = on_error};
    unsigned before = r->errors;
    cmx_err err = CMX_ENOMEM;

    *out = NULL;
    if (!c || set_defaults(c) != CMX_OK)
        goto out;
    cmx_ini_parse(text, len, &handler);
    if (p.no_memory)
        goto out;
    check_all(&p);
    err = r->errors == before ? CMX_OK : CMX_EINVAL;
    if (!err) {
        *out = c;
        c = NULL;
    }
out:
    if (err == CMX_ENOMEM)
        config_error(r, 0, "out of memory");
    config_free(c);
    return err;
}
