/* attest_evidence.c - `cmxsafe attest --evidence`: fetches or reads a token, verifies and appraises it. */
#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "attest.h"
#include "cli.h"
#include "cmxsafe/core/json.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/secret.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/identity/identity.h"
#include "cmxsafe/proxy/pin.h"
#include "key_file.h"

struct job {
    const struct attest_options *o;
    struct cmx_manifest manifest;
    struct reference ref;
    struct cmx_ranges ranges;
    uint8_t nonce[CMX_NONCE_MAX];
    size_t nonce_len;
    uint8_t session[CMX_EVIDENCE_SESSION_MAX];
    size_t session_len;
    struct cmx_pin gateway;
    uint8_t ueid[CMX_UEID_LEN];
    uint8_t mac_key[32];
    uint8_t token[CMX_EVIDENCE_TOKEN_MAX];
    size_t token_len;
    struct cmx_evidence evidence;
    struct cmx_measurement measured[CMX_RANGES_MAX];
    struct cmx_verdict verdict;
};

/* ---- what it is held against ---- */

static int load_manifest(struct job *j)
{
    const char *path = j->o->manifest_path, *why = "";
    const uint8_t *text;
    char reason[400], copy[1024];
    unsigned line = 0;
    size_t len = 0;
    cmx_err err;

    if (reference_map(path, &text, &len, reason, sizeof reason))
        return cli_fail(path, reason, "make one with: cmxsafe image manifest firmware.bin");
    err = len > CMX_MANIFEST_TEXT_MAX ? CMX_ENOSPC
                                      : cmx_manifest_parse(&j->manifest, (const char *)text, len, &line, &why);
    (void)munmap((void *)(uintptr_t)text, len);
    if (err) {
        fprintf(stderr, "cmxsafe: %s:%u: %s\n", path, line, why[0] ? why : "too long");
        return CLI_FAILED;
    }
    if (strlen(path) >= sizeof copy)
        return cli_fail(path, "the name is too long", NULL);
    strncpy(copy, path, sizeof copy);
    if (reference_open_manifest(&j->ref, &j->manifest, dirname(copy), reason, sizeof reason))
        return cli_fail("the manifest's files", reason, "make the manifest again");
    cmx_manifest_ranges(&j->manifest, &j->ranges);
    return CLI_OK;
}

/* Hex of min to max bytes. */
static bool read_hex(const char *hex, uint8_t *out, size_t min, size_t max, size_t *len)
{
    *len = strlen(hex) / 2;
    return *len >= min && *len <= max && cmx_hex_decode(out, *len, hex) == CMX_OK;
}

static int read_expectations(struct job *j)
{
    const struct attest_options *o = j->o;

    if (o->gateway && cmx_pin_parse(&j->gateway, o->gateway))
        return cli_usage(ATTEST_COMMAND, "--gateway is SHA256:... or a known_hosts line");
    if (o->session && !read_hex(o->session, j->session, 1, sizeof j->session, &j->session_len))
        return cli_usage(ATTEST_COMMAND, "--session is 1 to %d bytes in hex", CMX_EVIDENCE_SESSION_MAX);
    if (o->nonce && !read_hex(o->nonce, j->nonce, CMX_NONCE_MIN, CMX_NONCE_MAX, &j->nonce_len))
        return cli_usage(ATTEST_COMMAND, "--nonce is %d to %d bytes in hex", CMX_NONCE_MIN, CMX_NONCE_MAX);
    if (!o->nonce) {
        j->nonce_len = 32;
        if (cmx_crypto_random(j->nonce, j->nonce_len))
            return cli_fail("drawing a nonce", "no random bytes", NULL);
    }
    return CLI_OK;
}

/* ---- the token ---- */

static int keep_token(struct job *j, const uint8_t *data, size_t len, const char *from)
{
    if (len > sizeof j->token)
        return cli_fail(from, "is longer than any token", NULL);
    memcpy(j->token, data, len);
    j->token_len = len;
    return CLI_OK;
}

static int read_token(struct job *j)
{
    const uint8_t *data;
    char why[128];
    size_t len = 0;
    int rc;

    if (reference_map(j->o->token, &data, &len, why, sizeof why))
        return cli_fail(j->o->token, why, NULL);
    rc = keep_token(j, data, len, j->o->token);
    (void)munmap((void *)(uintptr_t)data, len);
    return rc;
}

static int fetch_token(struct job *j)
{
    char mem[1024], hex[2 * CMX_NONCE_MAX + 1];
    struct http_answer a;
    const char *target = "";
    struct cmx_buf b;
    cmx_err err;
    int rc;

    cmx_hex_encode(hex, j->nonce, j->nonce_len);
    cmx_buf_init(&b, mem, sizeof mem);
    err = cmx_buf_printf(&b, "/evidence?nonce=%s&ranges=", hex);
    if (!err)
        err = cmx_ranges_print(&j->ranges, &b);
    if (!err)
        err = cmx_buf_cstr(&b, &target);
    if (err)
        return cli_fail("the request", cmx_err_text(err), NULL);
    rc = attest_ask(j->o, target, CMX_EVIDENCE_TYPE, &a);
    if (rc)
        return rc;
    rc = strcmp(a.type, CMX_EVIDENCE_TYPE) == 0 ? keep_token(j, a.body, a.len, j->o->url)
                                                : cli_fail(j->o->url, "answers no " CMX_EVIDENCE_TYPE, NULL);
    http_answer_free(&a);
    return rc;
}

static int save_token(const struct job *j)
{
    FILE *f = fopen(j->o->save, "wb");
    bool written = f && fwrite(j->token, 1, j->token_len, f) == j->token_len;

    if (f && fclose(f) != 0)
        written = false;
    return written ? CLI_OK : cli_fail(j->o->save, strerror(errno), NULL);
}

/* ---- the verdict ---- */

static int verify(struct job *j)
{
    uint8_t key[32];
    cmx_err err;

    memcpy(key, j->o->key, sizeof key);
    err = cmx_identity_ueid(key_file_hmac, key, j->ueid);
    if (!err)
        err = cmx_identity_evidence_key(key_file_hmac, key, j->mac_key);
    cmx_secret_wipe(key, sizeof key);
    if (!err)
        err = cmx_evidence_verify(j->token, j->token_len, j->mac_key, &j->evidence);
    if (err == CMX_ESIG)
        return cli_fail("evidence", "the MAC does not match: not made with this key, or changed on the way",
                        "is --key the one of this device?");
    return err ? cli_fail("evidence", cmx_err_text(err),
                          "the device may speak another profile than " CMX_EVIDENCE_PROFILE)
               : CLI_OK;
}

static int appraise(struct job *j)
{
    struct cmx_expect x = {.nonce = j->nonce,
                           .nonce_len = j->nonce_len,
                           .ueid = j->ueid,
                           .manifest = &j->manifest,
                           .measured = j->measured,
                           .n_measured = j->ranges.n,
                           .gateway = j->o->gateway ? j->gateway.digest : NULL,
                           .session = j->o->session ? j->session : NULL,
                           .session_len = j->session_len};

    for (size_t i = 0; i < j->ranges.n; i++) {
        cmx_err err;

        j->measured[i].range = j->ranges.r[i];
        err = reference_measure(&j->ref, j->ranges.r[i], j->mac_key, j->nonce, j->nonce_len, j->measured[i].digest);
        if (err)
            return cli_fail("measuring the reference", cmx_err_text(err), NULL);
    }
    cmx_appraise(&j->evidence, &x, &j->verdict);
    return CLI_OK;
}

static const char *result_word(cmx_check_result r)
{
    return r == CMX_CHECK_PASSED ? "ok" : r == CMX_CHECK_SKIPPED ? "not asked" : "FAILED";
}

/* What the verdict says nothing about. */
static void print_unmeasured(const struct job *j)
{
    struct cmx_range gaps[CMX_MANIFEST_GAPS_MAX];
    size_t n = cmx_manifest_gaps(&j->manifest, gaps);

    for (size_t i = 0; i < n; i++)
        printf("%-9s  %-16s  0x%06lx-0x%06lx\n", "", "not measured", (unsigned long)gaps[i].begin,
               (unsigned long)gaps[i].end);
    for (size_t i = 0; i < j->manifest.n_masks; i++)
        printf("%-9s  %-16s  0x%06lx-0x%06lx %s\n", "", "masked", (unsigned long)j->manifest.masks[i].range.begin,
               (unsigned long)j->manifest.masks[i].range.end, j->manifest.masks[i].name);
}

static void json_unmeasured(const struct job *j, struct cmx_json *w)
{
    struct cmx_range gaps[CMX_MANIFEST_GAPS_MAX];
    size_t n = cmx_manifest_gaps(&j->manifest, gaps);

    cmx_json_array(w, "not_measured");
    for (size_t i = 0; i < n; i++) {
        cmx_json_object(w, NULL);
        cmx_json_u64(w, "begin", gaps[i].begin);
        cmx_json_u64(w, "end", gaps[i].end);
        cmx_json_end(w);
    }
    cmx_json_end(w);
}

static void print_text(const struct job *j)
{
    for (size_t i = 0; i < j->verdict.n; i++)
        printf("%-9s  %-16s  %s\n", result_word(j->verdict.checks[i].result), j->verdict.checks[i].name,
               j->verdict.checks[i].found);
    printf("%-9s  %-16s  %s\n", "", "slot", j->evidence.slot);
    printf("%-9s  %-16s  %lu\n", "", "boots", (unsigned long)j->evidence.boot_count);
    print_unmeasured(j);
    if (j->evidence.key == CMX_HELD_SOFTWARE)
        printf("the device's key is in software: whoever has been root there can answer for it\n");
    puts(j->verdict.ok ? "TRUSTED" : "NOT TRUSTED");
}

static void print_json(const struct job *j)
{
    static uint8_t mem[16384];
    struct cmx_json w;
    struct cmx_buf b;
    const char *text;

    cmx_buf_init(&b, mem, sizeof mem);
    cmx_json_init(&w, &b);
    cmx_json_object(&w, NULL);
    cmx_json_bool(&w, "ok", j->verdict.ok);
    cmx_json_str(&w, "verdict", j->verdict.ok ? "TRUSTED" : "NOT TRUSTED");
    cmx_json_array(&w, "checks");
    for (size_t i = 0; i < j->verdict.n; i++) {
        cmx_json_object(&w, NULL);
        cmx_json_str(&w, "check", j->verdict.checks[i].name);
        cmx_json_str(&w, "result", result_word(j->verdict.checks[i].result));
        cmx_json_str(&w, "found", j->verdict.checks[i].found);
        cmx_json_end(&w);
    }
    cmx_json_end(&w);
    json_unmeasured(j, &w);
    cmx_json_hex(&w, "ueid", j->evidence.ueid, sizeof j->evidence.ueid);
    cmx_json_str(&w, "swname", j->evidence.sw_name);
    cmx_json_str(&w, "swversion", j->evidence.sw_version);
    cmx_json_str(&w, "slot", j->evidence.slot);
    cmx_json_str(&w, "slot_state", j->evidence.slot_state);
    cmx_json_u64(&w, "bootcount", j->evidence.boot_count);
    cmx_json_str(&w, "key", cmx_key_holder_name(j->evidence.key));
    cmx_json_end(&w);
    if (cmx_json_finish(&w) == CMX_OK && cmx_buf_cstr(&b, &text) == CMX_OK)
        puts(text);
}

static int run(struct job *j)
{
    int rc = read_expectations(j);

    if (!rc)
        rc = load_manifest(j);
    if (!rc)
        rc = j->o->token ? read_token(j) : fetch_token(j);
    if (!rc && j->o->save)
        rc = save_token(j);
    if (!rc)
        rc = verify(j);
    if (!rc)
        rc = appraise(j);
    if (rc)
        return rc;
    if (j->o->json)
        print_json(j);
    else
        print_text(j);
    return j->verdict.ok ? CLI_OK : CLI_FAILED;
}

int attest_evidence(const struct attest_options *o)
{
    struct job *j = cmx_mem_alloc(sizeof *j);
    int rc;

    if (!j)
        return cli_fail("evidence", cmx_err_text(CMX_ENOMEM), NULL);
    j->o = o;
    rc = run(j);
    reference_close(&j->ref);
    cmx_mem_free_secret(j); /* the evidence key */
    return rc;
}
