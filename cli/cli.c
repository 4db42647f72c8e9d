#include "cli.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "cmxsafe/core/nearest.h"

int cli_fail(const char *what, const char *why, const char *todo)
{
    fprintf(stderr, "cmxsafe: %s: %s%s%s\n", what, why, todo ? "; " : "", todo ? todo : "");
    return CLI_FAILED;
}

int cli_usage(const char *command, const char *fmt, ...)
{
    va_list ap;

    fprintf(stderr, "cmxsafe: ");
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, "; see '%s --help'\n", command);
    return CLI_USAGE;
}

static void print_help(const char *prefix, const struct cli_command *table, size_t n)
{
    printf("usage: %s COMMAND [ARGUMENT ...]\n\ncommands:\n", prefix);
    for (size_t i = 0; i < n; i++)
        printf("  %-12s %s\n", table[i].name, table[i].summary);
    printf("\n'%s COMMAND --help' says more of one command.\n", prefix);
}

static const char *nearest_command(const char *word, const struct cli_command *table, size_t n)
{
    struct cmx_nearest best = CMX_NEAREST_INIT(word);

    for (size_t i = 0; i < n; i++)
        cmx_nearest_offer(&best, table[i].name);
    return cmx_nearest_result(&best);
}

int cli_dispatch(const char *prefix, const struct cli_command *table, size_t n, int argc, char **argv)
{
    const char *near;

    if (argc < 2)
        return cli_usage(prefix, "no command given");
    if (argc > 2 && strcmp(argv[1], "help") == 0) { /* `help COMMAND` is `COMMAND --help` */
        memmove(&argv[1], &argv[2], (size_t)(argc - 2) * sizeof argv[0]);
        argv[argc - 1] = (char *)(uintptr_t) "--help";
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        print_help(prefix, table, n);
        return CLI_OK;
    }
    for (size_t i = 0; i < n; i++)
        if (strcmp(argv[1], table[i].name) == 0)
            return table[i].run(argc - 1, argv + 1);
    near = nearest_command(argv[1], table, n);
    if (near)
        return cli_usage(prefix, "no command '%s'; did you mean '%s'?", argv[1], near);
    return cli_usage(prefix, "no command '%s'", argv[1]);
}
