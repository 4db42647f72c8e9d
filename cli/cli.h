/* cli.h - the operator's command is a table: name, function, one line; a subcommand a file (cli/cmd_NAME.c). */
#ifndef CMX_CLI_H
#define CMX_CLI_H

#include <stddef.h>

#include "cmxsafe/core/err.h"

#define CLI_OK 0
#define CLI_FAILED 1
#define CLI_USAGE 2

struct cli_command {
    const char *name;
    int (*run)(int argc, char **argv); /* argv[0] is the subcommand's name; returns CLI_* */
    const char *summary;
};

/* Defined by cmd_NAME.c; the table in main.c names them. */
int cmd_attest(int argc, char **argv);
int cmd_identity(int argc, char **argv);
int cmd_image(int argc, char **argv);
int cmd_gateway(int argc, char **argv);
int cmd_update(int argc, char **argv);
int cmd_version(int argc, char **argv);

/* Prints `cmxsafe: what: why; what to do` to stderr; returns CLI_FAILED. todo may be NULL. */
int cli_fail(const char *what, const char *why, const char *todo);

/* Prints `cmxsafe: what` and where help is; returns CLI_USAGE. */
int cli_usage(const char *command, const char *fmt, ...) CMX_PRINTF(2, 3);

/* Finds and runs argv[1] in the table, `prefix` being what came before it ("cmxsafe" or "cmxsafe gateway"). Serves
 * --help, and names the nearest command for an unknown one. */
int cli_dispatch(const char *prefix, const struct cli_command *table, size_t n, int argc, char **argv);

#endif
