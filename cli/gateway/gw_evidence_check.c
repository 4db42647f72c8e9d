#include "cli/gateway/gw_evidence_check.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cli/common/http_client.h"
#include "cli/gateway/gw_store.h"
#include "cmxsafe/core/text.h"
#include "gateway/registry/party.h"
#include "gateway/server/gw_account.h"
#include "gateway/server/gw_confine.h"
#include "gateway/server/gw_inside.h"
#include "gateway/verify/verify.h"
#include "port/linux/child.h"

#define PIPE_FD 3
#define SILENCE_MS 10000
#define TOTAL_MS 25000

struct check {
    const struct gw *g;
    const struct gw_standing *device;
    struct reference_value {
        struct gw_manifest *manifest;
        const char *digest;
    } list[GW_POLICY_MANIFESTS_MAX];
    size_t n;
    struct verify_key key;
    char source[GW_ADDRESS_MAX]; /* the gateway's own identity, which may reach every device; "" in --user mode */
    struct gw_check_result *result;
};

static void set_result(struct gw_check_result *r, gw_check_verdict verdict, const char *reason)
{
    r->verdict = (uint32_t)verdict;
    snprintf(r->reason, sizeof r->reason, "%.*s", (int)sizeof r->reason - 1, reason); /* a long reason is cut */
}

/* ---- before privileges are dropped: only the operator's own files are read ---- */

static bool load_all(struct check *k, const struct gw_policy *p, const char *key)
{
    struct cmx_attest_key attest;
    struct cmx_why e = {0};

    if (cmx_attest_key_parse(key, strlen(key), &attest)) {
        set_result(k->result, GW_CHECK_UNTRUSTED, "its attestation key is not known; see 'enroll --attest-key'");
        return false;
    }
    verify_key_from_attest_key(&k->key, &attest);
    for (size_t i = 0; i < p->n_manifests; i++) {
        struct gw_manifest *m = NULL;

        k->list[k->n].digest = p->manifests[i].digest;
        if (gw_store_open_manifest(k->g, p->manifests[i].digest, &m, &e))
            gw_manifest_free(m);
        else
            k->list[k->n++].manifest = m;
    }
    if (k->n)
        return true;
    set_result(k->result, GW_CHECK_UNKNOWN, e.text);
    return false;
}

static bool drop_privileges(const struct gw *g, pid_t parent)
{
    const struct rlimit none = {0, 0};
    const uid_t uid = g->user ? GW_USER_UID : GW_UNUSED_UID;
    const gid_t gid = g->user ? GW_USER_UID : GW_NOBODY;

    if (!gw_inside_enter(g, -1, -1) || !gw_account_become(uid, gid))
        return false;
    setrlimit(RLIMIT_CORE, &none);
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && gw_confine_self() && cmx_child_end_with(parent, SIGKILL);
}

/* ---- the device's answer ---- */

static cmx_err ask_device(const struct check *k, const struct gw_manifest *m, const char *nonce, struct http_answer *a,
                          struct cmx_why *why)
{
    char base[GW_ADDRESS_MAX + 32];
    char target[1024];
    const char *text = "";
    struct cmx_ranges ranges;
    struct cmx_buf b;
    struct http_request q = {.base = base,
                             .accept = "application/eat+cwt",
                             .source = k->source[0] ? k->source : NULL,
                             .silence_ms = SILENCE_MS,
                             .total_ms = TOTAL_MS};
    cmx_err err;

    snprintf(base, sizeof base, "http://[%s]:%u", k->device->address, k->device->port);
    cmx_manifest_ranges(&m->manifest, &ranges);
    cmx_buf_init(&b, target, sizeof target);
    cmx_buf_printf(&b, "/evidence?nonce=%s&alg=ES256&ranges=", nonce);
    cmx_ranges_print(&ranges, &b);
    err = cmx_buf_cstr(&b, &text);
    if (err)
        return cmx_why_fail(why, err, "the request is too long");
    q.target = text;
    return http_exchange(&q, a, why);
}

static void describe_claims(struct gw_check_result *r, const struct cmx_verdict *v)
{
    static const char *const words[] = {
        [CMX_CHECK_FAILED] = "failed", [CMX_CHECK_PASSED] = "ok", [CMX_CHECK_SKIPPED] = "skipped"};
    size_t used = 0;

    r->claims[0] = '\0';
    for (size_t i = 0; i < v->n; i++) {
        size_t room = sizeof r->claims - used;
        int n = snprintf(r->claims + used, room, "%s%s %s %s", i ? "\n" : "", words[v->checks[i].result],
                         v->checks[i].name, v->checks[i].found);

        if (n < 0 || (size_t)n >= room) {
            r->claims[used] = '\0'; /* no room for more: the claims so far are kept */
            return;
        }
        used += (size_t)n;
    }
}

static void describe_failure(struct gw_check_result *r, const struct cmx_verdict *v)
{
    for (size_t i = 0; i < v->n; i++)
        if (v->checks[i].result == CMX_CHECK_FAILED) {
            r->verdict = GW_CHECK_UNTRUSTED;
            snprintf(r->reason, sizeof r->reason, "check '%s' failed: %.100s", v->checks[i].name, v->checks[i].found);
            return;
        }
    set_result(r, GW_CHECK_UNTRUSTED, "its evidence does not satisfy the manifest");
}

static void judge_answer(const struct check *k, const struct gw_manifest *m, const uint8_t *nonce, size_t nonce_len,
                         const struct http_answer *a)
{
    struct verify_input in = {.token = a->body,
                              .token_len = a->len,
                              .key = &k->key,
                              .nonce = nonce,
                              .nonce_len = nonce_len,
                              .manifest = &m->manifest,
                              .reference = &m->reference};
    struct cmx_evidence evidence;
    struct cmx_verdict verdict = {0};
    struct gw_check_result *r = k->result;
    struct cmx_why why = {""};
    char text[GW_REASON_MAX];

    if (verify_evidence(&in, &evidence, &verdict, &why)) {
        snprintf(text, sizeof text, "its evidence is not authentic: %.120s", why.text);
        set_result(r, GW_CHECK_UNTRUSTED, text);
        return;
    }
    snprintf(r->firmware, sizeof r->firmware, "%.40s %.30s %.20s", evidence.sw_name, evidence.sw_version,
             evidence.slot);
    describe_claims(r, &verdict);
    if (verdict.ok)
        set_result(r, GW_CHECK_TRUSTED, "");
    else
        describe_failure(r, &verdict);
}

/* Requests evidence and compares it with one manifest. Returns true if the evidence was received but is not authentic
 * or does not match this manifest; the caller then tries the next one. */
static bool check_manifest(const struct check *k, const struct reference_value *v)
{
    uint8_t nonce[32];
    char hex[2 * sizeof nonce + 1];
    char text[GW_REASON_MAX];
    struct http_answer a = {0};
    struct cmx_why why = {""};

    if (cmx_crypto_random(nonce, sizeof nonce)) {
        set_result(k->result, GW_CHECK_UNKNOWN, "no random bytes");
        return false;
    }
    cmx_text_hex_encode(hex, nonce, sizeof nonce);
    if (ask_device(k, v->manifest, hex, &a, &why)) {
        snprintf(text, sizeof text, "it gives no evidence: %.150s", why.text);
        set_result(k->result, GW_CHECK_UNKNOWN, text);
        return false;
    }
    if (a.status != 200) {
        snprintf(text, sizeof text, "it gives no evidence: its attestation service answers with HTTP status %d",
                 a.status);
        set_result(k->result, GW_CHECK_UNKNOWN, text);
        http_answer_free(&a);
        return false;
    }
    judge_answer(k, v->manifest, nonce, sizeof nonce, &a);
    snprintf(k->result->manifest, sizeof k->result->manifest, "%s", v->digest);
    http_answer_free(&a);
    return k->result->verdict != GW_CHECK_TRUSTED;
}

_Noreturn static void check_child(struct check *k, const struct gw_policy *p, const char *key, pid_t parent, int out)
{
    struct gw_check_result result = {0};

    k->result = &result;
    /* Close the descriptors of the parent (registry, locks), so that a device that exploits the parser gets none of
     * them. */
    if (dup2(out, PIPE_FD) < 0 || close_range(PIPE_FD + 1, ~0U, 0) != 0)
        _exit(EXIT_FAILURE);
    if (load_all(k, p, key)) {
        if (!drop_privileges(k->g, parent))
            set_result(&result, GW_CHECK_UNKNOWN, "the gateway's namespaces can't be entered");
        else
            for (size_t i = 0; i < k->n && check_manifest(k, &k->list[i]); i++)
                ;
    }
    /* The result is smaller than a pipe's buffer, so one write is enough. */
    _exit(write(PIPE_FD, &result, sizeof result) == (ssize_t)sizeof result ? EXIT_SUCCESS : EXIT_FAILURE);
}

pid_t gw_check_start(const struct gw *g, const struct gw_standing *s, const struct gw_policy *p, const char *key,
                     int *pipe_fd)
{
    struct check k = {.g = g, .device = s};
    struct cmx_why e = {0};
    int fd[2];
    pid_t parent = getpid();
    pid_t pid;

    if ((!g->user && gw_party_gateway_identity(&g->fleet, k.source, &e)) || pipe2(fd, O_CLOEXEC) != 0)
        return -1;
    fflush(NULL);
    pid = cmx_child_fork();
    if (pid == 0)
        check_child(&k, p, key, parent, fd[1]);
    close(fd[1]);
    if (pid < 0)
        close(fd[0]);
    *pipe_fd = fd[0];
    return pid;
}

static void clean_lines(char *text)
{
    char *rest = text;

    for (char *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n")) {
        cmx_text_clean(line);
        if (rest)
            rest[-1] = '\n';
    }
}

void gw_check_read(int pipe_fd, struct gw_check_result *out)
{
    struct pollfd p = {.fd = pipe_fd, .events = POLLIN};
    ssize_t n = 0;

    memset(out, 0, sizeof *out);
    if (poll(&p, 1, 0) > 0) /* a process that the child started may keep the pipe open without writing */
        n = read(pipe_fd, out, sizeof *out);
    if (n != (ssize_t)sizeof *out || out->verdict > GW_CHECK_UNTRUSTED) {
        memset(out, 0, sizeof *out);
        set_result(out, GW_CHECK_UNKNOWN, "the check did not finish");
    }
    out->reason[sizeof out->reason - 1] = '\0';
    out->firmware[sizeof out->firmware - 1] = '\0';
    out->manifest[sizeof out->manifest - 1] = '\0';
    out->claims[sizeof out->claims - 1] = '\0';
    cmx_text_clean(out->reason);
    cmx_text_clean(out->firmware);
    cmx_text_clean(out->manifest);
    clean_lines(out->claims);
}
