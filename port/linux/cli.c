#include "port/linux/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmxsafe/core/nearest.h"
#include "cmxsafe/core/text.h"

enum { WIDTH = 90, LEFT_MAX = 28, MESSAGE_MAX = 8192 };

/* ---- errors ---- */

/* Prints one line. Arguments and names of files may contain control characters, which a terminal would obey. */
CMX_PRINTF(1, 2) static void print_error(const char *fmt, ...)
{
    char text[MESSAGE_MAX];
    va_list ap;

    va_start(ap, fmt);
    cmx_text_format(text, sizeof text, fmt, ap);
    va_end(ap);
    fprintf(stderr, "cmxsafe: %s\n", text);
}

int cli_fail(const char *what, const char *why, const char *todo)
{
    print_error("%s: %s%s%s", what, why, todo ? "; " : "", todo ? todo : "");
    return CLI_FAILED;
}

int cli_output_check(const char *path)
{
    return strcmp(path, "-") == 0 ? cli_fail(path, "this command writes a file, not to standard output",
                                             "give the name of a file, or ./- for a file of this name")
                                  : CLI_OK;
}

void cli_begin(void)
{
    int fd;

    do /* open returns the lowest free number, so it fills closed standard streams first */
        fd = open("/dev/null", fcntl(STDIN_FILENO, F_GETFD) < 0 ? O_WRONLY : O_RDONLY);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
    signal(SIGXFSZ, SIG_IGN);
}

bool cli_flush(void)
{
    return fflush(stdout) == 0 && !ferror(stdout);
}

int cli_end(int status)
{
    errno = 0;
    if (fflush(stdout) != 0 || ferror(stdout)) /* the disk may be full, for example */
        return cli_fail("writing the output failed", errno ? strerror(errno) : "an earlier write failed", NULL);
    return status;
}

int cli_usage(const char *command, const char *fmt, ...)
{
    char message[MESSAGE_MAX / 2];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    print_error("%s; see '%s --help'", message, command);
    return CLI_USAGE;
}

static int unknown(const char *prefix, const char *what, const char *dashes, const char *word, struct cmx_nearest *near)
{
    const char *best = cmx_nearest_result(near);

    if (!best)
        return cli_usage(prefix, "unknown %s '%s%s'", what, dashes, word);
    print_error("unknown %s '%s%s'; did you mean '%s%s'?", what, dashes, word, dashes, best);
    return CLI_USAGE;
}

static int unknown_command(const char *prefix, const struct cli_command *table, size_t n, const char *word)
{
    struct cmx_nearest near = CMX_NEAREST_INIT(word);

    for (size_t i = 0; i < n; i++)
        cmx_nearest_offer(&near, table[i].name);
    return unknown(prefix, "command", "", word, &near);
}

static int unknown_option(const struct cli_line *line, const char *name, size_t len)
{
    char word[64];
    struct cmx_nearest near = CMX_NEAREST_INIT(word);

    snprintf(word, sizeof word, "%.*s", (int)len, name);
    for (size_t i = 0; i < line->n_options; i++)
        cmx_nearest_offer(&near, line->options[i].name);
    return unknown(line->command, "option", "--", word, &near);
}

/* ---- help ---- */

/* Returns the default of an option as the help shows it; "" when there is none. */
static const char *default_of(const struct cli_option *o, char *out, size_t cap)
{
    out[0] = '\0';
    if (o->type == CLI_TYPE_TEXT && *o->target.text && !o->implied)
        snprintf(out, cap, " (default: %s)", *o->target.text);
    else if (o->type == CLI_TYPE_NUMBER && *o->target.number && !o->implied)
        snprintf(out, cap, o->hex ? " (default: 0x%" PRIx64 ")" : " (default: %" PRIu64 ")", *o->target.number);
    return out;
}

/* Returns the value as the help shows it: "FILE", or the words to choose from, "agent|settings". */
static const char *value_name(const struct cli_option *o, char *out, size_t cap)
{
    size_t at = 0;

    if (!o->choices)
        return o->value;
    for (size_t i = 0; o->choices[i] && at < cap; i++)
        at += (size_t)snprintf(out + at, cap - at, "%s%s", i ? "|" : "", o->choices[i]);
    return out;
}

/* Writes the option as the help shows it: "-c, --config FILE", "--watch[=SECONDS]". */
static void format_option(const struct cli_option *o, char *out, size_t cap)
{
    char shorts[8] = "", words[80];

    if (o->short_name)
        snprintf(shorts, sizeof shorts, "-%c, ", o->short_name);
    if (o->type == CLI_TYPE_FLAG)
        snprintf(out, cap, "%s--%s", shorts, o->name);
    else
        snprintf(out, cap, o->implied ? "%s--%s[=%s]" : "%s--%s %s", shorts, o->name,
                 value_name(o, words, sizeof words));
}

/* Prints the words of text, starting at column `at`. Further lines begin at column `indent`. Returns the column after
 * the last word. */
static size_t print_words(const char *text, size_t len, size_t indent, size_t at)
{
    size_t start = 0;

    while (start < len) {
        size_t n = 0;

        while (start < len && (text[start] == ' ' || text[start] == '\n'))
            start++;
        while (start + n < len && text[start + n] != ' ' && text[start + n] != '\n')
            n++;
        if (n == 0)
            break;
        if (at > indent && at + 1 + n > WIDTH) {
            printf("\n%*s", (int)indent, "");
            at = indent;
        }
        at += (size_t)printf("%s%.*s", at > indent ? " " : "", (int)n, text + start);
        start += n;
    }
    return at;
}

/* Returns the length of the paragraph that begins at text. A paragraph ends before a blank line, and between a line
 * that begins with two spaces and one that does not. */
static size_t paragraph(const char *text)
{
    bool verbatim = strncmp(text, "  ", 2) == 0;
    size_t n = strcspn(text, "\n");

    while (text[n] && text[n + 1] && text[n + 1] != '\n' && (strncmp(text + n + 1, "  ", 2) == 0) == verbatim)
        n += 1 + strcspn(text + n + 1, "\n");
    return n;
}

/* Calls put for each paragraph of text. verbatim: the paragraph's lines begin with two spaces. follows: a blank line
 * and another paragraph follow. */
static void each_paragraph(const char *text, void (*put)(const char *text, size_t len, bool verbatim, bool follows))
{
    while (*text) {
        const bool verbatim = strncmp(text, "  ", 2) == 0;
        const size_t n = paragraph(text);
        const char *rest = text + n + (text[n] == '\n');

        put(text, n, verbatim, *rest == '\n');
        text = rest + (*rest == '\n');
    }
}

static void print_paragraph(const char *text, size_t len, bool verbatim, bool follows)
{
    if (verbatim)
        printf("%.*s", (int)len, text);
    else
        print_words(text, len, 0, 0);
    printf(follows ? "\n\n" : "\n");
}

static void put_plain(const char *text)
{
    fputs(text, stdout);
}

static void print_synopsis(const struct cli_line *line, void (*put)(const char *text))
{
    bool optional = false;
    char words[80];

    put(line->command);
    for (size_t i = 0; i < line->n_options; i++) {
        const struct cli_option *o = &line->options[i];

        optional = optional || !o->required;
        if (!o->required)
            continue;
        put(" --");
        put(o->name);
        put(" ");
        put(value_name(o, words, sizeof words));
    }
    put(optional ? " [OPTION ...]" : "");
    put(line->operands[0] ? " " : "");
    put(line->operands);
    put(line->rest_form ? " -- " : "");
    put(line->rest_form ? line->rest_form : "");
    putchar('\n');
    if (line->n_commands && line->n_options) {
        put(put == put_plain ? "       " : "");
        put(line->command);
        put(" COMMAND [ARGUMENT ...]\n");
    }
}

static void print_options(const struct cli_line *line)
{
    char left[80], fallback[80];
    size_t width = 0;

    for (size_t i = 0; i < line->n_options; i++) {
        format_option(&line->options[i], left, sizeof left);
        if (strlen(left) > width && strlen(left) <= LEFT_MAX)
            width = strlen(left);
    }
    for (size_t i = 0; i < line->n_options; i++) {
        const struct cli_option *o = &line->options[i];
        size_t indent = width + 4, at;

        format_option(o, left, sizeof left);
        printf("  %-*s", (int)width + 2, left);
        if (strlen(left) > width)
            printf("\n%*s", (int)indent, "");
        at = print_words(o->help, strlen(o->help), indent, indent);
        default_of(o, fallback, sizeof fallback);
        print_words(fallback, strlen(fallback), indent, at);
        putchar('\n');
    }
}

static void print_commands(const struct cli_command *table, size_t n)
{
    size_t width = 0;

    for (size_t i = 0; i < n; i++)
        width = strlen(table[i].name) > width ? strlen(table[i].name) : width;
    for (size_t i = 0; i < n; i++)
        printf("  %-*s  %s\n", (int)width, table[i].name, table[i].summary);
}

static void print_help(const struct cli_line *line)
{
    printf("usage: ");
    print_synopsis(line, put_plain);
    if (line->about[0]) {
        putchar('\n');
        each_paragraph(line->about, print_paragraph);
    }
    if (line->n_options) {
        printf("\noptions:\n");
        print_options(line);
    }
    if (line->n_commands) {
        printf("\ncommands:\n");
        print_commands(line->commands, line->n_commands);
    }
    if (line->notes) {
        putchar('\n');
        each_paragraph(line->notes, print_paragraph);
    }
}

/* ---- the manual page ---- */

/* Prints text, and escapes the characters that roff would interpret. */
static void put_roff_part(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if ((text[i] == '.' || text[i] == '\'') && (i == 0 || text[i - 1] == '\n'))
            printf("\\&");
        if (text[i] == '\\')
            printf("\\e");
        else if (text[i] == '-')
            printf("\\-");
        else
            putchar(text[i]);
    }
}

static void put_roff(const char *text)
{
    put_roff_part(text, strlen(text));
}

static void roff_paragraph(const char *text, size_t len, bool verbatim, bool follows)
{
    printf(verbatim ? ".RS 2\n.nf\n" : "");
    put_roff_part(text, len);
    printf(verbatim ? "\n.fi\n.RE\n" : "\n");
    printf(follows ? ".PP\n" : "");
}

static void roff_options(const struct cli_line *line, bool part)
{
    char words[120];

    for (size_t i = 0; i < line->n_options; i++) {
        const struct cli_option *o = &line->options[i];

        if (part && o->common)
            continue;
        printf(".TP\n\\fB");
        if (o->short_name)
            printf("\\-%c\\fR, \\fB", o->short_name);
        printf("\\-\\-");
        put_roff(o->name);
        printf("\\fR");
        if (o->type != CLI_TYPE_FLAG) {
            printf(o->implied ? "[=\\fI" : " \\fI");
            put_roff(value_name(o, words, sizeof words));
            printf(o->implied ? "\\fR]" : "\\fR");
        }
        putchar('\n');
        put_roff(o->help);
        put_roff(default_of(o, words, sizeof words));
        putchar('\n');
    }
}

/* Prints the sections of a manual page. part true: prints them without headings, because the command is one part of
 * its program's page. */
static void print_man(const struct cli_line *line, bool part)
{
    printf(part ? ".PP\n.nf\n" : ".SH SYNOPSIS\n.nf\n");
    print_synopsis(line, put_roff);
    printf(".fi\n");
    if (line->about[0])
        printf(part ? ".PP\n" : ".SH DESCRIPTION\n");
    each_paragraph(line->about, roff_paragraph);
    if (line->n_options && !part)
        printf(".SH OPTIONS\n");
    roff_options(line, part);
    if (line->notes && !line->n_commands) {
        printf(part ? ".PP\n" : ".SH NOTES\n");
        each_paragraph(line->notes, roff_paragraph);
    }
}

/* Prints the sections of a manual page for line and its commands. part: as for print_man. */
static void print_man_of_commands(const struct cli_line *line, bool part)
{
    static char word[] = "--help=man-part";
    const char *group = part ? strrchr(line->command, ' ') + 1 : "";

    print_man(line, part);
    if (!part)
        printf(".SH COMMANDS\n");
    for (size_t i = 0; i < line->n_commands; i++) {
        char *argv[] = {(char *)(uintptr_t)line->commands[i].name, word, NULL};

        printf(".SS %s%s%s\n", group, part ? " " : "", line->commands[i].name);
        put_roff(line->commands[i].summary);
        printf(".\n");
        (void)line->commands[i].run(2, argv);
    }
}

/* Prints help if word is one of the options that request it. */
static bool help_wanted(const struct cli_line *line, const char *word)
{
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
        print_help(line);
    else if (strcmp(word, "--help=man") == 0 || strcmp(word, "--help=man-part") == 0)
        (line->n_commands ? print_man_of_commands : print_man)(line, strcmp(word, "--help=man") != 0);
    else
        return false;
    return true;
}

/* ---- parsing ---- */

static bool is_name(const char *known, const char *name, size_t len)
{
    return known && strlen(known) == len && strncmp(known, name, len) == 0;
}

static const struct cli_option *find_option(const struct cli_line *line, const char *name, size_t len)
{
    for (size_t i = 0; i < line->n_options; i++)
        if (is_name(line->options[i].name, name, len) || is_name(line->options[i].former, name, len))
            return &line->options[i];
    return NULL;
}

static const struct cli_option *find_short(const struct cli_line *line, char name)
{
    for (size_t i = 0; i < line->n_options; i++)
        if (line->options[i].short_name == name)
            return &line->options[i];
    return NULL;
}

static bool is_choice(const struct cli_option *o, const char *value)
{
    for (const char *const *c = o->choices; *c; c++)
        if (strcmp(*c, value) == 0)
            return true;
    return false;
}

/* Stores an option's value. Returns CLI_OK, or CLI_USAGE if the value is not valid. */
static int set_value(const struct cli_line *line, const struct cli_option *o, const char *value)
{
    char words[120];

    switch (o->type) {
    case CLI_TYPE_FLAG:
        *o->target.flag = true;
        return CLI_OK;
    case CLI_TYPE_NUMBER:
        if (cmx_text_u64(value, o->min, o->max, o->target.number) == CMX_OK)
            return CLI_OK;
        return cli_usage(line->command, "--%s '%s': give a number from %" PRIu64 " to %" PRIu64, o->name, value, o->min,
                         o->max);
    case CLI_TYPE_LIST:
        if (o->target.list->n == CLI_LIST_MAX)
            return cli_usage(line->command, "--%s is given more than %d times", o->name, CLI_LIST_MAX);
        o->target.list->item[o->target.list->n++] = value;
        return CLI_OK;
    case CLI_TYPE_TEXT:
        if (o->choices && !is_choice(o, value))
            return cli_usage(line->command, "--%s '%s': give one of %s", o->name, value,
                             value_name(o, words, sizeof words));
        *o->target.text = value;
        return CLI_OK;
    }
    return CLI_USAGE;
}

/* Parses one option at argv[*i]. If the option's value is a separate argument, increments *i. Returns CLI_OK or
 * CLI_USAGE. */
static int take_option(const struct cli_line *line, char **argv, int *i, bool given[])
{
    const char *word = argv[*i];
    bool is_long = word[1] == '-';
    const char *name = word + (is_long ? 2 : 1);
    size_t len = is_long ? strcspn(name, "=") : 1;
    const struct cli_option *o = is_long ? find_option(line, name, len) : find_short(line, name[0]);
    const char *value = name[len] == '\0' ? NULL : is_long ? name + len + 1 : name + 1;

    if (!o && is_long)
        return unknown_option(line, name, len);
    if (!o)
        return cli_usage(line->command, "unknown option '-%c'", name[0]);
    given[o - line->options] = true;
    if (o->type == CLI_TYPE_FLAG && value)
        return cli_usage(line->command, "--%s takes no value", o->name);
    if (o->type != CLI_TYPE_FLAG && !value)
        value = o->implied ? o->implied : argv[*i + 1] ? argv[++*i] : NULL;
    if (o->type != CLI_TYPE_FLAG && !value)
        return cli_usage(line->command, "--%s needs a value", o->name);
    /* In a script, "$NAME" is an empty argument if the variable is not set. This must not mean "all", or name a
     * file. */
    if (value && !value[0] && !o->or_empty)
        return cli_usage(line->command, "--%s is empty", o->name);
    return set_value(line, o, value);
}

/* True if `words`, which blanks separate, contains word. */
static bool has_word(const char *words, const char *word)
{
    const size_t len = strlen(word);

    for (const char *at = words; *at; at += strspn(at, " ")) {
        const size_t n = strcspn(at, " ");

        if (n == len && memcmp(at, word, len) == 0)
            return true;
        at += n;
    }
    return false;
}

/* Refuses an option that has no effect because of another option that is given. */
static int check_effect(const struct cli_line *line, const bool given[])
{
    for (size_t i = 0; i < line->n_options; i++)
        for (size_t k = 0; k < line->n_options && given[i] && line->options[i].except; k++)
            if (given[k] && has_word(line->options[i].except, line->options[k].name))
                return cli_usage(line->command, "--%s can't be used with --%s", line->options[i].name,
                                 line->options[k].name);
    return CLI_OK;
}

static int check_complete(const struct cli_line *line, const bool given[])
{
    for (size_t i = 0; i < line->n_options; i++)
        if (line->options[i].required && !given[i])
            return cli_usage(line->command, "--%s is missing", line->options[i].name);
    if (line->n_operands < line->min_operands)
        return cli_usage(line->command, "%s is missing", line->operands);
    return check_effect(line, given);
}

cmx_err cli_parse(struct cli_line *line, int argc, char **argv, int *status)
{
    bool given[CLI_OPTIONS_MAX] = {false};
    bool only_operands = false;

    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--") == 0)
            break;
        else if (help_wanted(line, argv[i])) {
            *status = CLI_OK;
            return CMX_EAGAIN;
        }
    for (int i = 1; i < argc; i++) {
        if (!only_operands && strcmp(argv[i], "--") == 0) {
            only_operands = true;
            if (!line->rest_form)
                continue;
            line->rest = argv + i + 1;
            break;
        }
        if (!only_operands && argv[i][0] == '-' && argv[i][1]) {
            *status = take_option(line, argv, &i, given);
            if (*status)
                return CMX_EINVAL;
            continue;
        }
        if (line->n_operands == line->max_operands || line->n_operands == CLI_OPERANDS_MAX) {
            *status = cli_usage(line->command, "unexpected argument '%s'", argv[i]);
            return CMX_EINVAL;
        }
        if (!argv[i][0]) {
            *status = cli_usage(line->command, "an argument is empty");
            return CMX_EINVAL;
        }
        line->operand[line->n_operands++] = argv[i];
    }
    *status = check_complete(line, given);
    return *status ? CMX_EINVAL : CMX_OK;
}

int cli_dispatch(const char *prefix, const struct cli_command *table, size_t n, int argc, char **argv)
{
    struct cli_line line = {
        .command = prefix, .operands = "COMMAND [ARGUMENT ...]", .about = "", .commands = table, .n_commands = n};
    char notes[120];

    snprintf(notes, sizeof notes, "Run '%s COMMAND --help' for the options of a command.", prefix);
    line.notes = notes;
    if (argc < 2)
        return cli_usage(prefix, "no command given");
    if (argc > 2 && strcmp(argv[1], "help") == 0) { /* `help COMMAND` means `COMMAND --help` */
        memmove(&argv[1], &argv[2], (size_t)(argc - 2) * sizeof argv[0]);
        argv[argc - 1] = (char *)(uintptr_t) "--help";
    }
    if (help_wanted(&line, strcmp(argv[1], "help") == 0 ? "--help" : argv[1]))
        return CLI_OK;
    for (size_t i = 0; i < n; i++)
        if (strcmp(argv[1], table[i].name) == 0)
            return table[i].run(argc - 1, argv + 1);
    if (argv[1][0] == '-')
        return cli_usage(prefix, "unknown option '%s'; the options of a command follow its name", argv[1]);
    return unknown_command(prefix, table, n, argv[1]);
}
