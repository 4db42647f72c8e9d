#include <getopt.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmxsafe/core/text.h"
#include "commands.h"

static void help(void)
{
    printf("usage: cmxsafed status [--json] [--watch[=SECONDS]] [-c FILE | --socket PATH]\n\n"
           "Asks the running agent for the state of every context.\n\n"
           "  --json            one JSON document instead of a table\n"
           "  --watch[=SECONDS] again and again, every 2 seconds or as said\n"
           "  -c, --config FILE the agent's configuration, which names the socket\n"
           "  --socket PATH     the socket\n");
}

struct options {
    bool json;
    uint64_t watch_s;
    const char *config;
    const char *socket;
};

/* 0: go on; else the exit code plus one. */
static int parse(int argc, char **argv, struct options *o)
{
    static const struct option longs[] = {
        {"json", no_argument, NULL, 'j'},         {"watch", optional_argument, NULL, 'w'},
        {"config", required_argument, NULL, 'c'}, {"socket", required_argument, NULL, 's'},
        {"help", no_argument, NULL, 'h'},         {0},
    };
    int c;

    opterr = 0;
    while ((c = getopt_long(argc, argv, "c:h", longs, NULL)) != -1) {
        if (c == 'j')
            o->json = true;
        else if (c == 'c')
            o->config = optarg;
        else if (c == 's')
            o->socket = optarg;
        else if (c == 'w' && cmx_text_u64(optarg ? optarg : "2", 1, 3600, &o->watch_s) == CMX_OK)
            continue;
        else if (c == 'h') {
            help();
            return 1;
        } else {
            fprintf(stderr, "cmxsafe: %s '%s'; see 'cmxsafed status --help'\n",
                    c == 'w' ? "--watch takes 1 to 3600 seconds, not" : "option not known, or without its value:",
                    c == 'w' ? optarg : argv[optind - 1]);
            return 3;
        }
    }
    if (optind == argc)
        return 0;
    fprintf(stderr, "cmxsafe: unexpected argument '%s'; see 'cmxsafed status --help'\n", argv[optind]);
    return 3;
}

int cmd_status(int argc, char **argv)
{
    struct options o = {0};
    bool color = isatty(STDOUT_FILENO) && !getenv("NO_COLOR");
    char path[108] = "";
    int code = parse(argc, argv, &o);

    if (code)
        return code - 1;
    if (o.socket)
        code = cmx_text_copy(path, sizeof path, o.socket) ? 2 : 0;
    else
        code = control_path(o.config, path, sizeof path);
    if (code)
        return code;
    do {
        if (o.watch_s && color)
            fputs("\033[H\033[2J", stdout);
        code = control_ask(path, o.json ? "status json" : color ? "status table color" : "status table", stdout);
        if (o.watch_s)
            sleep((unsigned)o.watch_s);
    } while (o.watch_s && !code);
    return code;
}
