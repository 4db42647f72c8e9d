/* config_reference.c - writes the configuration reference from the table of keys. */
#include <string.h>

#include "agent/config/config_table.h"

static const char *default_text(const struct config_key *k)
{
    return k->required ? "**required**" : k->fallback ? k->fallback : k->without ? k->without : "none";
}

static const char *restart_text(const struct config_key *k)
{
    return k->restart ? " A change needs a restart." : "";
}

static const char *section_restart_text(const struct config_section *s)
{
    return s->restart ? " A change needs a restart." : "";
}

static void markdown_section(FILE *out, const struct config_section *s)
{
    char values[96];

    fprintf(out, "\n## [%s%s]\n\n%s%s\n\n| key | value | default | meaning |\n|---|---|---|---|\n", s->name,
            s->named ? " NAME" : "", s->help, section_restart_text(s));
    for (size_t i = 0; i < config_n_keys; i++) {
        const struct config_key *k = &config_keys[i];

        if (strcmp(k->section, s->name) != 0)
            continue;
        config_values(k, values, sizeof values);
        fprintf(out, "| `%s` | %s | %s | %s%s |\n", k->key, values, default_text(k), k->help, restart_text(k));
    }
}

void config_reference_markdown(FILE *out)
{
    fprintf(out,
            "# Configuration of cmxsafed\n\n"
            "Made by `cmxsafed --config-reference` from the table with which the agent reads its configuration; a test "
            "compares the two.\n\n"
            "The file has `[section]` lines and `key = value` lines. `#` and `;` begin a comment at the start of a "
            "line, and `;` after white space begins one within a line. A duration is a number with `ms`, `s`, `m`, `h` "
            "or `d` "
            "behind it; a bare number is seconds. A size may end in `k`, `M` or `G`. A key is given once, unless it is "
            "repeatable. Unknown sections and keys are errors. `cmxsafed --check` reports all errors of a file.\n");
    for (size_t i = 0; i < config_n_sections; i++)
        markdown_section(out, &config_sections[i]);
}

/* Converts `word` to \fBword\fR, and '-' to a minus sign that can be copied. */
static void roff_text(FILE *out, const char *s)
{
    bool bold = false;

    if (*s == '.' || *s == '\'')
        fputs("\\&", out);
    for (; *s; s++) {
        if (*s == '`') {
            bold = !bold;
            fputs(bold ? "\\fB" : "\\fR", out);
        } else if (*s == '-') {
            fputs("\\-", out);
        } else if (*s == '\\') {
            fputs("\\e", out);
        } else if (*s != '*') {
            fputc(*s, out);
        }
    }
}

void config_reference_man(FILE *out)
{
    char values[96];

    for (size_t i = 0; i < config_n_sections; i++) {
        const struct config_section *s = &config_sections[i];

        fprintf(out, ".SH [%s%s]\n", s->name, s->named ? " NAME" : "");
        roff_text(out, s->help);
        fprintf(out, "%s\n", section_restart_text(s));
        for (size_t j = 0; j < config_n_keys; j++) {
            const struct config_key *k = &config_keys[j];

            if (strcmp(k->section, s->name) != 0)
                continue;
            config_values(k, values, sizeof values);
            fprintf(out, ".TP\n.B %s\n", k->key);
            roff_text(out, k->help);
            fprintf(out, "%s\n.br\nValue: ", restart_text(k));
            roff_text(out, values);
            fputs("\n.br\nDefault: ", out);
            roff_text(out, default_text(k));
            fputc('\n', out);
        }
    }
}
