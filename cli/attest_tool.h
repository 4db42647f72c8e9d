/* attest_tool.h - declares what the files of `cmxsafe attest` share: the options, the request to the device, and the
 * two kinds of attestation. */
#pragma once

#include <stdbool.h>

#include "cli/common/http_client.h"
#include "cmxsafe/attest/chain.h"
#include "gateway/verify/verify.h"

#define ATTEST_COMMAND "cmxsafe attest"

struct attest_options {
    const char *url;
    const char *key_path;
    const char *attest_key; /* path of the device's attestation key; NULL: key_path is used */
    const char *image_path;
    const char *manifest_path;
    const char *challenge; /* challenge as text; NULL: a random challenge */
    const char *ranges;
    const char *nonce;   /* nonce in hex; NULL: a random nonce */
    const char *gateway; /* pin of the gateway's host key */
    const char *session; /* SSH session identifier in hex */
    const char *token;   /* path of a saved token, which is verified instead of a device's answer */
    const char *save;    /* path where the token is saved; NULL: the token is not saved */
    uint64_t at;         /* offset in flash at which the image begins */
    bool evidence;
    bool compute;
    bool locate;
    bool json;
    bool dry_run;
    uint64_t timeout_s;
    uint8_t key[CMX_HMAC_KEY_LEN]; /* wiped by cmd_attest */
};

/* Prints the result of a dry run: nothing, or with --json {"dry_run":true}. Returns CLI_OK. */
int attest_print_dry(const struct attest_options *o);

/* Sends a GET request for base + target. While the device answers 503, repeats the request, for at most a minute.
 * CLI_OK: *out has status 200, and the caller frees it. CLI_FAILED: the error was printed. */
int attest_ask(const struct attest_options *o, const char *target, const char *accept, struct http_answer *out);

/* attest_hash compares the device's answer to /hash with the expected value; attest_evidence verifies signed or MACed
 * evidence. Both return CLI_*. */
int attest_hash(const struct attest_options *o);
int attest_evidence(const struct attest_options *o);
