/* cmxsafe update - a new image to one device, and proof that it runs: uploads, continues after a lost connection, waits
 * for the restart and the confirmation, checks the version and on request the attestation of the new slot. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/ota/crc32.h"
#include "cmxsafe/port/port.h"
#include "image_file.h"
#include "tunnel.h"
#include "update_http.h"

enum { TRIES = 20, RETRY_MS = 1000, WAIT_DEFAULT_S = 400, POLL_MS = 500 };

static const char help[] =
    "usage: cmxsafe update [--gateway [USER@]HOST[:PORT] --device NAME | --url URL] [OPTION ...] IMAGE\n\n"
    "Updates one device, waits until it runs IMAGE and has confirmed it, and says so by its exit status.\n\n"
    "  --gateway HOST    reach the device through this host, with your own ssh (keys, agent, ssh_config)\n"
    "  --device NAME     the device's name or address there, such as cam-17.cmx (default: localhost)\n"
    "  --ssh-config FILE instead of your own, as ssh's -F\n"
    "  --port N          the service's port there (default: 8989)\n"
    "  --url URL         reach the service directly (default: http://127.0.0.1:8989)\n"
    "  --wait SECONDS    for restart and confirmation (default: 400)\n"
    "  --no-wait         only upload\n"
    "  --opaque          IMAGE is no ESP-IDF image (a Linux device's bundle)\n"
    "  --attest-key FILE ask for the attestation of the new slot afterwards, and check it with this key\n"
    "  --attest-url URL  where (default: port 8888 of --device, or of the host in --url)\n"
    "  --limit-rate KB   send at most so many KB a second\n"
    "  --quiet           no progress\n\n"
    "Ctrl-C stops the upload; the device goes on with what it runs.\n";

struct update {
    const char *gateway, *ssh_config, *device, *url, *path, *attest_key, *attest_url;
    uint16_t port;
    unsigned wait_s;
    unsigned limit_kbps;
    bool no_wait, opaque, quiet;
    char url_mem[64], attest_mem[300];
    struct tunnel tunnel;
    struct cmx_image image;
    uint64_t size;
    uint64_t started_ms, shown_ms, started_at; /* of the upload under way */
    struct update_status before, now;
};

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
    (void)sig;
    interrupted = 1;
}

/* ---- options ---- */

enum {
    GATEWAY = 1,
    DEVICE,
    PORT,
    URL,
    WAIT,
    NO_WAIT,
    OPAQUE,
    ATTEST_KEY,
    ATTEST_URL,
    SSH_CONFIG,
    LIMIT_RATE,
    QUIET,
    HELP
};

static int set_number(const char *text, uint64_t max, uint64_t *out, const char *what)
{
    if (cmx_text_u64(text, 1, max, out) == CMX_OK)
        return CLI_OK;
    return cli_usage("cmxsafe update", "'%s' is no %s", text, what);
}

static int set_option(struct update *u, int c)
{
    uint64_t n = 0;
    int rc = CLI_OK;

    switch (c) {
    case GATEWAY:
        u->gateway = optarg;
        break;
    case SSH_CONFIG:
        u->ssh_config = optarg;
        break;
    case DEVICE:
        u->device = optarg;
        break;
    case PORT:
        rc = set_number(optarg, 65535, &n, "port");
        u->port = (uint16_t)n;
        break;
    case URL:
        u->url = optarg;
        break;
    case WAIT:
        rc = set_number(optarg, 86400, &n, "number of seconds");
        u->wait_s = (unsigned)n;
        break;
    case LIMIT_RATE:
        rc = set_number(optarg, 1000000, &n, "rate in KB/s");
        u->limit_kbps = (unsigned)n;
        break;
    case NO_WAIT:
        u->no_wait = true;
        break;
    case OPAQUE:
        u->opaque = true;
        break;
    case ATTEST_KEY:
        u->attest_key = optarg;
        break;
    case ATTEST_URL:
        u->attest_url = optarg;
        break;
    default:
        u->quiet = true;
        break;
    }
    return rc;
}

static int parse(int argc, char **argv, struct update *u)
{
    static const struct option options[] = {{"gateway", 1, NULL, GATEWAY},
                                            {"device", 1, NULL, DEVICE},
                                            {"port", 1, NULL, PORT},
                                            {"url", 1, NULL, URL},
                                            {"wait", 1, NULL, WAIT},
                                            {"no-wait", 0, NULL, NO_WAIT},
                                            {"opaque", 0, NULL, OPAQUE},
                                            {"attest-key", 1, NULL, ATTEST_KEY},
                                            {"quiet", 0, NULL, QUIET},
                                            {"attest-url", 1, NULL, ATTEST_URL},
                                            {"limit-rate", 1, NULL, LIMIT_RATE},
                                            {"help", 0, NULL, HELP},
                                            {"ssh-config", 1, NULL, SSH_CONFIG},
                                            {NULL, 0, NULL, 0}};
    int c, rc;

    opterr = 0;
    optind = 1;
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (c == HELP || c == 'h')
            return printf("%s", help), -1;
        if (c == '?')
            return cli_usage("cmxsafe update", "option '%s' is not known or lacks its value", argv[optind - 1]);
        rc = set_option(u, c);
        if (rc != CLI_OK)
            return rc;
    }
    if (optind + 1 != argc)
        return cli_usage("cmxsafe update", "needs one image");
    if (u->gateway && u->url)
        return cli_usage("cmxsafe update", "--gateway and --url are two ways to one device: give one");
    if (u->device && !u->gateway)
        return cli_usage("cmxsafe update", "--device needs --gateway");
    u->path = argv[optind];
    return CLI_OK;
}

/* ---- the file ---- */

static int check_file(struct update *u)
{
    struct cmx_image_policy policy = IMAGE_FILE_POLICY;
    int rc;

    policy.format = u->opaque ? CMX_IMAGE_OPAQUE : CMX_IMAGE_ESP;
    rc = image_file_check(u->path, &policy, &u->image, u->opaque ? NULL : "give --opaque if it is no ESP-IDF image");
    if (rc != CLI_OK)
        return rc;
    u->size = u->image.offset;
    if (!u->opaque && !u->quiet)
        printf("%s: %s %s for %s, %s\n", u->path, u->image.info.project, u->image.info.version,
               cmx_image_chip_name(u->image.info.chip_id), u->image.has_trailer ? "signed" : "not signed");
    return CLI_OK;
}

/* CRC-32 of the file's first len bytes, as text. */
static cmx_err prefix_crc(const char *path, uint64_t len, char out[9])
{
    uint8_t buf[16384];
    uint32_t crc = CMX_CRC32_INIT;
    FILE *f = fopen(path, "rb");

    if (!f)
        return CMX_ENOENT;
    while (len > 0) {
        size_t n = fread(buf, 1, len < sizeof buf ? (size_t)len : sizeof buf, f);

        if (n == 0)
            break;
        crc = cmx_crc32(crc, buf, n);
        len -= n;
    }
    fclose(f);
    snprintf(out, 9, "%08" PRIx32, crc);
    return len == 0 ? CMX_OK : CMX_ETRUNC;
}

/* How much of this very file the device holds already. */
static uint64_t held(const struct update *u, const struct update_status *s)
{
    char crc[9];

    if (strcmp(s->state, "interrupted") != 0 || s->received >= u->size || (s->total && s->total != u->size))
        return 0;
    return prefix_crc(u->path, s->received, crc) == CMX_OK && strcmp(crc, s->crc32) == 0 ? s->received : 0;
}

/* ---- the way ---- */

static const char *url_of(struct update *u)
{
    if (!u->gateway)
        return u->url;
    if (tunnel_keep(&u->tunnel) != CMX_OK)
        return NULL;
    return u->url_mem;
}

static cmx_err ask(struct update *u, struct update_status *s)
{
    const char *url = url_of(u);

    return url ? update_status_get(url, s) : CMX_EUNREACH;
}

static int open_way(struct update *u)
{
    cmx_err err;

    if (u->gateway) {
        u->tunnel = (struct tunnel){.gateway = u->gateway,
                                    .config = u->ssh_config,
                                    .device = u->device ? u->device : "localhost",
                                    .remote = {u->port, u->attest_key && !u->attest_url ? 8888 : 0}};
        if (tunnel_open(&u->tunnel) != CMX_OK)
            return CLI_FAILED;
        snprintf(u->url_mem, sizeof u->url_mem, "http://127.0.0.1:%u", (unsigned)u->tunnel.local[0]);
        if (!u->attest_url) {
            snprintf(u->attest_mem, sizeof u->attest_mem, "http://127.0.0.1:%u", (unsigned)u->tunnel.local[1]);
            u->attest_url = u->attest_mem;
        }
    }
    err = ask(u, &u->before);
    if (err)
        return cli_fail(u->gateway ? u->gateway : u->url,
                        err == CMX_EPROTO ? "what answers there is no update service" : "no update service answers",
                        "look whether the device is connected, and at the port");
    return CLI_OK;
}

/* ---- the upload ---- */

static bool progress(void *arg, uint64_t sent)
{
    struct update *u = arg;
    uint64_t now = cmx_port_now_ms(), ms = now - u->started_ms;
    char bar[31];
    unsigned filled = (unsigned)(sent * 30 / u->size);

    if (interrupted)
        return false;
    if (u->quiet || !isatty(STDERR_FILENO) || (now - u->shown_ms < 100 && sent < u->size) || sent == 0)
        return true;
    u->shown_ms = now;
    memset(bar, ' ', 30);
    memset(bar, '#', filled);
    bar[30] = '\0';
    fprintf(stderr, "\r[%s] %3u %%  %" PRIu64 " of %" PRIu64 " KB  %" PRIu64 " KB/s ", bar,
            (unsigned)(sent * 100 / u->size), sent / 1024, u->size / 1024,
            ms ? (sent - u->started_at) * 1000 / 1024 / ms : 0);
    return true;
}

static void end_of_bar(const struct update *u)
{
    if (!u->quiet && isatty(STDERR_FILENO))
        fputc('\n', stderr);
}

/* After a lost connection: what has become of it? CLI_OK: it is done; -1: go on trying. */
static int look_again(struct update *u, struct update_status *s)
{
    cmx_port_sleep_ms(RETRY_MS);
    if (ask(u, s) != CMX_OK)
        return -1;
    if (strcmp(s->boot, u->before.boot) != 0 || strcmp(s->state, "restarting") == 0)
        return CLI_OK;
    if (strcmp(s->state, "ready") == 0) {
        const char *url = url_of(u);

        if (url && update_restart(url) == CMX_OK)
            return CLI_OK;
    }
    return -1;
}

static int stopped(const struct update *u)
{
    end_of_bar(u);
    return cli_fail("update", "stopped", u->before.version[0] ? "the device goes on with what it runs" : NULL);
}

static int upload(struct update *u)
{
    struct update_status s = u->before;
    char answer[512] = "";

    for (int i = 0; i < TRIES && !interrupted; i++) {
        uint64_t from = held(u, &s);
        const char *url = url_of(u);
        cmx_err err;
        int rc;

        u->started_ms = cmx_port_now_ms();
        u->started_at = from;
        if (from && !u->quiet)
            printf("continuing at byte %" PRIu64 "\n", from);
        err = url ? update_send(url, u->path, u->size, from, u->limit_kbps, progress, u, answer, sizeof answer)
                  : CMX_ECLOSED;
        if (err == CMX_EAGAIN)
            return stopped(u);
        end_of_bar(u);
        if (err == CMX_OK) {
            printf("%s\n", answer);
            return CLI_OK;
        }
        if (err == CMX_EPERM || (err == CMX_EBUSY && !strstr(answer, "under way")))
            return cli_fail("the device refused", strncmp(answer, "error: ", 7) == 0 ? answer + 7 : answer, NULL);
        if (!u->quiet)
            fprintf(stderr, "cmxsafe: the connection was lost; trying to continue\n");
        rc = look_again(u, &s);
        if (rc == CLI_OK)
            return CLI_OK;
    }
    if (interrupted)
        return stopped(u);
    return cli_fail("update", "the connection is lost again and again", "try later; what was sent is kept for an hour");
}

/* ---- afterwards ---- */

static int judge(const struct update *u)
{
    if (u->now.rolled_back && strcmp(u->now.version, u->before.version) == 0) {
        char why[128];

        snprintf(why, sizeof why, "the device went back to version %s: %s", u->now.version, u->now.rolled_back_why);
        return cli_fail("update", why, NULL);
    }
    if (!u->opaque && strcmp(u->now.version, u->image.info.version) != 0) {
        char why[160];

        snprintf(why, sizeof why, "the device runs version %s, not %s", u->now.version, u->image.info.version);
        return cli_fail("update", why, NULL);
    }
    printf("version %s runs from %s, confirmed\n", u->now.version, u->now.slot);
    return CLI_OK;
}

static int wait_for_it(struct update *u)
{
    uint64_t end = cmx_port_now_ms() + (uint64_t)u->wait_s * 1000;
    bool back = false;

    if (!u->quiet)
        printf("waiting for the device to restart and to confirm\n");
    fflush(stdout);
    while (cmx_port_now_ms() < end && !interrupted) {
        cmx_port_sleep_ms(POLL_MS);
        if (ask(u, &u->now) != CMX_OK)
            continue;
        back = strcmp(u->now.boot, u->before.boot) != 0;
        if (!back && strcmp(u->now.state, "idle") == 0) { /* with a restart ahead it would be ready or restarting */
            printf("installed; the device takes it without a restart\n");
            return CLI_OK;
        }
        if (back && u->now.confirmed)
            return judge(u);
    }
    if (interrupted)
        return cli_fail("update", "no longer waiting", "the device has the new image; look at its version later");
    return cli_fail("update", back ? "the new image is not confirmed in time" : "the device has not come back in time",
                    "it goes back to the old image by itself if the new one does not come up");
}

static int attest(struct update *u)
{
    char at[16], ranges[40];
    char *argv[] = {(char *)(uintptr_t) "attest",
                    (char *)(uintptr_t) "--url",
                    (char *)(uintptr_t)u->attest_url,
                    (char *)(uintptr_t) "--key",
                    (char *)(uintptr_t)u->attest_key,
                    (char *)(uintptr_t) "--image",
                    (char *)(uintptr_t)u->path,
                    (char *)(uintptr_t) "--at",
                    at,
                    (char *)(uintptr_t) "--ranges",
                    ranges,
                    NULL};

    if (!u->now.slot_offset)
        return cli_fail("attestation", "the device does not say where its slot is", NULL);
    snprintf(at, sizeof at, "0x%" PRIx32, u->now.slot_offset);
    snprintf(ranges, sizeof ranges, "0x%" PRIx32 "-0x%" PRIx64, u->now.slot_offset, u->now.slot_offset + u->size);
    optind = 1;
    return cmd_attest((int)(sizeof argv / sizeof argv[0]) - 1, argv);
}

/* Port 8888 of the host that --url names. */
static const char *beside(struct update *u)
{
    const char *slashes = strstr(u->url, "://");
    const char *host = slashes ? slashes + 3 : u->url;
    const char *bracket = *host == '[' ? strchr(host, ']') : NULL;
    size_t len = (size_t)((bracket ? bracket : host) - u->url);

    snprintf(u->attest_mem, sizeof u->attest_mem, "%.*s:8888", (int)(len + strcspn(u->url + len, ":/")), u->url);
    return u->attest_mem;
}

int cmd_update(int argc, char **argv)
{
    static struct update u; /* 10 KB */
    const struct sigaction on = {.sa_handler = on_signal};
    int rc;

    memset(&u, 0, sizeof u);
    u.port = 8989;
    u.wait_s = WAIT_DEFAULT_S;
    rc = parse(argc, argv, &u);
    if (rc != CLI_OK)
        return rc < 0 ? CLI_OK : rc;
    if (!u.url)
        u.url = "http://127.0.0.1:8989";
    if (!u.attest_url && !u.gateway)
        u.attest_url = beside(&u);
    rc = check_file(&u);
    if (rc != CLI_OK)
        return rc;
    sigaction(SIGINT, &on, NULL);
    sigaction(SIGTERM, &on, NULL);
    signal(SIGPIPE, SIG_IGN);
    rc = open_way(&u);
    if (rc == CLI_OK)
        rc = upload(&u);
    if (rc == CLI_OK && !u.no_wait)
        rc = wait_for_it(&u);
    if (rc == CLI_OK && !u.no_wait && u.attest_key)
        rc = attest(&u);
    tunnel_close(&u.tunnel);
    return rc;
}
