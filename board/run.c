/* run.c - `cmxsafe-board run DIR`: runs the boot step, then the application. A restart of the board executes this
 * program again. */
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "app.h"
#include "board/board.h"
#include "board/lwip/stack.h"
#include "cmxsafe/core/log.h"
#include "cmxsafe/device/attest_service.h"
#include "cmxsafe/device/device.h"
#include "cmxsafe/device/device_isolation.h"
#include "cmxsafe/device/device_update.h"
#include "cmxsafe/device/merge.h"
#include "cmxsafe/port/lwip/filter_lwip.h"
#include "port/linux/linux_http.h"
#include "port/linux/linux_port.h"

#define COMMAND "cmxsafe-board run"

static const char about[] =
    "Boots the board in DIR and runs its application until SIGINT or SIGTERM: a camera with a "
    "web page on port 80 and a stream on port 81. The stream is reachable through the gateway that board.ini names.";

/* A process runs one board. */
static struct {
    char **argv;
    int start_folder;
    struct board_config config;
    struct board_flash flash;
    struct app_door door;
} board;

static void restart(void *arg)
{
    (void)arg;
    cmx_log(CMX_LOG_INFO, "board", "restarting");
    /* A chip loses its connections at a restart. Not every library opens its sockets with O_CLOEXEC, so this marks all
     * descriptors close-on-exec. */
    (void)close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
    if (fchdir(board.start_folder) == 0)
        execv("/proc/self/exe", board.argv);
    cmx_log(CMX_LOG_ERROR, "board", "cannot restart: %s", strerror(errno));
    _exit(CLI_FAILED);
}

/* ---- options ---- */

/* Sets one key from "SECTION.KEY=VALUE". */
static int set_key(const char *text)
{
    char section[64], key[64];
    struct cmx_why why = {""};
    const char *dot = strchr(text, '.');
    const char *eq = dot ? strchr(dot, '=') : NULL;
    cmx_err err;

    if (!eq || (size_t)(dot - text) >= sizeof section || (size_t)(eq - dot - 1) >= sizeof key)
        return cli_usage(COMMAND, "--set %s: not SECTION.KEY=VALUE", text);
    snprintf(section, sizeof section, "%.*s", (int)(dot - text), text);
    snprintf(key, sizeof key, "%.*s", (int)(eq - dot - 1), dot + 1);
    err = board_config_set(&board.config, section, key, eq + 1, &why);
    return err ? cli_usage(COMMAND, "--set: %s", cmx_why_text(&why, err)) : CLI_OK;
}

static int set_named(const char *section, const char *key, const char *value)
{
    struct cmx_why why = {""};
    cmx_err err = board_config_set(&board.config, section, key, value, &why);

    return err ? cli_usage(COMMAND, "%s", cmx_why_text(&why, err)) : CLI_OK;
}

/* ---- the board ---- */

static int load_config(void)
{
    struct cmx_why why = {""};

    if (board_config_load(&board.config, "board.ini", &why) == CMX_OK)
        return CLI_OK;
    return cli_fail("board", why.text, access("board.ini", F_OK) ? "make a board with 'cmxsafe-board create'" : NULL);
}

/* Changes to the board's folder, because file names in board.ini are relative to it. Locks the folder, so that only one
 * process uses the flash. */
static int enter(const char *dir)
{
    int fd;

    board.start_folder = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (board.start_folder < 0 || chdir(dir))
        return cli_fail(dir, strerror(errno), "make a board with 'cmxsafe-board create'");
    fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return cli_fail(dir, strerror(errno), NULL);
    if (flock(fd, LOCK_EX | LOCK_NB))
        return cli_fail(dir, "this board is running already", NULL);
    return CLI_OK; /* the lock is held until the process ends or restarts */
}

static int open_hardware(void)
{
    const struct cmx_linux_device device = {
        .arg = &board.flash,
        .no_socket_pair = true, /* as on an ESP32 */
        .flash_size = board_flash_size,
        .flash_read = board_flash_read,
        .flash_write = board_flash_write,
        .flash_erase = board_flash_erase,
        .hw_key_kind = board_key_kind,
        .hw_hmac = board_key_hmac,
        .secret_read = board_secret_read,
        .secret_create = board_secret_create,
        .restart = restart,
    };
    cmx_err err = board_flash_open(&board.flash, board.config.flash);

    if (err != CMX_OK)
        return cli_fail(board.config.flash, err == CMX_EFORMAT ? "its size is not a valid flash size" : strerror(errno),
                        "make a board with 'cmxsafe-board create'");
    cmx_linux_set_device(&device);
    board_hardware_open(&board.config);
    return CLI_OK;
}

/* Starts the network: the machine's, or the board's own over TAP. With TAP the application listens on every address, as
 * on a chip. */
static int open_network(void)
{
    const char *mode = board.config.net_mode;
    struct cmx_why why = {""};

    if (strcmp(mode, "kernel") == 0) {
        cmx_device_set_isolation(&(struct cmx_device_isolation){.accept_none = true});
        return CLI_OK;
    }
    if (strncmp(mode, "tap:", 4) != 0)
        return cli_usage(COMMAND, "[net] mode '%s': must be kernel or tap:NAME", mode);
    if (board_lwip_start(mode + 4, &board.config.net, &why) != CMX_OK)
        return cli_fail("network", why.text, NULL);
    cmx_linux_set_filter(&cmx_lwip_filter);
    cmx_device_set_isolation(&(struct cmx_device_isolation){.resolvers = {board.config.net.dns}});
    if (!board.config.services)
        board.config.services = "0.0.0.0";
    return CLI_OK;
}

/* Applies the values of board.ini to a context of the application. */
static void adapt_context(TaskParameters *context)
{
    for (size_t i = 0; i < board.config.n_contexts; i++)
        cmx_merge_context(context, &board.config.contexts[i]);
}

static int start_application(void)
{
    cmx_linux_http_set_port_offset((unsigned)board.config.port_offset);
    board.config.settings.local_port_offset = board.config.port_offset;
    cmx_device_override(&board.config.settings, adapt_context);
    board.door.board = board.config.chip;
    board.door.port_offset = (unsigned)board.config.port_offset;
    board.door.address = board.config.services;
    board.door.open = !board.config.isolation;
    if (app_start(&board.door) != CMX_OK)
        return cli_fail(
            "board", "the application could not start",
            board.config.port_offset || geteuid() == 0
                ? "see the log above"
                : "see the log above; only root may use ports below 1024: add --set board.port_offset=18000");
    return CLI_OK;
}

/* Called before any thread starts, so that all threads inherit the mask and only sigwait receives the signals. */
static void take_signals(sigset_t *stop)
{
    sigemptyset(stop);
    sigaddset(stop, SIGINT);
    sigaddset(stop, SIGTERM);
    pthread_sigmask(SIG_BLOCK, stop, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static int run(void)
{
    sigset_t stop;
    int sig;
    int rc;

    take_signals(&stop);
    rc = open_hardware();
    if (rc == CLI_OK && board_boot(&board.config) != CMX_OK)
        rc = CLI_FAILED;
    rc = rc ? rc : open_network();
    rc = rc ? rc : start_application();
    if (rc == CLI_OK) {
        sigwait(&stop, &sig);
        cmx_device_update_stop();
        cmx_attest_stop();
        cmx_device_stop();
        board_hardware_close();
        board_flash_close(&board.flash);
    }
    return rc;
}

int board_cmd_run(int argc, char **argv)
{
    struct cli_list set = {.n = 0};
    const char *net = NULL, *gateway = NULL;
    const struct cli_option options[] = {
        CLI_TEXT("net", "MODE", "kernel: this machine's sockets; tap:NAME: lwIP over that TAP device", &net),
        CLI_TEXT("gateway", "HOST[:PORT]", "replaces the list of gateways in board.ini, and has the same form",
                 &gateway),
        CLI_LIST("set", "SECTION.KEY=VALUE", "set any key of board.ini; a context's section is 'context NAME'", &set),
    };
    struct cli_line line = CLI_LINE(COMMAND, "DIR", about, 1, 1, options);
    int rc;

    board.argv = argv - 1; /* includes the word 'run', for a restart */
    if (cli_parse(&line, argc, argv, &rc))
        return rc;
    board_config_init(&board.config);
    rc = enter(line.operand[0]);
    rc = rc ? rc : load_config();
    if (rc == CLI_OK && net)
        rc = set_named("net", "mode", net);
    if (rc == CLI_OK && gateway)
        rc = set_named("gateway", "host", gateway);
    for (size_t i = 0; i < set.n && rc == CLI_OK; i++)
        rc = set_key(set.item[i]);
    rc = rc ? rc : run();
    board_config_free(&board.config);
    return rc;
}
