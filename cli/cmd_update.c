/* cmxsafe update - updates one device: uploads an image, resumes after a lost connection, and waits until the device
 * has restarted and confirmed the image. Then checks the version and, on request, attests the new slot. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cmd.h"
#include "cli/common/image_file.h"
#include "cli/common/key_file.h"
#include "cli/tunnel.h"
#include "cli/update_http.h"
#include "cmxsafe/attest/chain.h"
#include "cmxsafe/core/secret.h"
#include "cmxsafe/core/why.h"
#include "cmxsafe/ota/crc32.h"
#include "cmxsafe/port/port.h"
#include "gateway/folder/gw_json.h"
#include "port/linux/cli.h"
#include "port/linux/file_read.h"

enum { TRIES = 20, RETRY_MS = 1000, WAIT_DEFAULT_S = 400, POLL_MS = 500 };

#define NO_ANSWER_TODO "check that the device is connected ('cmxsafe gateway status') and that the port is right"

static const char about[] =
    "Updates one device and waits until it is running IMAGE and has confirmed it. The exit status is 0 only then. "
    "Ctrl-C stops the upload; the device keeps its current firmware. A program can use --look and --since to update a "
    "device only once, even if the program is interrupted: the program stores the boot identifier that --look prints, "
    "and then runs the update with --since. The outcome that --json prints is one of: updated; sent (with --no-wait); "
    "not-sent (try again; with --dry-run: no device was contacted; with --look: the device is not running IMAGE, or "
    "has not confirmed it); refused; lost (the "
    "device has the image, but did not confirm it in time); rolled-back; other-version (the device has confirmed the "
    "update, but reports a version other than the expected one).";

/* The outcome, for --json. */
enum outcome {
    /* The update can be tried again: the image was not sent, or the device restarted with its former version. With
     * --look: the device is not running the image, or has not confirmed it. */
    OUTCOME_NOT_SENT,
    OUTCOME_REFUSED, /* the device does not accept the image */
    OUTCOME_LOST,    /* the device has the image; this command saw no confirmation */
    OUTCOME_SENT,    /* --no-wait: the device has the image; this command did not wait for the confirmation */
    OUTCOME_ROLLED_BACK,
    OUTCOME_OTHER_VERSION, /* the device confirmed an update, but reports a version other than the expected one */
    OUTCOME_UPDATED,       /* the device is running the image and has confirmed it */
};
static const char *const outcomes[] = {"not-sent",    "refused",       "lost",   "sent",
                                       "rolled-back", "other-version", "updated"};

#define ATTEST_URL_MAX 300

struct update {
    const char *gateway, *ssh_config, *device, *url, *path, *attest_key, *attest_url;
    uint64_t port, wait_s, limit_kbps;
    bool no_wait, opaque, quiet, look, json, dry_run;
    /* --since: the boot identifier that the device had when an earlier run of this command began the update; NULL: no
     * earlier run */
    const char *since;
    const char *version; /* the version that the device reports once it runs the image; "": not known */
    FILE *words;         /* the stream for text that people read */
    enum outcome outcome;
    char attest_mem[ATTEST_URL_MAX];
    struct tunnel tunnel;
    struct cmx_image image;
    uint64_t size;
    /* The current upload: when it began, when its last progress line was printed, and the offset of its first byte. */
    uint64_t started_ms, shown_ms, started_at;
    struct update_status before, now;
};

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
    (void)sig;
    interrupted = 1;
}

/* ---- options ---- */

static int parse(int argc, char **argv, struct update *u, bool *done)
{
    const struct cli_option options[] = {
        CLI_TEXT("gateway", "[USER@]HOST[:PORT]", "reach the device through this host, with your own ssh", &u->gateway),
        CLI_TEXT("device", "NAME",
                 "the device's name or address, which the gateway resolves, such as cam-17.cmx (default: localhost)",
                 &u->device),
        CLI_TEXT("ssh-config", "FILE", "ssh reads FILE instead of your configuration (ssh -F)", &u->ssh_config),
        CLI_NUMBER("port", "N", 1, 65535, "the update service's port, to which the gateway connects (default: 8989)",
                   &u->port),
        CLI_TEXT("url", "URL", "reach the service directly at URL (default without --gateway: http://127.0.0.1:8989)",
                 &u->url),
        CLI_NUMBER("wait", "SECONDS", 1, 86400, "how long to wait for restart and confirmation", &u->wait_s,
                   .except = "no-wait look"),
        CLI_FLAG("no-wait", "only upload", &u->no_wait, .except = "look"),
        CLI_FLAG("opaque", "IMAGE is not an ESP-IDF image, but for example a Linux device's bundle", &u->opaque),
        CLI_TEXT("attest-key", "FILE", "attest the new slot after the update; FILE is the device's hardware key",
                 &u->attest_key),
        CLI_TEXT("attest-url", "URL", "the attestation service (default: port 8888 of the same device)",
                 &u->attest_url),
        CLI_NUMBER("limit-rate", "KB", 1, 1000000, "send at most this many KB a second", &u->limit_kbps,
                   .except = "look"),
        CLI_FLAG("quiet", "print no progress", &u->quiet),
        CLI_FLAG("look",
                 "change nothing; succeed if the device is already running the version of IMAGE and has confirmed it",
                 &u->look),
        CLI_TEXT("since", "BOOT",
                 "continue the update that began while the device had this boot identifier (see --look)", &u->since,
                 .or_empty = true, .except = "look"),
        CLI_TEXT("expect", "VERSION", "the version that the device reports once it runs an --opaque IMAGE",
                 &u->version),
        CLI_FLAG("dry-run", "check the options and the files, and contact no device", &u->dry_run, .except = "look"),
        CLI_FLAG("json", "print the outcome as JSON, and text on standard error", &u->json),
    };
    struct cli_line line = CLI_LINE("cmxsafe update", "IMAGE", about, 1, 1, options);
    int status;

    *done = true;
    if (cli_parse(&line, argc, argv, &status))
        return status;
    if (u->gateway && u->url)
        return cli_usage(line.command, "give --gateway or --url, not both");
    if (u->url && !http_url_ok(u->url))
        return cli_usage(line.command, "--url '%s': " HTTP_URL_FORM, u->url);
    if (u->attest_url && !http_url_ok(u->attest_url))
        return cli_usage(line.command, "--attest-url '%s': " HTTP_URL_FORM, u->attest_url);
    if ((u->device || u->port || u->ssh_config) && !u->gateway)
        return cli_usage(line.command, "--device, --port and --ssh-config need --gateway");
    if (u->attest_key && (u->no_wait || u->look))
        return cli_usage(line.command,
                         "--attest-key can't be used with --no-wait or --look, which do not wait for the new image");
    if (u->attest_url && !u->attest_key)
        return cli_usage(line.command, "--attest-url needs --attest-key");
    if (u->version && !u->opaque)
        return cli_usage(line.command, "--expect needs --opaque; other images contain their version");
    if ((u->look || u->since) && u->opaque && !u->version)
        return cli_usage(line.command, "with --opaque, --look and --since need --expect");
    u->words = u->json ? stderr : stdout;
    u->path = line.operand[0];
    *done = false;
    return CLI_OK;
}

/* ---- the image file ---- */

static int check_file(struct update *u)
{
    struct cmx_image_policy policy = IMAGE_FILE_POLICY;
    int rc;

    policy.format = u->opaque ? CMX_IMAGE_OPAQUE : CMX_IMAGE_ESP;
    rc =
        image_file_check(u->path, &policy, &u->image, u->opaque ? NULL : "give --opaque if it is not an ESP-IDF image");
    if (rc != CLI_OK)
        return rc;
    u->size = u->image.offset;
    if (!u->opaque)
        u->version = u->image.info.version;
    if (!u->opaque && !u->quiet)
        fprintf(u->words, "%s: %s %s for %s, %s\n", u->path, u->image.info.project, u->image.info.version,
                cmx_image_chip_name(u->image.info.chip_id), u->image.has_trailer ? "signed" : "not signed");
    return CLI_OK;
}

/* Call this before the update, so that a wrong key file is reported before the update and not after it. */
static int check_attest_key(const struct update *u)
{
    struct cmx_why why = {""};
    uint8_t key[CMX_HMAC_KEY_LEN];
    cmx_err err = key_file_read(u->attest_key, key, &why);

    cmx_secret_wipe(key, sizeof key);
    return err ? cli_fail(u->attest_key, why.text, "'update --attest-key' takes the device's private_key.bin") : CLI_OK;
}

/* Computes the CRC-32 of the file's first len bytes, as text. */
static cmx_err prefix_crc(const char *path, uint64_t len, char out[CMX_CRC32_HEX])
{
    uint8_t buf[16384];
    uint32_t crc = CMX_CRC32_INIT;
    FILE *f = cmx_file_open(path);

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
    snprintf(out, CMX_CRC32_HEX, "%08" PRIx32, crc);
    return len == 0 ? CMX_OK : CMX_ETRUNC;
}

/* Returns how many bytes of this file the device has already received. */
static uint64_t held(const struct update *u, const struct update_status *s)
{
    char crc[CMX_CRC32_HEX];

    if (strcmp(s->state, "interrupted") != 0 || s->received >= u->size || (s->total && s->total != u->size))
        return 0;
    return prefix_crc(u->path, s->received, crc) == CMX_OK && strcmp(crc, s->crc32) == 0 ? s->received : 0;
}

static void end_of_bar(const struct update *u)
{
    if (!u->quiet && u->started_ms && isatty(STDERR_FILENO))
        fputc('\n', stderr);
}

static int stopped(const struct update *u)
{
    end_of_bar(u);
    return cli_fail("update", "stopped", u->before.version[0] ? "the device keeps its current firmware" : NULL);
}

/* ---- the connection ---- */

/* Returns the service's URL. If the tunnel has ended, opens it again. NULL: the tunnel can't be opened; `why`
 * has the reason. */
static const char *url_of(struct update *u, struct cmx_why *why)
{
    cmx_err err = u->gateway ? tunnel_keep(&u->tunnel) : CMX_OK;

    if (!err)
        return u->gateway ? u->tunnel.local[0] : u->url;
    cmx_why_set(why, err == CMX_EREFUSED ? "ssh ended without opening the forward" : "ssh: %s", cmx_err_text(err));
    return NULL;
}

static update_result ask(struct update *u, struct update_status *s, struct cmx_why *why)
{
    const char *url = url_of(u, why);

    return url ? update_status_get(url, s, why) : UPDATE_AGAIN;
}

static int open_tunnel(struct update *u)
{
    cmx_err err;

    u->tunnel = (struct tunnel){.gateway = u->gateway,
                                .config = u->ssh_config,
                                .device = u->device ? u->device : "localhost",
                                .remote = {(uint16_t)u->port, u->attest_key && !u->attest_url ? 8888 : 0},
                                .stop = &interrupted};
    err = tunnel_open(&u->tunnel);
    if (err == CMX_EAGAIN)
        return stopped(u);
    if (err)
        return cli_fail(u->gateway, err == CMX_EREFUSED ? "ssh ended without opening the forward" : cmx_err_text(err),
                        "see ssh's message above, or try 'ssh GATEWAY'");
    if (!u->attest_url)
        u->attest_url = u->tunnel.local[1];
    return CLI_OK;
}

/* Connects and reads the device's state. */
static int connect_device(struct update *u)
{
    const char *where = u->gateway ? u->gateway : u->url;
    struct cmx_why why = {""};
    int rc = u->gateway ? open_tunnel(u) : CLI_OK;

    if (rc)
        return rc;
    switch (ask(u, &u->before, &why)) {
    case UPDATE_OK:
        return CLI_OK;
    case UPDATE_REFUSED:
    case UPDATE_BUSY:
        u->outcome = OUTCOME_REFUSED;
        return cli_fail("the device refused", why.text, NULL);
    case UPDATE_FOREIGN:
        return cli_fail(where, why.text, "check the port");
    default:
        return interrupted ? stopped(u) : cli_fail(where, why.text, NO_ANSWER_TODO);
    }
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

/* Reads the device's state after a failed attempt. If the device has the complete image but has not begun to restart,
 * requests the restart. True: the device is restarting or has restarted. */
static bool installed_meanwhile(struct update *u, struct update_status *s)
{
    struct cmx_why why;
    const char *url;

    cmx_port_sleep_ms(RETRY_MS);
    if (ask(u, s, &why) != UPDATE_OK)
        return false;
    if (strcmp(s->boot, u->before.boot) != 0 || strcmp(s->state, "restarting") == 0)
        return true;
    if (strcmp(s->state, "ready") != 0)
        return false;
    url = url_of(u, &why);
    return url && update_restart(url, &why) == UPDATE_OK;
}

/* True if the device has an unfinished upload. It may be our own upload: the device may not have noticed yet that our
 * connection was lost. */
static bool busy_receiving(struct update *u, struct update_status *s)
{
    struct cmx_why why;

    cmx_port_sleep_ms(RETRY_MS);
    return ask(u, s, &why) == UPDATE_OK && (strcmp(s->state, "receiving") == 0 || strcmp(s->state, "interrupted") == 0);
}

static update_result send_once(struct update *u, const struct update_status *s, struct cmx_why *why)
{
    struct http_upload file = {
        .first = held(u, s), .total = u->size, .kbps = (unsigned)u->limit_kbps, .progress = progress, .arg = u};
    const char *url = url_of(u, why);
    update_result result = UPDATE_AGAIN;

    u->started_ms = cmx_port_now_ms();
    u->started_at = file.first;
    if (file.first && !u->quiet)
        fprintf(u->words, "continuing at byte %" PRIu64 "\n", file.first);
    file.file = cmx_file_open(u->path);
    if (!file.file || fseeko(file.file, (off_t)file.first, SEEK_SET) != 0) {
        cmx_why_set(why, "%s: %s", u->path, strerror(errno));
        result = UPDATE_STOPPED;
    } else if (url) {
        result = update_send(url, &file, why);
    }
    if (file.file)
        fclose(file.file);
    end_of_bar(u);
    return result;
}

static int upload(struct update *u)
{
    struct update_status s = u->before;
    struct cmx_why why = {""};

    for (int i = 0; i < TRIES && !interrupted; i++) {
        update_result result = send_once(u, &s, &why);

        if (result == UPDATE_OK) {
            fprintf(u->words, "%s\n", why.text);
            return CLI_OK;
        }
        if (interrupted)
            break;
        if (result != UPDATE_AGAIN && (result != UPDATE_BUSY || !busy_receiving(u, &s))) {
            u->outcome = result == UPDATE_REFUSED ? OUTCOME_REFUSED : OUTCOME_NOT_SENT;
            return cli_fail(result == UPDATE_STOPPED ? "update" : "the device refused", why.text, NULL);
        }
        if (!u->quiet)
            fprintf(stderr, "cmxsafe: %s; trying again\n", why.text);
        if (result == UPDATE_AGAIN && installed_meanwhile(u, &s))
            return CLI_OK;
    }
    if (interrupted)
        return stopped(u);
    return cli_fail("update failed repeatedly", why.text,
                    "try again within an hour; the device keeps what it received");
}

/* ---- after the upload ---- */

static int rolled_back(struct update *u)
{
    struct cmx_why why = {""};

    u->outcome = OUTCOME_ROLLED_BACK;
    cmx_why_set(&why, "the device rolled back to version %s: %s", u->now.version, u->now.rolled_back_why);
    return cli_fail("update", why.text, NULL);
}

static int report_version(struct update *u, enum outcome outcome)
{
    struct cmx_why why = {""};

    u->outcome = outcome;
    cmx_why_set(&why, "the device is running version %s, not %s", u->now.version, u->version);
    return cli_fail("update", why.text, u->look || !u->opaque ? NULL : "check --expect");
}

/* Judges a device that has installed the image and does not restart. The version in an ESP-IDF image is not compared,
 * because that image runs only after a restart. */
static int judge_installed(struct update *u)
{
    if (u->opaque && u->version && strcmp(u->now.version, u->version) != 0)
        return report_version(u, OUTCOME_OTHER_VERSION);
    u->outcome = OUTCOME_UPDATED;
    fprintf(u->words, "installed; the device needs no restart\n");
    return CLI_OK;
}

static int judge(struct update *u)
{
    if (!u->look && u->now.rolled_back && strcmp(u->now.version, u->before.version) == 0)
        return rolled_back(u);
    if (u->version && strcmp(u->now.version, u->version) != 0)
        return report_version(u, u->look || strcmp(u->now.version, u->before.version) == 0 ? OUTCOME_NOT_SENT
                                                                                           : OUTCOME_OTHER_VERSION);
    if (u->look && !u->now.confirmed) {
        u->outcome = OUTCOME_NOT_SENT;
        return cli_fail("update", "the device has not confirmed its firmware yet", NULL);
    }
    u->outcome = OUTCOME_UPDATED;
    fprintf(u->words, "version %s is running from %s, confirmed\n", u->now.version, u->now.slot);
    return CLI_OK;
}

static int wait_for_it(struct update *u)
{
    uint64_t end = cmx_port_now_ms() + u->wait_s * 1000;
    struct cmx_why why = {""};
    bool back = false;

    if (!u->quiet)
        fprintf(u->words, "waiting until the device has restarted and confirmed the image\n");
    fflush(stdout);
    while (cmx_port_now_ms() < end && !interrupted) {
        cmx_port_sleep_ms(POLL_MS);
        if (ask(u, &u->now, &why) != UPDATE_OK)
            continue;
        back = strcmp(u->now.boot, u->before.boot) != 0;
        if (!back && strcmp(u->now.state, "ready") == 0 && u->now.error[0])
            return cli_fail("the device has not restarted", u->now.error, "restart it, or send the update again");
        if (!back && strcmp(u->now.state, "idle") == 0) /* until the restart it is "ready" or "restarting" */
            return judge_installed(u);
        if (back && u->now.confirmed)
            return judge(u);
    }
    if (interrupted)
        return cli_fail("update", "stopped waiting for the device",
                        "the device has the new image; check its version later");
    if (back)
        return cli_fail("update", "the device did not confirm the new image in time",
                        "it rolls back by itself if the new image does not reach the gateway");
    return cli_fail("the device did not come back in time", why.text[0] ? why.text : "it has not restarted",
                    "it rolls back by itself if the new image does not start");
}

/* True if an earlier run sent the complete image, so this run does not send it. If the device has not begun to restart,
 * requests the restart. *rc: CLI_*. */
static bool began_before(struct update *u, int *rc)
{
    const struct update_status *now = &u->before;
    bool restarted = strcmp(now->boot, u->since ? u->since : now->boot) != 0;
    struct cmx_why why = {""};

    u->now = *now;
    if (strcmp(now->version, u->version) == 0) {
        u->before.boot[0] = '\0'; /* so that the current boot counts as the restart into the new image */
        *rc = CLI_OK;
    } else if (restarted && now->rolled_back && strcmp(now->rolled_back_version, u->version) == 0) {
        *rc = rolled_back(u);
    } else if (!restarted && strcmp(now->state, "ready") == 0) {
        const char *url = url_of(u, &why);

        *rc = url && update_restart(url, &why) == UPDATE_OK ? CLI_OK
                                                            : cli_fail("requesting the restart failed", why.text, NULL);
    } else if (!restarted && strcmp(now->state, "restarting") == 0) {
        *rc = CLI_OK;
    } else {
        return false;
    }
    return true;
}

/* Uploads the image, and waits until the device has confirmed it. */
static int run_update(struct update *u)
{
    bool began = false;
    int rc = CLI_OK;

    if (u->look) {
        u->now = u->before;
        return judge(u);
    }
    if (u->since)
        began = began_before(u, &rc);
    if (!began)
        rc = upload(u);
    if (rc == CLI_OK)
        u->outcome = u->no_wait ? OUTCOME_SENT : OUTCOME_LOST;
    return rc == CLI_OK && !u->no_wait ? wait_for_it(u) : rc;
}

static int attest(struct update *u)
{
    char at[16], ranges[40];
    const char *argv[] = {"attest", "--url", u->attest_url, "--key", u->attest_key, "--image", u->path,
                          "--at",   at,      "--ranges",    ranges,  NULL};

    if (!u->now.slot_offset)
        return cli_fail("attestation", "the device does not report its slot's offset", NULL);
    snprintf(at, sizeof at, "0x%" PRIx32, u->now.slot_offset);
    snprintf(ranges, sizeof ranges, "0x%" PRIx32 "-0x%" PRIx64, u->now.slot_offset,
             CMX_CHUNK_END(u->now.slot_offset + u->size));
    return cmd_attest((int)(sizeof argv / sizeof argv[0]) - 1, (char **)(uintptr_t)argv);
}

/* Returns the URL of port 8888 on the host that --url names. */
static const char *beside(struct update *u)
{
    const char *slashes = strstr(u->url, "://");
    const char *host = slashes ? slashes + 3 : u->url;
    const char *bracket = *host == '[' ? strchr(host, ']') : NULL;
    size_t len = (size_t)((bracket ? bracket : host) - u->url);

    snprintf(u->attest_mem, sizeof u->attest_mem, "%.*s:8888", (int)(len + strcspn(u->url + len, ":/")), u->url);
    return u->attest_mem;
}

static void print_outcome(const struct update *u)
{
    struct gw_json out;

    gw_json_begin_stdout(&out);
    cmx_json_str(&out.j, "outcome", outcomes[u->outcome]);
    cmx_json_str(&out.j, "boot", u->before.boot);
    cmx_json_str(&out.j, "version", u->now.version[0] ? u->now.version : u->before.version);
    gw_json_end_stdout(&out);
}

int cmd_update(int argc, char **argv)
{
    static struct update u; /* static, because it takes 10 KB */
    const struct sigaction on = {.sa_handler = on_signal};
    bool done;
    int rc;

    memset(&u, 0, sizeof u);
    u.wait_s = WAIT_DEFAULT_S;
    rc = parse(argc, argv, &u, &done);
    if (done)
        return rc;
    if (!u.port)
        u.port = 8989;
    if (!u.url)
        u.url = "http://127.0.0.1:8989";
    if (!u.attest_url && !u.gateway)
        u.attest_url = beside(&u);
    rc = check_file(&u);
    if (rc == CLI_OK && u.attest_key)
        rc = check_attest_key(&u);
    if (rc != CLI_OK)
        return rc;
    sigaction(SIGINT, &on, NULL);
    sigaction(SIGTERM, &on, NULL);
    signal(SIGPIPE, SIG_IGN);
    rc = u.dry_run ? CLI_OK : connect_device(&u);
    if (rc == CLI_OK && !u.dry_run)
        rc = run_update(&u);
    if (rc == CLI_OK && !u.dry_run && !u.no_wait && !u.look && u.attest_key)
        rc = attest(&u);
    tunnel_close(&u.tunnel);
    if (u.json)
        print_outcome(&u);
    return rc;
}
