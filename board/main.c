/* cmxsafe-board - the virtual board. */
#include <stdio.h>
#include <string.h>

#include "board/board.h"
#include "cmxsafe/version.h"

static int cmd_keys(int argc, char **argv)
{
    struct cli_line line = {
        .command = "cmxsafe-board keys", .operands = "", .about = "Prints the keys of board.ini, in Markdown."};
    int status;

    if (cli_parse(&line, argc, argv, &status))
        return status;
    board_config_reference(stdout);
    return CLI_OK;
}

static const struct cli_command commands[] = {
    {"create", board_cmd_create, "make a board: flash, eFuse and configuration in a folder"},
    {"run", board_cmd_run, "boot a board"},
    {"image", board_cmd_image, "make an application image for updating a board"},
    {"keys", cmd_keys, "print the keys of board.ini, in Markdown"},
};

int main(int argc, char **argv)
{
    cli_begin();
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        puts("cmxsafe-board " CMX_VERSION);
        return cli_end(CLI_OK);
    }
    return cli_end(cli_dispatch("cmxsafe-board", commands, CLI_COUNT(commands), argc, argv));
}
