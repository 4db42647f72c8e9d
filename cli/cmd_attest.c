/* cmxsafe attest - is this the device, and does its flash hold what it should? Options and the exchange with the
 * device. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attest.h"
#include "cli.h"
#include "cmxsafe/core/secret.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/port/port.h"
#include "key_file.h"

#define BUSY_MAX_MS 60000

static const char help[] =
    "usage: " ATTEST_COMMAND " [--url URL] [--key FILE] [--image FILE] [--challenge TEXT] [--ranges LIST] [--locate]\n"
    "       " ATTEST_COMMAND " --evidence --manifest FILE [--url URL] [--key FILE] [--gateway PIN] [--session HEX]\n"
    "       " ATTEST_COMMAND " --compute --challenge TEXT [--key FILE] [--image FILE] [--ranges LIST]\n"
    "\n"
    "Asks a device for its attestation and says MATCH or DIFFERS; with --evidence verifies its token against "
    "reference\n"
    "values. Exits 0 only if all holds.\n"
    "\n"
    "  --url URL         the device (default: http://127.0.0.1:8888)\n"
    "  --key FILE        its 32-byte key (default: private_key.bin)\n"
    "  --image FILE      flash as it should be (default: firmware.bin)\n"
    "  --at OFFSET       where in flash the image begins (default: 0x10000)\n"
    "  --challenge TEXT  1 to 512 bytes (default: 32 random hex digits)\n"
    "  --ranges LIST     such as 0x10000-0x200000,0x8000-0x9000 (default: all from 0x10000)\n"
    "  --locate          on a mismatch find the 4 KB chunks that differ\n"
    "  --compute         print the expected value; ask no device\n"
    "  --evidence        ask for evidence (an Entity Attestation Token)\n"
    "  --manifest FILE   reference values, as `cmxsafe image manifest` makes them\n"
    "  --nonce HEX       8 to 64 bytes (default: 32 random ones)\n"
    "  --gateway PIN     the gateway's host key, SHA256:... or a known_hosts line: evidence must have come through it\n"
    "  --session HEX     the SSH session identifier that evidence must have come through\n"
    "  --token FILE      verify a saved token (--nonce is then needed)\n"
    "  --save FILE       keep the token\n"
    "  --json            the outcome as one JSON object\n"
    "  --timeout SECONDS for each step (default: 30)\n";

enum {
    OPT_URL = 1,
    OPT_KEY,
    OPT_IMAGE,
    OPT_AT,
    OPT_CHALLENGE,
    OPT_RANGES,
    OPT_LOCATE,
    OPT_COMPUTE,
    OPT_EVIDENCE,
    OPT_MANIFEST,
    OPT_NONCE,
    OPT_GATEWAY,
    OPT_SESSION,
    OPT_TOKEN,
    OPT_SAVE,
    OPT_JSON,
    OPT_TIMEOUT,
    OPT_HELP
};

static const struct option options[] = {{"url", required_argument, NULL, OPT_URL},
                                        {"key", required_argument, NULL, OPT_KEY},
                                        {"image", required_argument, NULL, OPT_IMAGE},
                                        {"at", required_argument, NULL, OPT_AT},
                                        {"challenge", required_argument, NULL, OPT_CHALLENGE},
                                        {"ranges", required_argument, NULL, OPT_RANGES},
                                        {"locate", no_argument, NULL, OPT_LOCATE},
                                        {"compute", no_argument, NULL, OPT_COMPUTE},
                                        {"evidence", no_argument, NULL, OPT_EVIDENCE},
                                        {"manifest", required_argument, NULL, OPT_MANIFEST},
                                        {"nonce", required_argument, NULL, OPT_NONCE},
                                        {"gateway", required_argument, NULL, OPT_GATEWAY},
                                        {"session", required_argument, NULL, OPT_SESSION},
                                        {"token", required_argument, NULL, OPT_TOKEN},
                                        {"save", required_argument, NULL, OPT_SAVE},
                                        {"json", no_argument, NULL, OPT_JSON},
                                        {"timeout", required_argument, NULL, OPT_TIMEOUT},
                                        {"help", no_argument, NULL, OPT_HELP},
                                        {0}};

/* Where an option with a text goes. */
static const char **text_of(struct attest_options *o, int c)
{
    switch (c) {
    case OPT_URL:
        return &o->url;
    case OPT_KEY:
        return &o->key_path;
    case OPT_IMAGE:
        return &o->image_path;
    case OPT_CHALLENGE:
        return &o->challenge;
    case OPT_RANGES:
        return &o->ranges;
    case OPT_MANIFEST:
        return &o->manifest_path;
    case OPT_NONCE:
        return &o->nonce;
    case OPT_GATEWAY:
        return &o->gateway;
    case OPT_SESSION:
        return &o->session;
    case OPT_TOKEN:
        return &o->token;
    case OPT_SAVE:
        return &o->save;
    default:
        return NULL;
    }
}

static bool *flag_of(struct attest_options *o, int c)
{
    switch (c) {
    case OPT_LOCATE:
        return &o->locate;
    case OPT_COMPUTE:
        return &o->compute;
    case OPT_EVIDENCE:
        return &o->evidence;
    case OPT_JSON:
        return &o->json;
    default:
        return NULL;
    }
}

/* True: taken. */
static bool take_number(struct attest_options *o, int c, const char *text)
{
    uint64_t v = 0;

    if (c == OPT_AT && cmx_text_u64(text, 0, UINT32_MAX, &v) == CMX_OK)
        o->at = (uint32_t)v;
    else if (c == OPT_TIMEOUT && cmx_text_u64(text, 1, 3600, &v) == CMX_OK)
        o->timeout_ms = (unsigned)v * 1000;
    else
        return false;
    return true;
}

/* CLI_OK: go on; else *done, and the program's exit status. */
static int read_options(struct attest_options *o, int argc, char **argv, bool *done)
{
    int c;

    opterr = 0;
    optind = 1;
    *done = true;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == OPT_HELP) {
            fputs(help, stdout);
            return CLI_OK;
        }
        if (c == '?')
            return cli_usage(ATTEST_COMMAND, "unknown option or missing value: '%s'", argv[optind - 1]);
        if (text_of(o, c))
            *text_of(o, c) = optarg;
        else if (flag_of(o, c))
            *flag_of(o, c) = true;
        else if (!take_number(o, c, optarg))
            return cli_usage(ATTEST_COMMAND, "'%s' is not a number that this option takes", optarg);
    }
    if (optind < argc)
        return cli_usage(ATTEST_COMMAND, "unexpected argument '%s'", argv[optind]);
    *done = false;
    return CLI_OK;
}

static int check_options(const struct attest_options *o)
{
    if (o->compute && !o->challenge)
        return cli_usage(ATTEST_COMMAND, "--compute needs the --challenge that the device was asked with");
    if (o->evidence && !o->manifest_path)
        return cli_usage(ATTEST_COMMAND, "--evidence needs reference values: --manifest FILE");
    if (!o->evidence && (o->manifest_path || o->gateway || o->session || o->token || o->nonce || o->save))
        return cli_usage(ATTEST_COMMAND,
                         "--manifest, --gateway, --session, --token, --nonce and --save go with --evidence");
    if (o->evidence && (o->compute || o->locate || o->ranges || o->challenge))
        return cli_usage(ATTEST_COMMAND,
                         "--evidence takes its ranges from the manifest and a --nonce in place of --challenge");
    if (o->token && !o->nonce)
        return cli_usage(ATTEST_COMMAND, "--token needs the --nonce that the device was asked with");
    if (o->challenge && (strlen(o->challenge) < 1 || strlen(o->challenge) > CMX_CHALLENGE_MAX))
        return cli_usage(ATTEST_COMMAND, "a challenge has 1 to %d bytes", CMX_CHALLENGE_MAX);
    return CLI_OK;
}

/* The device's own words, in one line and without control characters. */
static int report_status(const struct http_answer *a, const char *url)
{
    char what[96], why[160];
    size_t n = 0;

    for (; n < a->len && n < sizeof why - 1 && a->body[n] != '\n'; n++)
        why[n] = (char)(a->body[n] < 0x20 || a->body[n] >= 0x7f ? '?' : a->body[n]);
    why[n] = 0;
    snprintf(what, sizeof what, "%.60s answers %d", url, a->status);
    return cli_fail(what, n ? why : "no reason given", a->status == 503 ? "retry later" : NULL);
}

int attest_ask(const struct attest_options *o, const char *target, const char *accept, struct http_answer *out)
{
    uint64_t give_up = cmx_port_now_ms() + BUSY_MAX_MS;
    char url[HTTP_URL_MAX + 1], why[128];
    size_t base = strlen(o->url);
    int n;

    while (base > 0 && o->url[base - 1] == '/')
        base--;
    n = snprintf(url, sizeof url, "%.*s%s", (int)base, o->url, target);
    if (n < 0 || (size_t)n >= sizeof url)
        return cli_fail("the request", "is too long", "ask for fewer ranges");
    for (;;) {
        cmx_err err = http_get(url, accept, o->timeout_ms, out, why, sizeof why);
        int rc;

        if (err)
            return cli_fail(o->url, why, "is the session up? 'cmxsafe gateway status' tells");
        if (out->status == 200)
            return CLI_OK;
        if (out->status != 503 || cmx_port_now_ms() >= give_up) {
            rc = report_status(out, o->url);
            http_answer_free(out);
            return rc;
        }
        cmx_port_sleep_ms(out->retry && out->retry < 5 ? out->retry * 1000 : 1000);
        http_answer_free(out);
    }
}

int cmd_attest(int argc, char **argv)
{
    struct attest_options o = {.url = "http://127.0.0.1:8888",
                               .key_path = "private_key.bin",
                               .image_path = "firmware.bin",
                               .at = CMX_ATTEST_START,
                               .timeout_ms = 30000};
    char why[128];
    bool done;
    int rc = read_options(&o, argc, argv, &done);

    if (done)
        return rc;
    rc = check_options(&o);
    if (rc)
        return rc;
    if (key_file_read(o.key_path, o.key, why, sizeof why))
        return cli_fail(o.key_path, why, "give the file burned into the device with --key");
    rc = o.evidence ? attest_evidence(&o) : attest_hash(&o);
    cmx_secret_wipe(o.key, sizeof o.key);
    return rc;
}
