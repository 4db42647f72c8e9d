#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/control/control_client.h"
#include "cmxsafe/core/text.h"
#include "port/linux/cli.h"

int cmd_status(int argc, char **argv)
{
    bool json = false, color = isatty(STDOUT_FILENO) && !getenv("NO_COLOR");
    const char *config = NULL, *socket = NULL;
    uint64_t watch_s = 0;
    const struct cli_option options[] = {
        CLI_FLAG("json", "print one JSON document instead of a table", &json),
        CLI_NUMBER("watch", "SECONDS", 1, 3600, "print the state again every 2 seconds, or every SECONDS", &watch_s,
                   .implied = "2"),
        CLI_TEXT("config", "FILE", "read the path of the control socket from this configuration file", &config,
                 .short_name = 'c', .except = "socket"),
        CLI_TEXT("socket", "PATH", "use this control socket", &socket),
    };
    struct cli_line line =
        CLI_LINE("cmxsafed status", "", "Prints the state of every context of the running agent.", 0, 0, options);
    char path[108] = "";
    int code;

    if (cli_parse(&line, argc, argv, &code))
        return code;
    if (socket && cmx_text_copy(path, sizeof path, socket))
        return cli_usage(line.command, "--socket: the path is longer than %zu characters", sizeof path - 1);
    code = socket ? CLI_OK : control_path(config, path, sizeof path);
    if (code)
        return code;
    for (;;) {
        if (watch_s && color)
            fputs("\033[H\033[2J", stdout);
        code = control_ask(path, json ? "status json" : color ? "status table color" : "status table", stdout);
        if (!watch_s || code || !cli_flush())
            return code;
        sleep((unsigned)watch_s);
    }
}
