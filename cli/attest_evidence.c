/* attest_evidence.c - `cmxsafe attest --evidence`: fetches or reads a token, verifies and appraises it. */
#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>

#include "cli/attest_tool.h"
#include "cli/common/key_file.h"
#include "cli/common/output_file.h"
#include "cmxsafe/core/json.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/secret.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/core/why.h"
#include "cmxsafe/proxy/pin.h"
#include "gateway/folder/gw_json.h"
#include "port/linux/cli.h"

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
    struct verify_key key;
    uint8_t token[CMX_EVIDENCE_TOKEN_MAX];
    size_t token_len;
    struct cmx_evidence evidence;
    struct cmx_verdict verdict;
};

/* ---- what the evidence must match ---- */

static int load_manifest(struct job *j)
{
    const char *path = j->o->manifest_path;
    const uint8_t *text;
    struct cmx_why reason = {""};
    char copy[1024];
    unsigned line = 0;
    size_t len = 0;
    cmx_err err;

    if (reference_map(path, &text, &len, &reason))
        return cli_fail(path, reason.text, "make one with: cmxsafe image manifest firmware.bin");
    err = len > CMX_MANIFEST_TEXT_MAX ? CMX_ENOSPC
                                      : cmx_manifest_parse(&j->manifest, (const char *)text, len, &line, &reason);
    reference_unmap(text, len);
    if (err) {
        snprintf(copy, sizeof copy, "%.1000s:%u", path, line);
        return cli_fail(copy, reason.text[0] ? reason.text : "the manifest is too long", NULL);
    }
    if (strlen(path) >= sizeof copy)
        return cli_fail(path, "the name is too long", NULL);
    strncpy(copy, path, sizeof copy);
    if (reference_open_manifest(&j->ref, &j->manifest, dirname(copy), &reason))
        return cli_fail("the manifest's files", reason.text,
                        "make the manifest again, in the folder of the files that it names");
    cmx_manifest_ranges(&j->manifest, &j->ranges);
    return CLI_OK;
}

/* Reads min to max bytes in hex. */
static bool read_hex(const char *hex, uint8_t *out, size_t min, size_t max, size_t *len)
{
    *len = strlen(hex) / 2;
    return *len >= min && *len <= max && cmx_text_hex_decode(out, *len, hex) == CMX_OK;
}

static int read_expectations(struct job *j)
{
    const struct attest_options *o = j->o;

    if (o->gateway && (cmx_pin_parse(&j->gateway, o->gateway) || j->gateway.revoked))
        return cli_usage(ATTEST_COMMAND, "--gateway must be SHA256:... or a known_hosts line");
    if (o->session && !read_hex(o->session, j->session, 1, sizeof j->session, &j->session_len))
        return cli_usage(ATTEST_COMMAND, "--session must be 1 to %d bytes in hex", CMX_EVIDENCE_SESSION_MAX);
    if (o->nonce && !read_hex(o->nonce, j->nonce, CMX_NONCE_MIN, CMX_NONCE_MAX, &j->nonce_len))
        return cli_usage(ATTEST_COMMAND, "--nonce must be %d to %d bytes in hex", CMX_NONCE_MIN, CMX_NONCE_MAX);
    if (!o->nonce) {
        j->nonce_len = 32;
        if (cmx_crypto_random(j->nonce, j->nonce_len))
            return cli_fail("can't create a nonce", "no random bytes", NULL);
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
    struct cmx_why why = {""};
    size_t len = 0;
    int rc;

    if (reference_map(j->o->token, &data, &len, &why))
        return cli_fail(j->o->token, why.text, NULL);
    rc = keep_token(j, data, len, j->o->token);
    reference_unmap(data, len);
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

    cmx_text_hex_encode(hex, j->nonce, j->nonce_len);
    cmx_buf_init(&b, mem, sizeof mem);
    cmx_buf_printf(&b, "/evidence?nonce=%s%s&ranges=", hex, j->o->attest_key ? "&alg=ES256" : "");
    cmx_ranges_print(&j->ranges, &b);
    err = cmx_buf_cstr(&b, &target);
    if (err)
        return cli_fail("can't build the request", cmx_err_text(err), NULL);
    rc = attest_ask(j->o, target, CMX_EVIDENCE_TYPE, &a);
    if (rc)
        return rc;
    rc = strcmp(a.type, CMX_EVIDENCE_TYPE) == 0 ? keep_token(j, a.body, a.len, j->o->url)
                                                : cli_fail(j->o->url, "the answer is not " CMX_EVIDENCE_TYPE, NULL);
    http_answer_free(&a);
    return rc;
}

static int save_token(const struct job *j)
{
    struct cmx_new_file to;

    if (output_file_open(&to, j->o->save, j->o->attest_key ? j->o->attest_key : j->o->key_path))
        return CLI_FAILED;
    (void)fwrite(j->token, 1, j->token_len, to.f); /* cmx_new_file_close reports a failed write */
    return cmx_new_file_close(&to, true) ? cli_fail(j->o->save, strerror(errno), NULL) : CLI_OK;
}

/* ---- the verdict ---- */

static int load_key(struct job *j)
{
    struct cmx_attest_key k;
    struct cmx_why why = {""};
    uint8_t key[CMX_HMAC_KEY_LEN];
    cmx_err err;

    if (j->o->attest_key) {
        if (key_file_read_attest(j->o->attest_key, &k, &why))
            return cli_fail(j->o->attest_key, why.text, "make it with: cmxsafe identity public --key private_key.bin");
        verify_key_from_attest_key(&j->key, &k);
        return CLI_OK;
    }
    memcpy(key, j->o->key, sizeof key);
    err = verify_key_from_hwkey(&j->key, key_file_hmac, key);
    cmx_secret_wipe(key, sizeof key);
    return err ? cli_fail("can't derive the evidence key", cmx_err_text(err), NULL) : CLI_OK;
}

static const char *todo_after(cmx_err err)
{
    switch (err) {
    case CMX_ESIG:
        return "check that the key is this device's";
    case CMX_EINVAL:
        return "make the key file again with: cmxsafe identity public --key private_key.bin";
    case CMX_EFORMAT:
    case CMX_ETRUNC:
    case CMX_ENOTSUP:
        return "the device may use a profile other than " CMX_EVIDENCE_PROFILE;
    default:
        return NULL;
    }
}

static int verify(struct job *j)
{
    const struct verify_input in = {.token = j->token,
                                    .token_len = j->token_len,
                                    .key = &j->key,
                                    .nonce = j->nonce,
                                    .nonce_len = j->nonce_len,
                                    .manifest = &j->manifest,
                                    .reference = &j->ref,
                                    .gateway = j->o->gateway ? j->gateway.digest : NULL,
                                    .session = j->o->session ? j->session : NULL,
                                    .session_len = j->session_len};
    struct cmx_why why = {""};
    cmx_err err = verify_evidence(&in, &j->evidence, &j->verdict, &why);

    if (!err)
        return CLI_OK;
    return cli_fail("evidence", why.text, todo_after(err));
}

static const char *result_word(cmx_check_result r)
{
    return r == CMX_CHECK_PASSED ? "ok" : r == CMX_CHECK_SKIPPED ? "not asked" : "FAILED";
}

/* Prints the parts of flash that the verdict does not cover. */
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
        printf("the device's key is in software: a program that ran as root on the device can forge its evidence\n");
    puts(j->verdict.ok ? "TRUSTED" : "NOT TRUSTED");
}

static void print_json(const struct job *j)
{
    struct gw_json out;

    gw_json_begin_stdout(&out);
    cmx_json_bool(&out.j, "ok", j->verdict.ok);
    cmx_json_str(&out.j, "verdict", j->verdict.ok ? "TRUSTED" : "NOT TRUSTED");
    cmx_json_array(&out.j, "checks");
    for (size_t i = 0; i < j->verdict.n; i++) {
        cmx_json_object(&out.j, NULL);
        cmx_json_str(&out.j, "check", j->verdict.checks[i].name);
        cmx_json_str(&out.j, "result", result_word(j->verdict.checks[i].result));
        cmx_json_str(&out.j, "found", j->verdict.checks[i].found);
        cmx_json_end(&out.j);
    }
    cmx_json_end(&out.j);
    json_unmeasured(j, &out.j);
    cmx_json_hex(&out.j, "ueid", j->evidence.ueid, sizeof j->evidence.ueid);
    cmx_json_str(&out.j, "swname", j->evidence.sw_name);
    cmx_json_str(&out.j, "swversion", j->evidence.sw_version);
    cmx_json_str(&out.j, "slot", j->evidence.slot);
    cmx_json_str(&out.j, "slot_state", j->evidence.slot_state);
    cmx_json_u64(&out.j, "bootcount", j->evidence.boot_count);
    cmx_json_str(&out.j, "key", cmx_evidence_key_holder_name(j->evidence.key));
    gw_json_end_stdout(&out);
}

static int run(struct job *j)
{
    int rc = read_expectations(j);

    if (!rc)
        rc = load_key(j);
    if (!rc)
        rc = load_manifest(j);
    if (!rc && j->o->dry_run)
        return attest_print_dry(j->o);
    if (!rc)
        rc = j->o->token ? read_token(j) : fetch_token(j);
    if (!rc && j->o->save)
        rc = save_token(j);
    if (!rc)
        rc = verify(j);
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
    cmx_mem_free_secret(j); /* wipes the keys in it */
    return rc;
}
