#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/gateway/gw_command.h"
#include "cmxsafe/core/text.h"
#include "gateway/server/gw_inside.h"

static const char about[] =
    "Runs COMMAND in the gateway's network namespace and with the gateway's hosts file, so that it can reach "
    "the devices by name and address:\n  cmxsafe gateway exec -- curl http://cam-17.cmx:81/stream\n\nGrants apply "
    "there as well (cmxsafe gateway grant user:NAME cam-17:81).";

int gw_cmd_exec(int argc, char **argv)
{
    struct gw_common c = {0};
    const char *uid_text = NULL;
    const struct cli_option options[] = {
        GW_DIR_OPTION(c),
        CLI_TEXT("uid", "N", "user id in the namespace (default: yours)", &uid_text),
    };
    struct cli_line line = CLI_LINE("cmxsafe gateway exec", "", about, 0, 0, options);
    uint64_t uid = 0;
    struct gw g;
    int status;

    line.rest_form = "COMMAND [ARGUMENT ...]";
    if (cli_parse(&line, argc, argv, &status))
        return status;
    if (!line.rest || !line.rest[0])
        return cli_usage("cmxsafe gateway exec", "no command after --");
    if (uid_text && cmx_text_u64(uid_text, 0, 65534, &uid))
        return cli_usage("cmxsafe gateway exec", "'%s' is not a user id", uid_text);
    if (gw_command_open(&g, &c, false))
        return CLI_FAILED;
    gw_folder_close(&g);
    if (!gw_inside_enter(&g, uid_text ? (long)uid : -1, -1))
        return cli_fail("exec failed", "the gateway is not running, or belongs to another user",
                        "see 'cmxsafe gateway status'");
    umask(gw_program_umask());
    fflush(NULL);
    execvp(line.rest[0], line.rest); /* replaces this process, so that signals reach the command */
    return cli_fail(line.rest[0], strerror(errno), NULL);
}
