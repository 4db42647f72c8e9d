/* Tests port/linux/cli: option tables, bounds, error messages, help and manual page. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "port/linux/cli.h"

static const char *const colours[] = {"red", "green", NULL};

/* The values that the test command below received. */
static struct {
    const char *file, *colour, *level;
    bool quiet;
    uint64_t number;
    struct cli_list items;
    struct cli_line line;
} got;

static int run_sample(int argc, char **argv)
{
    const struct cli_option options[] = {
        CLI_TEXT("file", "FILE", "a file", &got.file, .short_name = 'f'),
        CLI_TEXT("colour", "C", "a colour", &got.colour, .choices = colours, .former = "tint"),
        CLI_TEXT("level", "N", "verbosity", &got.level, .implied = "2", .except = "files quiet number"),
        CLI_FLAG("quiet", "print nothing", &got.quiet, .short_name = 'q', .common = true),
        CLI_NUMBER("number", "N", 1, 300, "a number", &got.number, .hex = true),
        CLI_LIST("item", "TEXT", "an item", &got.items, .required = true, .or_empty = true),
    };
    struct cli_line line = CLI_LINE("prog sample", "A [B]", "First words.\n\n  $ verbatim  line", 1, 2, options);
    int status;
    cmx_err err;

    memset(&got, 0, sizeof got);
    got.file = "x.conf";
    got.number = 16;
    line.rest_form = argc > 1 && strcmp(argv[argc - 1], "no-rest") == 0 ? NULL : "COMMAND";
    err = cli_parse(&line, argc, argv, &status);
    got.line = line;
    return err ? status : 10;
}

static int run_group(int argc, char **argv)
{
    static const struct cli_command leaves[] = {{"leaf", run_sample, "show a leaf"}};

    return cli_dispatch("prog group", leaves, CLI_COUNT(leaves), argc, argv);
}

static const struct cli_command commands[] = {{"sample", run_sample, "show how it works"},
                                              {"other", run_sample, "do something else"},
                                              {"group", run_group, "hold commands"}};

/* Runs "prog WORD ..." and captures what it prints on descriptor fd (1 or 2). Returns the exit status. */
static int run(int fd, char out[4096], const char *words)
{
    static char copy[512], *argv[40]; /* static: the command's values point into it */
    char *save = NULL;
    FILE *capture = tmpfile();
    int argc = 1, saved = dup(fd), status;
    size_t n;

    assert_non_null(capture);
    snprintf(copy, sizeof copy, "prog %s", words);
    memset(argv, 0, sizeof argv);
    argv[0] = copy;
    strtok_r(copy, " ", &save);
    while (argc < 39 && (argv[argc] = strtok_r(NULL, " ", &save)) != NULL)
        argc++;
    fflush(NULL);
    dup2(fileno(capture), fd);
    status = cli_dispatch("prog", commands, CLI_COUNT(commands), argc, argv);
    fflush(NULL);
    dup2(saved, fd);
    close(saved);
    rewind(capture);
    n = fread(out, 1, 4095, capture);
    out[n] = '\0';
    fclose(capture);
    return status;
}

static void values_reach_their_targets(void **state)
{
    char out[4096];

    (void)state;
    assert_int_equal(run(2, out, "sample --item=1 one -f a.txt --item 2 --number 0x2f --colour green two -q -- ls -l"),
                     10);
    assert_string_equal(got.file, "a.txt");
    assert_string_equal(got.colour, "green");
    assert_null(got.level);
    assert_true(got.quiet);
    assert_int_equal(got.number, 0x2f);
    assert_int_equal(got.items.n, 2);
    assert_string_equal(got.items.item[1], "2");
    assert_int_equal(got.line.n_operands, 2);
    assert_string_equal(got.line.operand[1], "two");
    assert_string_equal(got.line.rest[1], "-l");
    assert_null(got.line.rest[2]);
    assert_int_equal(run(2, out, "sample a --item 1 --file f --level"), 10); /* --level excludes "files", not "file" */
    assert_string_equal(out, "");

    assert_int_equal(run(2, out, "sample --item= -fb.txt --level - --level=5"), 10);
    assert_string_equal(got.items.item[0], "");
    assert_string_equal(got.file, "b.txt");
    assert_string_equal(got.level, "5");
    assert_string_equal(got.line.operand[0], "-"); /* a dash alone is an operand: standard input */
    assert_null(got.line.rest);

    assert_int_equal(run(2, out, "sample --item 1 --tint green b"), 10); /* the option's former name */
    assert_string_equal(got.colour, "green");

    assert_int_equal(run(2, out, "sample --item 1 --level -- --quiet no-rest"), 10);
    assert_string_equal(got.level, "2"); /* "--" is not the value of --level */
    assert_false(got.quiet);
    assert_string_equal(got.line.operand[0], "--quiet"); /* without `rest_form`, words after "--" are operands */
}

static void errors_use_one_sentence_each(void **state)
{
    static const struct {
        const char *words, *message;
    } cases[] = {
        {"", "no command given; see 'prog --help'"},
        {"smaple x", "unknown command 'smaple'; did you mean 'sample'?"},
        {"--colour red sample",
         "unknown option '--colour'; the options of a command follow its name; see 'prog --help'"},
        {"xyzzy", "unknown command 'xyzzy'; see 'prog --help'"},
        {"sample --colur x", "unknown option '--colur'; did you mean '--colour'?"},
        {"sample --xyzzy=1", "unknown option '--xyzzy'; see 'prog sample --help'"},
        {"sample -x", "unknown option '-x'; see 'prog sample --help'"},
        {"sample a --item", "--item needs a value; see 'prog sample --help'"},
        {"sample a -f", "--file needs a value; see 'prog sample --help'"},
        {"sample a --file=", "--file is empty; see 'prog sample --help'"},
        {"sample --quiet=1", "--quiet takes no value; see 'prog sample --help'"},
        {"sample a --item x --level --quiet", "--level can't be used with --quiet; see 'prog sample --help'"},
        {"sample a --item x -q --number 3 --level=1", "--level can't be used with --quiet; see 'prog sample --help'"},
        {"sample a --item x --number 3 --level=1", "--level can't be used with --number; see 'prog sample --help'"},
        {"sample -qf", "--quiet takes no value; see 'prog sample --help'"},
        {"sample --number 0", "--number '0': give a number from 1 to 300; see 'prog sample --help'"},
        {"sample --number 301", "--number '301': give a number from 1 to 300; see 'prog sample --help'"},
        {"sample --number 5x", "--number '5x': give a number from 1 to 300; see 'prog sample --help'"},
        {"sample --colour blue", "--colour 'blue': give one of red|green; see 'prog sample --help'"},
        {"sample --item 1", "A [B] is missing; see 'prog sample --help'"},
        {"sample a", "--item is missing; see 'prog sample --help'"},
        {"sample --item 1 a b c", "unexpected argument 'c'; see 'prog sample --help'"},
    };

    (void)state;
    for (size_t i = 0; i < CLI_COUNT(cases); i++) {
        char out[4096], expected[256];

        assert_int_equal(run(2, out, cases[i].words), CLI_USAGE);
        snprintf(expected, sizeof expected, "cmxsafe: %s\n", cases[i].message);
        assert_string_equal(out, expected);
    }
}

static void more_values_than_a_list_holds_are_refused(void **state)
{
    static char item[] = "--item=1", name[] = "sample";
    char *argv[CLI_LIST_MAX + 3] = {name};

    (void)state;
    for (size_t i = 1; i <= CLI_LIST_MAX + 1; i++)
        argv[i] = item;
    assert_int_equal(run_sample(CLI_LIST_MAX + 2, argv), CLI_USAGE);
    assert_int_equal(got.items.n, CLI_LIST_MAX);
}

static void help_derives_from_the_table(void **state)
{
    char out[4096], again[4096];

    (void)state;
    assert_int_equal(run(1, out, "sample --help"), CLI_OK);
    assert_string_equal(out, "usage: prog sample --item TEXT [OPTION ...] A [B] -- COMMAND\n\n"
                             "First words.\n\n  $ verbatim  line\n\noptions:\n"
                             "  -f, --file FILE     a file (default: x.conf)\n"
                             "  --colour red|green  a colour\n"
                             "  --level[=N]         verbosity\n"
                             "  -q, --quiet         print nothing\n"
                             "  --number N          a number (default: 0x10)\n"
                             "  --item TEXT         an item\n");
    assert_int_equal(run(1, again, "help sample"), CLI_OK);
    assert_string_equal(again, out);
    assert_int_equal(run(1, out, "--help"), CLI_OK);
    assert_string_equal(out, "usage: prog COMMAND [ARGUMENT ...]\n\ncommands:\n  sample  show how it works\n"
                             "  other   do something else\n  group   hold commands\n\n"
                             "Run 'prog COMMAND --help' for the options of a command.\n");
    assert_int_equal(run(1, out, "sample --quiet --help --xyzzy"), CLI_OK); /* help ends parsing */
}

static void the_manual_page_derives_from_the_table(void **state)
{
    char out[4096];

    (void)state;
    assert_int_equal(run(1, out, "sample --help=man"), CLI_OK);
    assert_non_null(
        strstr(out, ".SH SYNOPSIS\n.nf\nprog sample \\-\\-item TEXT [OPTION ...] A [B] \\-\\- COMMAND\n.fi\n"));
    assert_non_null(
        strstr(out, ".SH OPTIONS\n.TP\n\\fB\\-f\\fR, \\fB\\-\\-file\\fR \\fIFILE\\fR\na file (default: x.conf)\n"));
    assert_non_null(strstr(out, ".SH DESCRIPTION\nFirst words.\n.PP\n.RS 2\n.nf\n  $ verbatim  line\n.fi\n.RE\n.SH"));
    assert_non_null(strstr(out, ".TP\n\\fB\\-\\-level\\fR[=\\fIN\\fR]\nverbosity\n"));
    assert_int_equal(run(1, out, "--help=man"), CLI_OK);
    assert_non_null(strstr(out, ".SH COMMANDS\n.SS sample\nshow how it works.\n.PP\n.nf\nprog sample "));
    assert_non_null(
        strstr(out, ".SS group leaf\nshow a leaf.\n.PP\n.nf\nprog sample ")); /* a command below another command */
    assert_null(strstr(out, "\\-\\-quiet"));                                  /* the page omits common options */
    assert_null(strstr(out, "for the options of a command")); /* the page itself lists the options of commands */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_reach_their_targets),
        cmocka_unit_test(errors_use_one_sentence_each),
        cmocka_unit_test(more_values_than_a_list_holds_are_refused),
        cmocka_unit_test(help_derives_from_the_table),
        cmocka_unit_test(the_manual_page_derives_from_the_table),
    };

    return cmocka_run_group_tests_name("port_cli", tests, NULL, NULL);
}
