/* run.c - `cmxsafe-board run DIR`: the boot step, then the application; a restart executes this program again. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/close_range.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "app.h"
#include "board.h"
#include "cmxsafe/core/log.h"
#include "cmxsafe/device/attest_service.h"
#include "cmxsafe/device/device.h"
#include "cmxsafe/device/isolation.h"
#include "cmxsafe/device/update.h"
#include "cmxsafe/port/lwip/filter_lwip.h"
#include "linux_http.h"
#include "linux_port.h"
#include "lwip/stack.h"

#define SETTINGS_MAX 64 /* options that set a key */

static const char help[] = "usage: cmxsafe-board run DIR [OPTION ...]\n"
                           "\n"
                           "Boots the board in DIR and runs its application until SIGINT or SIGTERM: a camera with a "
                           "web page on port 80 and a\n"
                           "stream on port 81, the latter proxied to the gateway of board.ini.\n"
                           "\n"
                           "  --net kernel|tap:NAME     the machine's sockets, or lwIP over that TAP device\n"
                           "  --gateway HOST[:PORT]     instead of board.ini's\n"
                           "  --set SECTION.KEY=VALUE   any key of board.ini; a context's section is 'context NAME'\n";

/* One board a process: what a restart and the port's functions need. */
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
    /* A chip that restarts has no connection left; not every library opens its sockets with O_CLOEXEC. */
    (void)close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
    if (fchdir(board.start_folder) == 0)
        execv("/proc/self/exe", board.argv);
    cmx_log(CMX_LOG_ERROR, "board", "cannot restart: %s", strerror(errno));
    _exit(BOARD_FAILED);
}

/* ---- options ---- */

/* "SECTION.KEY=VALUE" */
static int set_key(const char *text)
{
    char section[64], key[64], why[192];
    const char *dot = strchr(text, '.');
    const char *eq = dot ? strchr(dot, '=') : NULL;

    if (!eq || (size_t)(dot - text) >= sizeof section || (size_t)(eq - dot - 1) >= sizeof key)
        return board_usage("--set %s: not SECTION.KEY=VALUE", text);
    snprintf(section, sizeof section, "%.*s", (int)(dot - text), text);
    snprintf(key, sizeof key, "%.*s", (int)(eq - dot - 1), dot + 1);
    if (board_config_set(&board.config, section, key, eq + 1, why, sizeof why) != CMX_OK)
        return board_usage("--set: %s", why);
    return BOARD_OK;
}

static int set_named(const char *section, const char *key, const char *value)
{
    char why[192];

    return board_config_set(&board.config, section, key, value, why, sizeof why) == CMX_OK ? BOARD_OK
                                                                                           : board_usage("%s", why);
}

/* "HOST", "HOST:PORT", "[V6]", "[V6]:PORT"; a bare IPv6 address has no port. */
static int set_gateway(const char *text)
{
    bool bracketed = text[0] == '[';
    const char *end = bracketed ? strchr(text, ']') : text + strcspn(text, ":");
    char host[256];
    int rc;

    if (!bracketed && *end == ':' && strchr(end + 1, ':'))
        end = text + strlen(text);
    if (!end || (size_t)(end - text) >= sizeof host)
        return board_usage("--gateway %s: not HOST[:PORT]", text);
    snprintf(host, sizeof host, "%.*s", (int)(end - text) - bracketed, text + bracketed);
    end += bracketed;
    rc = set_named("gateway", "host", host);
    return rc || !*end ? rc : set_named("gateway", "port", end + 1);
}

static int apply_option(int option, const char *value)
{
    if (option == 'n')
        return set_named("net", "mode", value);
    return option == 'g' ? set_gateway(value) : set_key(value);
}

/* ---- the board ---- */

static int load_config(void)
{
    char why[256];

    if (board_config_load(&board.config, "board.ini", why, sizeof why) == CMX_OK)
        return BOARD_OK;
    return board_fail("board", why, access("board.ini", F_OK) ? "make one with 'cmxsafe-board create'" : NULL);
}

/* Into the board's folder, where its files are named from; two processes on one flash would be two boards in one case.
 */
static int enter(const char *dir)
{
    int fd;

    board.start_folder = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (board.start_folder < 0 || chdir(dir))
        return board_fail(dir, strerror(errno), "make one with 'cmxsafe-board create'");
    fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return board_fail(dir, strerror(errno), NULL);
    if (flock(fd, LOCK_EX | LOCK_NB))
        return board_fail(dir, "the board runs already", NULL);
    return BOARD_OK; /* held until the process ends or restarts */
}

static int open_hardware(void)
{
    const struct cmx_linux_device device = {
        .arg = &board.flash,
        .no_socket_pair = true, /* a device has none */
        .flash_size = board_flash_size,
        .flash_read = board_flash_read,
        .flash_write = board_flash_write,
        .flash_erase = board_flash_erase,
        .hw_key_kind = board_key_kind,
        .hw_hmac = board_key_hmac,
        .restart = restart,
    };
    cmx_err err = board_flash_open(&board.flash, board.config.flash);

    if (err != CMX_OK)
        return board_fail(board.config.flash, cmx_err_text(err), NULL);
    cmx_linux_set_device(&device);
    board_hardware_open(&board.config);
    return BOARD_OK;
}

/* The network: the machine's, or the board's own. There the application listens everywhere, as its maker left it. */
static int open_network(void)
{
    const char *mode = board.config.net.mode;
    char why[160] = "";

    if (strcmp(mode, "kernel") == 0) {
        cmx_device_set_isolation(&(struct cmx_device_isolation){.accept_none = true});
        return BOARD_OK;
    }
    if (strncmp(mode, "tap:", 4) != 0)
        return board_usage("[net] mode '%s': neither kernel nor tap:NAME", mode);
    if (board_lwip_start(mode + 4, &board.config.net, why, sizeof why) != CMX_OK)
        return board_fail("network", why, NULL);
    cmx_linux_set_filter(&cmx_lwip_filter);
    cmx_device_set_isolation(&(struct cmx_device_isolation){.resolvers = {board.config.net.dns}});
    if (!board.config.services)
        board.config.services = "0.0.0.0";
    return BOARD_OK;
}

static int start_application(void)
{
    cmx_linux_http_set_port_offset((unsigned)board.config.port_offset);
    board.config.settings.local_port_offset = board.config.port_offset;
    cmx_device_override(&board.config.settings, board.config.contexts, board.config.n_contexts);
    board.door.board = board.config.chip;
    board.door.address = board.config.services;
    board.door.open = !board.config.net.isolation;
    if (app_start(&board.door) != CMX_OK)
        return board_fail("board", "the application does not start", "see the log above");
    return BOARD_OK;
}

/* Before any thread, so that all inherit it and the signals come to sigwait alone. */
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
    if (rc == BOARD_OK && board_boot(&board.config) != CMX_OK)
        rc = BOARD_FAILED;
    rc = rc ? rc : open_network();
    rc = rc ? rc : start_application();
    if (rc == BOARD_OK) {
        sigwait(&stop, &sig);
        cmx_device_update_stop();
        cmx_attest_stop();
        cmx_device_stop();
        board_hardware_close();
    }
    return rc;
}

int board_cmd_run(int argc, char **argv)
{
    static const struct option longopts[] = {
        {"net", required_argument, NULL, 'n'},
        {"gateway", required_argument, NULL, 'g'},
        {"set", required_argument, NULL, 's'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    struct {
        int option;
        const char *value;
    } given[SETTINGS_MAX];
    size_t n = 0;
    int c, rc;

    board.argv = argv - 1; /* the program's own */
    opterr = 0;
    while ((c = getopt_long(argc, argv, "h", longopts, NULL)) != -1) {
        if (c == 'h') {
            fputs(help, stdout);
            return BOARD_OK;
        }
        if (c == '?')
            return board_usage("run: option '%s' is not known or lacks its value", argv[optind - 1]);
        if (n == SETTINGS_MAX)
            return board_usage("run: more than %d settings; write them to board.ini", SETTINGS_MAX);
        given[n].option = c;
        given[n++].value = optarg;
    }
    if (optind + 1 != argc)
        return board_usage("run: one folder is needed");
    board_config_init(&board.config);
    rc = enter(argv[optind]);
    rc = rc ? rc : load_config();
    for (size_t i = 0; i < n && rc == BOARD_OK; i++)
        rc = apply_option(given[i].option, given[i].value);
    return rc ? rc : run();
}
