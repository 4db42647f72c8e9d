/* cmxsafe-board - the virtual board. */
#include <stdio.h>
#include <string.h>

#include "board.h"
#include "cmxsafe/core/nearest.h"
#include "cmxsafe/version.h"

static int cmd_keys(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    board_config_reference(stdout);
    return BOARD_OK;
}

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
} commands[] = {
    {"create", board_cmd_create, "make a board: flash, eFuse and configuration in a folder"},
    {"run", board_cmd_run, "boot a board"},
    {"image", board_cmd_image, "make an application image to update a board with"},
    {"keys", cmd_keys, "print the keys of board.ini, in Markdown"},
};

#define N_COMMANDS (sizeof commands / sizeof commands[0])

static int print_help(void)
{
    puts("usage: cmxsafe-board COMMAND DIR [OPTION ...]\n\ncommands:");
    for (size_t i = 0; i < N_COMMANDS; i++)
        printf("  %-8s %s\n", commands[i].name, commands[i].summary);
    puts("\n'cmxsafe-board COMMAND --help' says more of one command.");
    return BOARD_OK;
}

int main(int argc, char **argv)
{
    struct cmx_nearest near = CMX_NEAREST_INIT(argc > 1 ? argv[1] : "");

    if (argc < 2)
        return board_usage("no command given");
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return print_help();
    if (strcmp(argv[1], "--version") == 0) {
        puts("cmxsafe-board " CMX_VERSION);
        return BOARD_OK;
    }
    for (size_t i = 0; i < N_COMMANDS; i++) {
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
        cmx_nearest_offer(&near, commands[i].name);
    }
    if (cmx_nearest_result(&near))
        return board_usage("no command '%s'; did you mean '%s'?", argv[1], cmx_nearest_result(&near));
    return board_usage("no command '%s'", argv[1]);
}
