/* cmxsafe attest - verifies a device's identity and flash content: the options, and the exchange with the device. */
#include <stdio.h>
#include <string.h>

#include "cli/attest_tool.h"
#include "cli/cmd.h"
#include "cli/common/key_file.h"
#include "cmxsafe/core/secret.h"
#include "cmxsafe/port/port.h"
#include "gateway/folder/gw_json.h"
#include "port/linux/cli.h"

#define BUSY_MAX_MS 60000

static const char about[] =
    "Asks a device for its attestation and prints MATCH or DIFFERS. With --evidence, verifies the device's token "
    "against the reference values of a manifest instead. The exit status is 0 only if every check passed.";

static int read_options(struct attest_options *o, int argc, char **argv, bool *done)
{
    const struct cli_option options[] = {
        CLI_TEXT("url", "URL", "the device's attestation service", &o->url, .except = "compute token"),
        CLI_TEXT("key", "FILE", "the device's 32-byte hardware key (default: private_key.bin)", &o->key_path),
        CLI_TEXT(
            "attest-key", "FILE",
            "verify signed evidence with the attestation key in FILE, from 'cmxsafe identity public'; the hardware "
            "key is not needed",
            &o->attest_key),
        CLI_TEXT("image", "FILE", "the expected content of flash (default: firmware.bin)", &o->image_path),
        CLI_NUMBER("at", "OFFSET", 0, UINT32_MAX, "where in flash the image begins", &o->at, .hex = true,
                   .except = "evidence"),
        CLI_TEXT("challenge", "TEXT", "1 to 512 bytes (default: 32 random hex digits)", &o->challenge),
        CLI_TEXT(
            "ranges", "LIST",
            "ranges of flash, such as 0x10000-0x200000,0x8000-0x9000 (default: everything from 0x10000 on; with --at, "
            "the part that the image covers)",
            &o->ranges),
        CLI_FLAG("locate", "after a mismatch, find the 4 KB chunks that differ", &o->locate, .except = "compute"),
        CLI_FLAG("compute", "print the expected value without contacting a device", &o->compute),
        CLI_FLAG("evidence", "request evidence (an Entity Attestation Token)", &o->evidence),
        CLI_TEXT("manifest", "FILE", "reference values from 'cmxsafe image manifest'", &o->manifest_path),
        CLI_TEXT("nonce", "HEX", "8 to 64 bytes (default: 32 random bytes)", &o->nonce),
        CLI_TEXT(
            "gateway", "PIN",
            "the host key of the gateway that the evidence must have come through: SHA256:... or a known_hosts line",
            &o->gateway),
        CLI_TEXT("session", "HEX", "the identifier of the SSH session that the evidence must have come through",
                 &o->session),
        CLI_TEXT("token", "FILE", "verify this saved token instead of asking a device; needs --nonce", &o->token),
        CLI_TEXT("save", "FILE", "save the token", &o->save),
        CLI_FLAG("dry-run", "check the options and the files, and contact no device", &o->dry_run,
                 .except = "compute token"),
        CLI_FLAG("json", "print the outcome as one JSON object", &o->json),
        CLI_NUMBER("timeout", "SECONDS", 1, 3600, "time limit for each step of the exchange", &o->timeout_s,
                   .except = "compute token"),
    };
    struct cli_line line = CLI_LINE(ATTEST_COMMAND, "", about, 0, 0, options);
    int status;

    *done = cli_parse(&line, argc, argv, &status) != CMX_OK;
    return status;
}

static int check_options(const struct attest_options *o)
{
    if (!http_url_ok(o->url))
        return cli_usage(ATTEST_COMMAND, "--url '%s': " HTTP_URL_FORM, o->url);
    if (o->compute && !o->challenge)
        return cli_usage(ATTEST_COMMAND, "--compute needs the --challenge that was sent to the device");
    if (o->evidence && !o->manifest_path)
        return cli_usage(ATTEST_COMMAND, "--evidence needs reference values: --manifest FILE");
    if (o->attest_key && (!o->evidence || o->key_path))
        return cli_usage(ATTEST_COMMAND, "--attest-key needs --evidence and replaces --key");
    if (!o->evidence && (o->manifest_path || o->gateway || o->session || o->token || o->nonce || o->save))
        return cli_usage(ATTEST_COMMAND,
                         "--manifest, --gateway, --session, --token, --nonce and --save need --evidence");
    if (o->evidence && (o->compute || o->locate || o->image_path || o->ranges || o->challenge))
        return cli_usage(ATTEST_COMMAND,
                         "--compute, --locate, --image, --ranges and --challenge can't be used with --evidence; give "
                         "the image and the ranges with --manifest, and the challenge with --nonce");
    if (o->token && !o->nonce)
        return cli_usage(ATTEST_COMMAND, "--token needs the --nonce that was sent to the device");
    if (o->challenge && (strlen(o->challenge) < 1 || strlen(o->challenge) > CMX_CHALLENGE_MAX))
        return cli_usage(ATTEST_COMMAND, "a challenge has 1 to %d bytes", CMX_CHALLENGE_MAX);
    return CLI_OK;
}

int attest_print_dry(const struct attest_options *o)
{
    struct gw_json out;

    if (o->json) {
        gw_json_begin_stdout(&out);
        cmx_json_bool(&out.j, "dry_run", true);
        gw_json_end_stdout(&out);
    }
    return CLI_OK;
}

int attest_ask(const struct attest_options *o, const char *target, const char *accept, struct http_answer *out)
{
    const unsigned step_ms = (unsigned)o->timeout_s * 1000;
    const struct http_request q = {
        .base = o->url, .target = target, .accept = accept, .silence_ms = step_ms, .total_ms = 4 * step_ms};
    uint64_t give_up = cmx_port_now_ms() + BUSY_MAX_MS;
    char what[96], words[320];
    struct cmx_why why = {""};
    int rc;

    for (;;) {
        if (http_exchange(&q, out, &why))
            return cli_fail(o->url, why.text, "check that the device is connected ('cmxsafe gateway status')");
        if (out->status == 200)
            return CLI_OK;
        if (out->status != 503 || cmx_port_now_ms() >= give_up)
            break;
        cmx_port_sleep_ms(out->retry_s && out->retry_s < 5 ? out->retry_s * 1000 : 1000);
        http_answer_free(out);
    }
    snprintf(what, sizeof what, "%.60s answers %d", o->url, out->status);
    rc = cli_fail(what, http_answer_words(out, words, sizeof words), out->status == 503 ? "retry later" : NULL);
    http_answer_free(out);
    return rc;
}

int cmd_attest(int argc, char **argv)
{
    struct attest_options o = {.url = "http://127.0.0.1:8888", .at = CMX_ATTEST_START, .timeout_s = 30};
    struct cmx_why why = {""};
    bool done;
    int rc = read_options(&o, argc, argv, &done);

    if (done)
        return rc;
    rc = check_options(&o);
    if (rc)
        return rc;
    if (!o.key_path)
        o.key_path = "private_key.bin";
    if (!o.image_path)
        o.image_path = "firmware.bin";
    if (!o.attest_key && key_file_read(o.key_path, o.key, &why))
        return cli_fail(o.key_path, why.text,
                        "use --key to give the file with the hardware key that was burned into the device");
    rc = o.evidence ? attest_evidence(&o) : attest_hash(&o);
    cmx_secret_wipe(o.key, sizeof o.key);
    return rc;
}
