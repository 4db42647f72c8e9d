/* cmxsafed - the Linux agent. */
#include <openssl/ui.h>
#include <stdio.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/agent_check.h"
#include "agent/config/config_table.h"
#include "agent/control/status_command.h"
#include "agent/isolation/isolation_command.h"
#include "cmxsafe/version.h"
#include "port/linux/cli.h"

static const struct cli_command commands[] = {
    {"status", cmd_status, "print the state of every context of the running agent"},
    {"isolation", cmd_isolation, "show, try, apply, confirm or remove the packet filter"},
};

static const char about[] = "Opens SSH sessions to a gateway and keeps them up, so that local services are reachable "
                            "at the gateway and nowhere else.";

static const char notes[] =
    "On SIGHUP the agent reads its configuration again; on SIGTERM it ends. See cmxsafed(8) and cmxsafed.conf(5).";

static int print_reference(const char *form)
{
    if (strcmp(form, "man") == 0)
        config_reference_man(stdout);
    else
        config_reference_markdown(stdout);
    return CLI_OK;
}

static int run(int argc, char **argv)
{
    static const char *const forms[] = {"markdown", "man", NULL};
    const char *file = CONFIG_FILE_DEFAULT, *reference = NULL;
    bool check = false, unit = false, foreground = false, version = false;
    const struct cli_option options[] = {
        CLI_TEXT("config", "FILE", "read the configuration from FILE", &file, .short_name = 'c'),
        CLI_FLAG("check", "report every error in the configuration, and exit", &check,
                 .except = "config-reference version"),
        CLI_FLAG("unit", "with --check, as root: check as the user of cmxsafed.service, within its sandbox", &unit),
        CLI_TEXT("config-reference", "FORM", "print the reference of all configuration keys, and exit", &reference,
                 .choices = forms, .implied = "markdown"),
        CLI_FLAG("foreground", "stay in the foreground; the agent always does", &foreground),
        CLI_FLAG("version", "print the version, and exit", &version),
    };
    struct cli_line line = CLI_LINE("cmxsafed", "", about, 0, 0, options);
    int status;

    if (argc > 1 && argv[1][0] != '-')
        return cli_dispatch("cmxsafed", commands, CLI_COUNT(commands), argc, argv);
    line.notes = notes;
    line.commands = commands;
    line.n_commands = CLI_COUNT(commands);
    if (cli_parse(&line, argc, argv, &status))
        return status;
    if (version)
        return printf("cmxsafed %s (libssh %s)\n", CMX_VERSION, cmx_proxy_library()) < 0;
    if (reference)
        return print_reference(reference);
    if (unit && !check)
        return cli_usage("cmxsafed", "--unit needs --check");
    return check ? agent_check(file, unit) : agent_run(file);
}

/* OpenSSL calls this function to read the answer to a prompt. The result 0 makes the prompt fail. */
static int refuse_prompt(UI *ui, UI_STRING *text)
{
    (void)ui;
    (void)text;
    return 0;
}

/* OpenSSL would ask on the terminal for the passphrase of a PEM key. The agent has no terminal when it runs, so --check
 * must not accept an answer either. */
static void disable_prompts(void)
{
    UI_METHOD *method = UI_create_method("cmxsafed");

    if (method && UI_method_set_reader(method, refuse_prompt) == 0)
        UI_set_default_method(method);
}

int main(int argc, char **argv)
{
    cli_begin();
    disable_prompts();
    return cli_end(run(argc, argv));
}
