#include "cmxsafe/device/attest_service.h"

#include <stdatomic.h>
#include <string.h>

#include "cmxsafe/core/log.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/device/attest_work.h"
#include "cmxsafe/http/http.h"
#include "cmxsafe/ota/origin.h"
#include "cmxsafe/port/crypto.h"
#include "cmxsafe/port/port.h"

#define RETRY_AFTER_S "5" /* seconds; estimated time in which an ESP32 attests 4 MB */
#define CONNECTIONS 8

static struct {
    struct cmx_http_server *server; /* NULL while the service is not running */
    cmx_attest_facts_fn facts;
    atomic_uint requests; /* requests whose computation is running or waiting */
    uint8_t boot_seed[CMX_BOOT_SEED_LEN];
    struct cmx_mutex turn; /* locked by the request whose computation is running */
} self;

void cmx_attest_set_facts(cmx_attest_facts_fn facts)
{
    self.facts = facts;
}

/* ---- one computation at a time ---- */

/* Waits until no other computation is running. what: the kind of request, for the log. False: too many requests are
 * already waiting. Then 503 was sent, and *err is the result of sending it. */
static bool enter(struct cmx_http_request *r, const char *what, cmx_err *err)
{
    static const struct cmx_http_header headers[] = {{"Retry-After", RETRY_AFTER_S}};
    static const char busy[] = "busy with other attestations; retry later\n";
    char client[CMX_IP_TEXT_MAX];

    if (atomic_fetch_add(&self.requests, 1) >= 1 + CMX_ATTEST_QUEUE) {
        atomic_fetch_sub(&self.requests, 1);
        *err = cmx_http_reply(r, 503, "text/plain", busy, sizeof busy - 1, headers, 1);
        return false;
    }
    cmx_port_background(); /* lowers this task's priority; the task serves only attestation requests */
    cmx_port_mutex_lock(&self.turn);
    cmx_http_client(r, client);
    cmx_log_limited(CMX_LOG_INFO, "attest", "%s for %s", what, client[0] ? client : "unknown");
    return true;
}

static void leave(void)
{
    cmx_port_mutex_unlock(&self.turn);
    atomic_fetch_sub(&self.requests, 1);
}

/* ---- answers ---- */

static const struct cmx_http_header no_store[] = {{"Cache-Control", "no-store"}};

static cmx_err reply_failure(struct cmx_http_request *r, cmx_err err)
{
    cmx_log_limited(CMX_LOG_ERROR, "attest", "no answer: %s", cmx_err_text(err));
    return cmx_http_reply_text(r, err == CMX_ENOMEM ? 503 : 500, "attestation failed: %s%s\n", cmx_err_text(err),
                               err == CMX_ENOKEY ? "; espefuse burn_key BLOCK_KEY3 private_key.bin HMAC_UP" : "");
}

/* ---- parameters ---- */

/* take_* return true if they could read the parameter. Otherwise they send 400 or 404, and *err is the result of
 * sending the answer. */

/* Decodes a parameter. The request must contain it exactly once, and its value must have min to max bytes. unit: the
 * noun for the value's bytes in the message, such as "bytes". */
static bool take_param(struct cmx_http_request *r, const char *name, const char *unit, uint8_t *out, size_t min,
                       size_t max, size_t *len, cmx_err *err)
{
    const char *raw = NULL;
    size_t raw_len = 0;
    cmx_err found = cmx_http_param(cmx_http_query(r), name, &raw, &raw_len);

    if (!found)
        found = cmx_text_url_decode(raw, raw_len, 1, out, max, len);
    if (!found && *len >= min)
        return true;
    *err = cmx_http_reply_text(r, 400,
                               found == CMX_ENOENT    ? "Missing '%s' parameter\n"
                               : found == CMX_EFORMAT ? "'%s' has a broken %%XX escape\n"
                                                      : "'%s' must be given once, with %u to %u %s\n",
                               name, (unsigned)min, (unsigned)max, unit);
    return false;
}

/* Reads the parameter `ranges`. If the request has none, sets the default ranges. */
static bool take_ranges(struct cmx_http_request *r, struct cmx_ranges *out, cmx_err *err)
{
    uint32_t size = cmx_port_flash_size();
    uint8_t text[CMX_RANGES_TEXT_MAX];
    struct cmx_why why;
    const char *raw;
    size_t len = 0;

    if (cmx_http_param(cmx_http_query(r), "ranges", &raw, &len) == CMX_ENOENT) {
        if (cmx_ranges_default(out, size) == CMX_OK)
            return true;
        *err = cmx_http_reply_text(r, 404, "the flash ends before 0x10000; ask for ranges=BEGIN-END\n");
        return false;
    }
    if (!take_param(r, "ranges", "bytes", text, 1, sizeof text, &len, err))
        return false;
    if (cmx_ranges_parse(out, (const char *)text, len, size, &why) == CMX_OK) {
        if (cmx_ranges_are_whole(out, size))
            return true;
        cmx_why_set(&why, "not multiples of %d", CMX_CHUNK);
    }
    *err = cmx_http_reply_text(r, 400, "ranges: %s\n", why.text);
    return false;
}

/* ---- GET /hash ---- */

static cmx_err begin_hash(struct cmx_http_request *r, void *ctx, void **state)
{
    uint8_t challenge[CMX_CHALLENGE_MAX], value[32];
    struct cmx_ranges ranges;
    char hex[CMX_SHA256_HEX];
    size_t len;
    cmx_err err;

    (void)ctx;
    (void)state;
    if (cmx_origin_refused(r, &err) /* a web page from another site must not start a computation */
        || !take_param(r, "challenge", "bytes", challenge, 1, sizeof challenge, &len, &err) ||
        !take_ranges(r, &ranges, &err))
        return err;
    if (!enter(r, "hash", &err))
        return err;
    err = cmx_attest_hash(&ranges, challenge, len, value);
    leave();
    if (err)
        return reply_failure(r, err);
    cmx_text_hex_encode(hex, value, sizeof value);
    return cmx_http_reply(r, 200, "text/plain", hex, 64, no_store, 1);
}

/* ---- GET /evidence ---- */

/* Reads the nonce in hex. */
static bool take_nonce(struct cmx_http_request *r, uint8_t nonce[CMX_NONCE_MAX], size_t *len, cmx_err *err)
{
    uint8_t hex[2 * CMX_NONCE_MAX + 1];
    size_t n = 0;

    if (!take_param(r, "nonce", "hex digits", hex, 2 * CMX_NONCE_MIN, 2 * CMX_NONCE_MAX, &n, err))
        return false;
    hex[n] = 0;
    *len = n / 2;
    if (n % 2 == 0 && cmx_text_hex_decode(nonce, *len, (const char *)hex) == CMX_OK)
        return true;
    *err = cmx_http_reply_text(r, 400, "'nonce' must be even-length hex\n");
    return false;
}

/* Reads the parameter `alg`, the COSE name of the algorithm; the default is HS256. */
static bool take_form(struct cmx_http_request *r, cmx_evidence_form *form, cmx_err *err)
{
    const char *raw = "HS256";
    size_t len = 5;
    cmx_err found = cmx_http_param(cmx_http_query(r), "alg", &raw, &len);
    const bool es256 = len == 5 && memcmp(raw, "ES256", 5) == 0;

    *form = es256 ? CMX_EVIDENCE_SIGNED : CMX_EVIDENCE_MAC;
    if (found != CMX_EEXIST && (es256 || (len == 5 && memcmp(raw, "HS256", 5) == 0)))
        return true;
    *err = cmx_http_reply_text(r, 400, "'alg' must be given once, as HS256 or ES256\n");
    return false;
}

static cmx_err answer_evidence(struct cmx_http_request *r, struct cmx_evidence_job *j, const struct cmx_ranges *ranges,
                               cmx_evidence_form form)
{
    const char *accept = cmx_http_header_get(r, "Accept");
    bool json = accept && strstr(accept, "application/json");
    cmx_err err;

    if (self.facts)
        self.facts(&j->e);
    memcpy(j->e.boot_seed, self.boot_seed, sizeof j->e.boot_seed);
    err = cmx_attest_evidence(j, ranges, form, json);
    if (err)
        return reply_failure(r, err);
    return cmx_http_reply(r, 200, json ? "application/json" : CMX_EVIDENCE_TYPE, j->out, j->len, no_store, 1);
}

static cmx_err begin_evidence(struct cmx_http_request *r, void *ctx, void **state)
{
    uint8_t nonce[CMX_NONCE_MAX];
    struct cmx_ranges ranges;
    struct cmx_evidence_job *j;
    cmx_evidence_form form;
    size_t len;
    cmx_err err;

    (void)ctx;
    (void)state;
    if (cmx_origin_refused(r, &err) || !take_nonce(r, nonce, &len, &err) || !take_form(r, &form, &err))
        return err;
    ranges.n = 0;
    if (cmx_port_flash_size() > 0 && !take_ranges(r, &ranges, &err)) /* without flash, evidence has no measurements */
        return err;
    if (!enter(r, "evidence", &err))
        return err;
    j = cmx_mem_alloc(sizeof *j);
    if (j) {
        memcpy(j->e.nonce, nonce, len);
        j->e.nonce_len = len;
        err = answer_evidence(r, j, &ranges, form);
        cmx_mem_free_secret(j);
    } else {
        err = reply_failure(r, CMX_ENOMEM);
    }
    leave();
    return err;
}

static const struct cmx_http_route routes[] = {
    {.method = "GET", .path = "/hash", .begin = begin_hash},
    {.method = "GET", .path = "/evidence", .begin = begin_evidence},
};

static struct cmx_http_service service = {
    .name = "attest", .max_connections = CONNECTIONS, .routes = routes, .n_routes = sizeof routes / sizeof routes[0]};

cmx_err cmx_attest_start(const char *address, uint16_t port)
{
    cmx_err err;

    if (self.server)
        return CMX_EEXIST;
    err = cmx_crypto_random(self.boot_seed, sizeof self.boot_seed);
    if (err)
        return err;
    cmx_port_mutex_init(&self.turn);
    service.address = address;
    service.port = port;
    err = cmx_http_serve(&service, &self.server);
    if (err) {
        cmx_port_mutex_destroy(&self.turn);
        self.server = NULL;
    }
    return err;
}

uint16_t cmx_attest_port(void)
{
    return self.server ? service.port : 0;
}

void cmx_attest_stop(void)
{
    if (!self.server)
        return;
    cmx_http_stop(self.server);
    self.server = NULL;
    cmx_port_mutex_destroy(&self.turn);
}
