/* attest_hash.c - `cmxsafe attest` without --evidence: compares the device's answer to /hash with the expected value,
 * and finds the chunks of flash that differ. */
#include <stdio.h>
#include <string.h>

#include "cli/attest_tool.h"
#include "cmxsafe/core/json.h"
#include "cmxsafe/core/secret.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/core/why.h"
#include "gateway/folder/gw_json.h"
#include "port/linux/cli.h"

#define DIFFERENCES_MAX 64

struct job {
    const struct attest_options *o;
    struct reference ref;
    struct cmx_ranges ranges;
    char challenge[CMX_CHALLENGE_MAX + 1];
    uint8_t expected[CMX_SHA256_LEN];
    uint8_t answered[CMX_SHA256_LEN];
    uint32_t differs[DIFFERENCES_MAX]; /* offsets of the chunks that differ */
    size_t n_differs;
    bool more; /* the list of chunks is full; more may differ */
};

static cmx_err expect(const struct job *j, const struct cmx_ranges *ranges, uint8_t out[CMX_SHA256_LEN])
{
    return reference_hash(&j->ref, ranges, j->o->key, j->challenge, strlen(j->challenge), out);
}

/* Escapes every byte except letters and digits (RFC 3986 section 2.1). */
static void put_escaped(struct cmx_buf *b, const char *s)
{
    for (; *s; s++)
        cmx_buf_printf(b, cmx_text_is_alnum(*s) ? "%c" : "%%%02x", (unsigned)(uint8_t)*s);
}

/* Requests the value of /hash. ranges NULL: the device uses its default ranges. */
static int ask(const struct job *j, const struct cmx_ranges *ranges, uint8_t out[CMX_SHA256_LEN])
{
    char mem[HTTP_URL_MAX], hex[65];
    struct http_answer a;
    struct cmx_buf b;
    const char *target = "";
    cmx_err err;
    int rc;

    cmx_buf_init(&b, mem, sizeof mem);
    cmx_buf_put_str(&b, "/hash?challenge=");
    put_escaped(&b, j->challenge);
    if (ranges) {
        cmx_buf_put_str(&b, "&ranges=");
        cmx_ranges_print(ranges, &b);
    }
    err = cmx_buf_cstr(&b, &target);
    if (err)
        return cli_fail("can't build the request", cmx_err_text(err), NULL);
    rc = attest_ask(j->o, target, "text/plain", &a);
    if (rc)
        return rc;
    err = a.len == 64 ? CMX_OK : CMX_EFORMAT;
    if (!err) {
        memcpy(hex, a.body, 64);
        hex[64] = 0;
        err = cmx_text_hex_decode(out, 32, hex);
    }
    http_answer_free(&a);
    return err ? cli_fail(j->o->url, "the answer is not an attestation value",
                          "check that this is the port of the attestation service")
               : CLI_OK;
}

static int compare(const struct job *j, const struct cmx_ranges *ranges, bool *same)
{
    uint8_t want[CMX_SHA256_LEN], have[CMX_SHA256_LEN];
    cmx_err err = expect(j, ranges, want);
    int rc;

    if (err)
        return cli_fail("can't compute the expected value", cmx_err_text(err), NULL);
    rc = ask(j, ranges, have);
    *same = !rc && cmx_secret_equal(want, have, CMX_SHA256_LEN);
    return rc;
}

/* Finds the differing chunks of a span that is known to differ, by bisection. Each step takes one or two requests, so a
 * single differing chunk in 4 GB is found with at most 40 requests. */
static int locate(struct job *j, struct cmx_range span)
{
    uint32_t chunks = (span.end - span.begin + CMX_CHUNK - 1) / CMX_CHUNK;
    struct cmx_ranges half = {.n = 1};
    bool same = false;
    int rc;

    if (j->n_differs == DIFFERENCES_MAX) {
        j->more = true;
        return CLI_OK;
    }
    if (chunks == 1) {
        j->differs[j->n_differs++] = span.begin;
        return CLI_OK;
    }
    half.r[0] = (struct cmx_range){span.begin, span.begin + chunks / 2 * CMX_CHUNK};
    rc = compare(j, &half, &same);
    if (!rc && !same)
        rc = locate(j, half.r[0]);
    half.r[0] = (struct cmx_range){half.r[0].end, span.end};
    if (!rc && !same) /* the first half differs; the second half may still be equal */
        rc = compare(j, &half, &same);
    else
        same = false; /* the first half was equal, so the second half differs */
    return rc || same ? rc : locate(j, half.r[0]);
}

static int locate_all(struct job *j)
{
    for (size_t i = 0; i < j->ranges.n; i++) {
        struct cmx_ranges one = {.r = {j->ranges.r[i]}, .n = 1};
        bool same = false;
        int rc = compare(j, &one, &same);

        if (!rc && !same)
            rc = locate(j, one.r[0]);
        if (rc)
            return rc;
    }
    return CLI_OK;
}

static void print_text(const struct job *j, bool match)
{
    char hex[CMX_SHA256_HEX];

    cmx_text_hex_encode(hex, j->expected, CMX_SHA256_LEN);
    printf("expected %s\n", hex);
    cmx_text_hex_encode(hex, j->answered, CMX_SHA256_LEN);
    printf("answered %s\n%s\n", hex, match ? "MATCH" : "DIFFERS");
    for (size_t i = 0; i < j->n_differs; i++)
        printf("differs at 0x%06lx (4 KB chunk)\n", (unsigned long)j->differs[i]);
    if (j->more)
        printf("more chunks may differ\n");
    if (!match && j->o->locate && j->n_differs == 0)
        printf("no chunk of the image differs, but the image does not end where the flash ends; give --ranges\n");
}

static void print_computed(const struct job *j)
{
    struct gw_json out;
    char hex[CMX_SHA256_HEX];

    if (!j->o->json) {
        cmx_text_hex_encode(hex, j->expected, CMX_SHA256_LEN);
        puts(hex);
        return;
    }
    gw_json_begin_stdout(&out);
    cmx_json_str(&out.j, "challenge", j->challenge);
    cmx_json_hex(&out.j, "expected", j->expected, CMX_SHA256_LEN);
    gw_json_end_stdout(&out);
}

static void print_json(const struct job *j, bool match)
{
    struct gw_json out;

    gw_json_begin_stdout(&out);
    cmx_json_bool(&out.j, "ok", match);
    cmx_json_str(&out.j, "verdict", match ? "MATCH" : "DIFFERS");
    cmx_json_str(&out.j, "challenge", j->challenge);
    cmx_json_hex(&out.j, "expected", j->expected, CMX_SHA256_LEN);
    cmx_json_hex(&out.j, "answered", j->answered, CMX_SHA256_LEN);
    cmx_json_array(&out.j, "differs");
    for (size_t i = 0; i < j->n_differs; i++)
        cmx_json_u64(&out.j, NULL, j->differs[i]);
    cmx_json_end(&out.j);
    gw_json_end_stdout(&out);
}

static int set_challenge(struct job *j)
{
    uint8_t random[16];
    cmx_err err;

    if (j->o->challenge) {
        err = cmx_text_copy(j->challenge, sizeof j->challenge, j->o->challenge);
    } else {
        err = cmx_crypto_random(random, sizeof random);
        cmx_text_hex_encode(j->challenge, random, sizeof random);
    }
    return err ? cli_fail("can't create a challenge", cmx_err_text(err), NULL) : CLI_OK;
}

static int set_ranges(struct job *j)
{
    struct cmx_why why = {""};

    j->ranges.r[0] = j->ref.part[0].range; /* the whole image */
    j->ranges.n = 1;
    if (!j->o->ranges && j->o->at != CMX_ATTEST_START) /* the device accepts only whole chunks */
        j->ranges.r[0].end = CMX_CHUNK_END(j->ranges.r[0].end);
    if (!j->o->ranges)
        return CLI_OK;
    if (cmx_ranges_parse(&j->ranges, j->o->ranges, strlen(j->o->ranges), UINT32_MAX, &why))
        return cli_usage(ATTEST_COMMAND, "--ranges: %s", why.text);
    return CLI_OK;
}

static int run(struct job *j)
{
    /* If neither --ranges nor --at changes the ranges, leave the parameter out, as the client of the original
     * CMXsafe-ESP32 does. The device then uses its default ranges. */
    bool by_default = !j->o->ranges && j->o->at == CMX_ATTEST_START;
    bool match;
    cmx_err err = expect(j, &j->ranges, j->expected);
    int rc;

    if (err)
        return cli_fail(j->o->image_path, "does not contain all of the ranges",
                        "use --at to give the offset in flash at which the image begins");
    if (j->o->compute) {
        print_computed(j);
        return CLI_OK;
    }
    if (j->o->dry_run)
        return attest_print_dry(j->o);
    rc = ask(j, by_default ? NULL : &j->ranges, j->answered);
    if (rc)
        return rc;
    match = cmx_secret_equal(j->expected, j->answered, CMX_SHA256_LEN);
    if (!match && j->o->locate)
        rc = locate_all(j);
    if (rc)
        return rc;
    if (j->o->json)
        print_json(j, match);
    else
        print_text(j, match);
    return match ? CLI_OK : CLI_FAILED;
}

int attest_hash(const struct attest_options *o)
{
    struct job j = {.o = o};
    struct cmx_why why = {""};
    int rc;

    if (reference_open_image(&j.ref, o->image_path, (uint32_t)o->at, &why)) {
        reference_close(&j.ref);
        return cli_fail(o->image_path, why.text,
                        "give the device's image; esptool read_flash 0x10000 SIZE FILE reads it from a trusted device");
    }
    rc = set_challenge(&j);
    if (!rc)
        rc = set_ranges(&j);
    if (!rc)
        rc = run(&j);
    reference_close(&j.ref);
    return rc;
}
