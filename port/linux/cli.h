/* cli.h - the command line of cmxsafe, cmxsafed and cmxsafe-board.
 *
 * A program is a table of commands, and a command is a table of options (struct cli_line). Parsing, bounds, error
 * messages, --help and the manual page derive from these tables. Nothing here reads files or keeps state between calls.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"

/* Exit statuses. */
#define CLI_OK 0
#define CLI_FAILED 1
#define CLI_USAGE 2

#define CLI_OPTIONS_MAX 32
#define CLI_OPERANDS_MAX 256
#define CLI_LIST_MAX 64

#define CLI_COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ---- options ---- */

typedef enum { CLI_TYPE_FLAG, CLI_TYPE_TEXT, CLI_TYPE_NUMBER, CLI_TYPE_LIST } cli_type;

/* The values of an option that may be given several times, in the order given. */
struct cli_list {
    const char *item[CLI_LIST_MAX];
    size_t n;
};

struct cli_option {
    const char *name;  /* the long name without the dashes */
    const char *value; /* the value's name in the help; NULL for a flag */
    const char *help;  /* one phrase; the help appends the default (the target's value before parsing), unless it is 0
                          or NULL, or `implied` is set */
    cli_type type;
    union {
        bool *flag;
        const char **text; /* after parsing, points into argv */
        uint64_t *number;
        struct cli_list *list;
    } target;
    uint64_t min, max;          /* bounds of a number */
    char short_name;            /* 'c' for -c; 0: none */
    bool required;              /* the command fails without this option */
    bool or_empty;              /* "" is a permitted value; if false, "" is an error, as it is for each operand */
    bool hex;                   /* the help prints the default number in hexadecimal */
    const char *const *choices; /* permitted values of a text, NULL-terminated; NULL: any text */
    const char *implied;        /* value of --name alone; any other value is given as --name=VALUE. NULL: none */
    /* Names of options, separated by blanks. This option has no effect if one of them is given, so the two together are
     * refused. NULL: none. */
    const char *except;
    const char *former; /* the option's name in an earlier version, accepted but not in the help; NULL: none */
    bool common;        /* all commands have this option: their common manual page describes it once (gen_man.sh) */
};

/* Rows of a table of options. Further members may follow the arguments: CLI_TEXT("config", "FILE", "...", &file,
 * .short_name = 'c'). */
#define CLI_FLAG(n, h, t, ...)                                                                                         \
    {                                                                                                                  \
        .name = (n), .help = (h), .type = CLI_TYPE_FLAG, .target.flag = (t), __VA_ARGS__                               \
    }
#define CLI_TEXT(n, v, h, t, ...)                                                                                      \
    {                                                                                                                  \
        .name = (n), .value = (v), .help = (h), .type = CLI_TYPE_TEXT, .target.text = (t), __VA_ARGS__                 \
    }
#define CLI_LIST(n, v, h, t, ...)                                                                                      \
    {                                                                                                                  \
        .name = (n), .value = (v), .help = (h), .type = CLI_TYPE_LIST, .target.list = (t), __VA_ARGS__                 \
    }
#define CLI_NUMBER(n, v, least, most, h, t, ...)                                                                       \
    {                                                                                                                  \
        .name = (n), .value = (v), .min = (least), .max = (most), .help = (h), .type = CLI_TYPE_NUMBER,                \
        .target.number = (t), __VA_ARGS__                                                                              \
    }

/* ---- a command ---- */

struct cli_command {
    const char *name;
    int (*run)(int argc, char **argv); /* argv[0] is the command's name; returns CLI_* */
    const char *summary;               /* the purpose, in one phrase */
};

struct cli_line {
    const char *command;  /* the command as the user types it: "cmxsafe gateway enroll" */
    const char *operands; /* the operands as the help shows them: "NAME", "[NAME ...]", "" */
    /* Paragraphs for the help, before and after the options. A blank line separates paragraphs, which are wrapped; a
     * line that begins with two spaces is printed as it is. notes may be NULL. */
    const char *about, *notes;
    size_t min_operands, max_operands;
    const char *rest_form; /* the arguments after "--" as the help shows them: "COMMAND ..."; NULL: they are operands */
    const struct cli_option *options;
    size_t n_options;
    const struct cli_command *commands; /* the subcommands, which the help lists; NULL if n_commands is 0 */
    size_t n_commands;
    const char *operand[CLI_OPERANDS_MAX]; /* filled by cli_parse */
    size_t n_operands;
    char **rest; /* the arguments after "--", NULL-terminated; NULL when there is no "--" */
};

/* Initialiser of a struct cli_line that takes `least` to `most` operands; table is an array of options. */
#define CLI_LINE(name, form, text, least, most, table)                                                                 \
    {                                                                                                                  \
        .command = (name), .operands = (form), .about = (text), .min_operands = (least), .max_operands = (most),       \
        .options = (table), .n_options = CLI_COUNT(table)                                                              \
    }

/* Fills the options' targets, line->operand and line->rest. Every command also takes --help and -h, and --help=man for
 * scripts/gen_man.sh. After CMX_OK the command continues. After an error the command returns *status: CLI_OK if help
 * was printed, CLI_USAGE if an error message was printed. */
CMX_MUST_USE cmx_err cli_parse(struct cli_line *line, int argc, char **argv, int *status);

/* Runs the command of the table that argv[1] names. prefix is the words before it ("cmxsafe gateway"). Lists the
 * commands for --help, and suggests the nearest name for an unknown one. */
int cli_dispatch(const char *prefix, const struct cli_command *table, size_t n, int argc, char **argv);

/* ---- errors ---- */

/* Prints `cmxsafe: WHAT: WHY; TODO` to stderr. todo may be NULL. Returns CLI_FAILED. */
int cli_fail(const char *what, const char *why, const char *todo);

/* For a command that can write to a file, but not to standard output: refuses the path "-". Returns CLI_OK; on
 * CLI_FAILED the reason was printed. */
int cli_output_check(const char *path);

/* For the start of main: opens each standard stream that is closed, so that no file or socket takes its number and
 * receives the program's output. Reading from such a stream or writing to it still fails. Also makes a write beyond the
 * file size limit (ulimit -f) fail instead of ending the program. */
void cli_begin(void);

/* Writes what the command has printed so far. False: writing failed; a command that prints repeatedly must then end,
 * and cli_end reports the failure. */
bool cli_flush(void);

/* For the end of main: returns status, or CLI_FAILED with a message if the output could not be written. */
int cli_end(int status);

/* Prints `cmxsafe: MESSAGE; see 'COMMAND --help'` to stderr. Returns CLI_USAGE. */
int cli_usage(const char *command, const char *fmt, ...) CMX_PRINTF(2, 3);
