/* cmxsafed - the Linux agent. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "agent.h"
#include "cmxsafe/core/nearest.h"
#include "cmxsafe/version.h"
#include "commands.h"
#include "config_table.h"

static const struct agent_command commands[] = {
    {"status", cmd_status, "ask the running agent for the state of every context"},
    {"isolation", cmd_isolation, "show, try, apply, confirm or remove the packet filter"},
};
#define N_COMMANDS (sizeof commands / sizeof commands[0])

static int help(void)
{
    printf("usage: cmxsafed [-c FILE] [--check]\n       cmxsafed COMMAND [ARGUMENT ...]\n\n"
           "Makes local services reachable at a gateway, and only there, through SSH sessions that it opens and keeps "
           "up.\n\n"
           "  -c, --config FILE   configuration (default: " CONFIG_FILE_DEFAULT ")\n"
           "  --check             report all errors of the configuration, and exit\n"
           "  --config-reference  print the reference of all keys (Markdown; =man: roff), and exit\n"
           "  --foreground        stay in the foreground: what it always does\n"
           "  --version           print the version, and exit\n\ncommands:\n");
    for (size_t i = 0; i < N_COMMANDS; i++)
        printf("  %-12s        %s\n", commands[i].name, commands[i].summary);
    printf("\nSIGHUP: read the configuration again. SIGTERM: end. See cmxsafed(8), cmxsafed.conf(5).\n");
    return 0;
}

static int usage(const char *what, const char *word)
{
    struct cmx_nearest near = CMX_NEAREST_INIT(word);

    for (size_t i = 0; i < N_COMMANDS; i++)
        cmx_nearest_offer(&near, commands[i].name);
    fprintf(stderr, "cmxsafe: %s '%s'", what, word);
    if (cmx_nearest_result(&near))
        fprintf(stderr, "; did you mean '%s'?", cmx_nearest_result(&near));
    fprintf(stderr, "; see 'cmxsafed --help'\n");
    return 2;
}

static int reference(const char *form)
{
    if (!form || strcmp(form, "markdown") == 0)
        config_reference_markdown(stdout);
    else if (strcmp(form, "man") == 0)
        config_reference_man(stdout);
    else
        return usage("--config-reference is markdown or man, not", form);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct option longs[] = {
        {"config", required_argument, NULL, 'c'},
        {"check", no_argument, NULL, 'k'},
        {"config-reference", optional_argument, NULL, 'r'},
        {"foreground", no_argument, NULL, 'f'},
        {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    const char *file = CONFIG_FILE_DEFAULT;
    int check = 0, c;

    opterr = 0;
    for (size_t i = 0; argc > 1 && i < N_COMMANDS; i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    while ((c = getopt_long(argc, argv, "c:h", longs, NULL)) != -1) {
        if (c == 'h')
            return help();
        if (c == 'v')
            return printf("cmxsafed %s (libssh %s)\n", CMX_VERSION, cmx_proxy_library()) < 0;
        if (c == 'r')
            return reference(optarg);
        if (c == 'c')
            file = optarg;
        else if (c == 'k')
            check = 1;
        else if (c != 'f')
            return usage("option not known, or without its value:", argv[optind - 1]);
    }
    if (optind < argc)
        return usage("no command", argv[optind]);
    return check ? agent_check(file) : agent_run(file);
}
