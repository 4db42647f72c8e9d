/* attest.h - what `cmxsafe attest` was asked, shared by its files: options, the exchange with the device, /hash,
 * evidence. */
#ifndef CLI_ATTEST_H
#define CLI_ATTEST_H

#include <stdbool.h>

#include "cmxsafe/attest/chain.h"
#include "http_get.h"
#include "verify/appraise.h"
#include "verify/reference.h"

#define ATTEST_COMMAND "cmxsafe attest"

struct attest_options {
    const char *url;
    const char *key_path;
    const char *image_path;
    const char *manifest_path;
    const char *challenge; /* text; NULL: drawn at random */
    const char *ranges;
    const char *nonce;   /* hex; NULL: drawn at random */
    const char *gateway; /* pin */
    const char *session; /* hex */
    const char *token;   /* a saved token in place of a device */
    const char *save;
    uint32_t at; /* where in flash the image begins */
    bool evidence;
    bool compute;
    bool locate;
    bool json;
    unsigned timeout_ms;
    uint8_t key[32]; /* wiped by cmd_attest */
};

/* GET base + target, again for as long as the device answers 503 (at most a minute). Prints the failure itself; returns
 * CLI_OK with a 200 in *out, to be freed, or what the program exits with. */
int attest_ask(const struct attest_options *o, const char *target, const char *accept, struct http_answer *out);

/* The two things that are done; both return CLI_*. */
int attest_hash(const struct attest_options *o);
int attest_evidence(const struct attest_options *o);

#endif
