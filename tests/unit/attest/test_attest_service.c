/* The attestation service over real HTTP. This file defines the flash contents and the hardware key. */
#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/device/attest_service.h"
#include "cmxsafe/identity/identity.h"
#include "port/linux/hw_key.h"
#include "port/linux/linux_port.h"
#include "remoteAttest.h"

#define FLASH_SIZE 0x20000u

static uint8_t flash[FLASH_SIZE];
static struct cmx_hw_key *key;
static uint16_t port;
static atomic_uint fed;        /* number of calls of the watchdog's feed function */
static atomic_bool hold, held; /* while `hold` is set, a computation sets `held` and waits */
static cmx_err flash_error;

static uint32_t flash_size(void *arg)
{
    (void)arg;
    return FLASH_SIZE;
}

static cmx_err flash_read(void *arg, uint32_t offset, void *out, size_t len)
{
    (void)arg;
    if (flash_error)
        return flash_error;
    while (atomic_load(&hold)) {
        atomic_store(&held, true);
        usleep(1000);
    }
    assert_true(offset + len <= FLASH_SIZE);
    memcpy(out, flash + offset, len);
    return CMX_OK;
}

static cmx_key_kind key_kind(void *arg)
{
    (void)arg;
    return cmx_hw_key_kind(key);
}

static cmx_err hw_hmac(void *arg, const void *msg, size_t len, uint8_t out[32])
{
    (void)arg;
    return cmx_hw_key_hmac(key, msg, len, out);
}

static void feed(void *arg, uint32_t rest_ms)
{
    (void)arg;
    (void)rest_ms;
    atomic_fetch_add(&fed, 1);
}

static void facts(struct cmx_evidence *e)
{
    strcpy(e->sw_name, "unit");
    strcpy(e->sw_version, "0.9");
    e->isolation = true;
}

static uint16_t free_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    close(fd);
    return ntohs(a.sin_port);
}

static int setup(void **state)
{
    static const struct cmx_linux_device device = {.flash_size = flash_size,
                                                   .flash_read = flash_read,
                                                   .hw_key_kind = key_kind,
                                                   .hw_hmac = hw_hmac,
                                                   .watchdog_feed = feed};
    uint8_t raw[32];

    (void)state;
    for (size_t i = 0; i < sizeof flash; i++)
        flash[i] = (uint8_t)(i * 7 + (i >> 8));
    for (size_t i = 0; i < sizeof raw; i++)
        raw[i] = (uint8_t)i;
    if (cmx_hw_key_create_raw(CMX_KEY_EFUSE, raw, &key))
        return -1;
    cmx_linux_set_device(&device);
    cmx_attest_set_facts(facts);
    port = free_port();
    return cmx_attest_start(NULL, port) ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    cmx_attest_stop();
    cmx_attest_stop();
    cmx_hw_key_close(key);
    return 0;
}

static int dial(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a) != 0)
        return -1;
    return fd;
}

struct answer {
    int status;
    size_t len; /* bytes of the body */
    char *body;
    char mem[16384];
};

/* Sends one request with "Connection: close". Returns false if no answer came. target may contain any byte that HTTP
 * allows. */
static bool ask(struct answer *a, const char *target, const char *headers)
{
    static const char tail[] = " HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n";
    char request[8192];
    int n = snprintf(request, sizeof request, "GET %s%s%s\r\n", target, tail, headers);
    int fd = dial();
    size_t got = 0;
    ssize_t r;

    memset(a, 0, sizeof *a);
    if (fd < 0)
        return false;
    if (write(fd, request, (size_t)n) != n) {
        close(fd);
        return false;
    }
    while (got < sizeof a->mem - 1 && (r = read(fd, a->mem + got, sizeof a->mem - 1 - got)) > 0)
        got += (size_t)r;
    close(fd);
    a->body = strstr(a->mem, "\r\n\r\n");
    if (!a->body || sscanf(a->mem, "HTTP/1.1 %d", &a->status) != 1)
        return false;
    a->body += 4;
    a->len = got - (size_t)(a->body - a->mem);
    return true;
}

static void expect(const char *target, int status, const char *word)
{
    struct answer a;

    assert_true(ask(&a, target, ""));
    if (a.status != status || !strstr(a.body, word))
        fail_msg("%.60s: %d %s", target, a.status, a.body);
}

static void reference(uint32_t begin, uint32_t end, const char *challenge, char hex[65])
{
    uint8_t h[32] = {0}, msg[32 + 4096 + 512];

    for (uint32_t at = begin; at < end; at += 4096) {
        size_t n = end - at < 4096 ? end - at : 4096;

        memcpy(msg, h, 32);
        memcpy(msg + 32, flash + at, n);
        memcpy(msg + 32 + n, challenge, strlen(challenge));
        assert_int_equal(cmx_hw_key_hmac(key, msg, 32 + n + strlen(challenge), h), CMX_OK);
    }
    cmx_text_hex_encode(hex, h, 32);
}

static void test_hash(void **state)
{
    struct answer a;
    char want[65];

    (void)state;
    reference(0x10000, FLASH_SIZE, "string_to_use_as_challenge", want);
    atomic_store(&fed, 0);
    assert_true(ask(&a, "/hash?challenge=string_to_use_as_challenge", ""));
    assert_int_equal(a.status, 200);
    assert_string_equal(a.body, want); /* no newline, as in CMXsafe-ESP32 */
    assert_non_null(strstr(a.mem, "Content-Type: text/plain"));
    assert_int_equal(atomic_load(&fed), (FLASH_SIZE - 0x10000) / 4096);
    reference(0x10000, FLASH_SIZE, "a b+c/\xff\x01", want);
    expect("/hash?challenge=a+b%2Bc/%ff%01", 200, want);
    expect("/hash?x=1&challenge=a%20b%2bc/%FF%01&y=2", 200, want);
    reference(0x8000, 0xa000, "c", want);
    expect("/hash?challenge=c&ranges=0x8000-0xa000", 200, want);
    expect("/hash?challenge=c&ranges=32768%2D40960", 200, want);
}

/* A caller of /hash must not be able to read flash, which includes passwords. If a chunk could have any length, the
 * caller could guess the byte at 0x9005 in two ways, and equal answers would confirm the guess: the caller takes the
 * byte out of the range and puts the guess before the challenge, or requests a byte of the published firmware instead.
 */
static void test_hash_tells_no_content(void **state)
{
    struct answer secret, guess;
    char target[80];
    bool same;

    (void)state;
    assert_true(ask(&secret, "/hash?challenge=c&ranges=0x9000-0x9006", ""));
    snprintf(target, sizeof target, "/hash?challenge=%%%02xc&ranges=0x9000-0x9005", flash[0x9005]);
    assert_true(ask(&guess, target, ""));
    same = secret.status == 200 && strcmp(secret.body, guess.body) == 0;
    assert_false(same);
    flash[0x11000] = flash[0x9005];
    assert_true(ask(&secret, "/hash?challenge=c&ranges=0x9005-0x9006", ""));
    assert_true(ask(&guess, "/hash?challenge=c&ranges=0x11000-0x11001", ""));
    same = secret.status == 200 && strcmp(secret.body, guess.body) == 0;
    assert_false(same);
    expect("/hash?challenge=c&ranges=0-0x1000,0x9005-0xa000", 400, "not multiples of 4096");
    expect("/hash?challenge=c&ranges=0x9000-0x9fff", 400, "not multiples of 4096");
}

static void test_bad_requests(void **state)
{
    char target[8000] = "/hash?challenge=";
    size_t at = strlen(target);

    (void)state;
    expect("/hash", 400, "Missing 'challenge'");
    expect("/hash?", 400, "Missing 'challenge'");
    expect("/hash?Challenge=x", 400, "Missing 'challenge'");
    expect("/hash?challenge", 400, "Missing 'challenge'");
    expect("/hash?challenge=", 400, "1 to 512 bytes");
    expect("/hash?challenge=a&challenge=a", 400, "given once");
    expect("/hash?challenge=%", 400, "broken");
    expect("/hash?challenge=%0g", 400, "broken");
    memset(target + at, 'x', 512);
    expect(target, 200, "");
    target[at + 512] = 'x';
    expect(target, 400, "1 to 512 bytes");
    for (size_t i = 0; i < 512; i++)
        memcpy(target + at + 3 * i, "%00", 4);
    expect(target, 200, "");
    memset(target + at, 'x', sizeof target - at - 1);
    target[sizeof target - 1] = 0;
    expect(target, 414, "");
    expect("/hash?challenge=c&ranges=", 400, "ranges");
    expect("/hash?challenge=c&ranges=0-0x20001", 400, "beyond the flash");
    expect("/hash?challenge=c&ranges=5-4", 400, "reversed");
    expect("/hash?challenge=c&ranges=0-5,4-6", 400, "overlap");
    expect("/hash?challenge=c&ranges=0-5,,6-7", 400, "not BEGIN-END");
    expect("/hash?challenge=c&ranges=0-5&ranges=6-7", 400, "given once");
    expect("/nothing", 404, "");
    expect("/evidence", 400, "Missing 'nonce'");
    expect("/evidence?nonce=00112233445566", 400, "16 to 128 hex digits");
    expect("/evidence?nonce=0011223344556677f", 400, "'nonce' must be even-length hex");
    expect("/evidence?nonce=001122334455667g", 400, "'nonce' must be even-length hex");
}

/* Browsers report to the server whether another site's page makes a request (Sec-Fetch-Site, Origin). Such a request is
 * refused and starts no computation. */
static void test_foreign_pages(void **state)
{
    static const char *const foreign[] = {"Sec-Fetch-Site: cross-site\r\n", "Sec-Fetch-Site: same-site\r\n",
                                          "Origin: http://evil.example\r\n", "Origin: null\r\n"};
    struct answer a;

    (void)state;
    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++) {
        atomic_store(&fed, 0);
        assert_true(ask(&a, "/hash?challenge=c", foreign[i]));
        assert_int_equal(a.status, 403);
        assert_true(ask(&a, "/evidence?nonce=0011223344556677", foreign[i]));
        assert_int_equal(a.status, 403);
        assert_int_equal(atomic_load(&fed), 0);
    }
    assert_true(ask(&a, "/hash?challenge=c", "Sec-Fetch-Site: none\r\n")); /* the user typed the address */
    assert_int_equal(a.status, 200);
}

static void test_evidence(void **state)
{
    static const char *const wrong[] = {"alg=", "alg=ES384", "alg=es256", "alg=ES256&alg=HS256"};
    uint8_t pub[CMX_P256_PUBLIC_LEN];
    struct cmx_evidence e;
    struct answer a;
    uint8_t mac_key[32], seed[32];

    (void)state;
    assert_int_equal(cmx_identity_evidence_key(cmx_identity_hw_hmac, NULL, mac_key), CMX_OK);
    assert_true(ask(&a, "/evidence?nonce=0011223344556677", ""));
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.mem, "Content-Type: application/eat+cwt"));
    assert_int_equal(cmx_evidence_verify(a.body, a.len, mac_key, &e), CMX_OK);
    assert_int_equal(e.nonce_len, 8);
    assert_int_equal(e.nonce[7], 0x77);
    assert_string_equal(e.sw_version, "0.9");
    assert_true(e.isolation);
    assert_false(e.secure_boot);
    assert_int_equal(e.key, CMX_HELD_EFUSE);
    assert_int_equal(e.flash_size, FLASH_SIZE);
    assert_int_equal(e.n_measurements, 1);
    memcpy(seed, e.boot_seed, 32);
    assert_true(ask(&a, "/evidence?nonce=0011223344556677&alg=HS256", ""));
    assert_int_equal(cmx_evidence_verify(a.body, a.len, mac_key, &e), CMX_OK);
    assert_true(ask(&a, "/evidence?nonce=0011223344556677&alg=ES256", ""));
    assert_int_equal(cmx_identity_attest_key(cmx_identity_hw_hmac, NULL, mac_key, pub), CMX_OK);
    assert_int_equal(cmx_evidence_verify_signed(a.body, a.len, pub, &e), CMX_OK);
    assert_int_equal(e.n_measurements, 1);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char target[96];

        snprintf(target, sizeof target, "/evidence?nonce=0011223344556677&%s", wrong[i]);
        assert_true(ask(&a, target, ""));
        assert_int_equal(a.status, 400);
    }
    assert_int_equal(cmx_identity_evidence_key(cmx_identity_hw_hmac, NULL, mac_key), CMX_OK);
    assert_true(ask(&a, "/evidence?nonce=0011223344556677&ranges=0x8000-0x9000,0-0x8000", ""));
    assert_int_equal(cmx_evidence_verify(a.body, a.len, mac_key, &e), CMX_OK);
    assert_int_equal(e.n_measurements, 2);
    assert_int_equal(e.measurements[0].range.begin, 0x8000);
    assert_memory_equal(seed, e.boot_seed, 32); /* the boot has not changed */
    assert_true(ask(&a, "/evidence?nonce=0011223344556677", "Accept: application/json\r\n"));
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.mem, "Content-Type: application/json"));
    assert_non_null(strstr(a.body, "\"swname\":\"unit\""));
    assert_non_null(strstr(a.body, "\"token\":\"2D3R"));
}

/* Computes the digest of a chunk of flash whose content an attacker without the key has guessed: hashes all inputs
 * except the key. */
static void guess(const uint8_t nonce[8], uint32_t at, uint8_t out[32])
{
    static const char domain[] = "cmxsafe measurement 2"; /* the label of an earlier digest, which used no key */
    const uint8_t head[] = {8,
                            nonce[0],
                            nonce[1],
                            nonce[2],
                            nonce[3],
                            nonce[4],
                            nonce[5],
                            nonce[6],
                            nonce[7],
                            (uint8_t)(at >> 24),
                            (uint8_t)(at >> 16),
                            (uint8_t)(at >> 8),
                            (uint8_t)at,
                            (uint8_t)((at + 4096) >> 24),
                            (uint8_t)((at + 4096) >> 16),
                            (uint8_t)((at + 4096) >> 8),
                            (uint8_t)(at + 4096)};
    struct cmx_sha256 h;

    assert_int_equal(cmx_sha256_init(&h), CMX_OK);
    assert_int_equal(cmx_sha256_update(&h, domain, sizeof domain), CMX_OK);
    assert_int_equal(cmx_sha256_update(&h, head, sizeof head), CMX_OK);
    assert_int_equal(cmx_measure_chunk(&h, flash + at, 4096), CMX_OK);
    assert_int_equal(cmx_sha256_finish(&h, out), CMX_OK);
}

/* A caller of /evidence must not be able to learn the contents of flash, which include passwords: neither without a key
 * from a digest, nor with the appraisal key from ranges of one byte. */
static void test_evidence_tells_no_content(void **state)
{
    static const uint8_t nonce[8] = {0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77};
    uint8_t mac_key[32], digest[32];
    struct cmx_evidence e;
    struct answer a;

    (void)state;
    assert_int_equal(cmx_identity_evidence_key(cmx_identity_hw_hmac, NULL, mac_key), CMX_OK);
    expect("/evidence?nonce=0011223344556677&alg=ES256&ranges=0x9000-0x9001", 400, "not multiples of 4096");
    expect("/evidence?nonce=0011223344556677&ranges=0-0x1000,0x9001-0xa000", 400, "not multiples of 4096");
    assert_true(ask(&a, "/evidence?nonce=0011223344556677&ranges=0x9000-0xa000", ""));
    assert_int_equal(cmx_evidence_verify(a.body, a.len, mac_key, &e), CMX_OK);
    guess(nonce, 0x9000, digest);
    assert_memory_not_equal(digest, e.measurements[0].digest, 32);
}

/* Sixteen ranges make the largest answer. */
static void test_largest_json(void **state)
{
    char target[1024] = "/evidence?nonce=0011223344556677&ranges=";
    struct answer a;

    (void)state;
    for (unsigned i = 0; i < 16; i++)
        snprintf(target + strlen(target), sizeof target - strlen(target), "%s0x%05x-0x%05x", i ? "," : "",
                 0x10000 + i * 0x1000, 0x11000 + i * 0x1000);
    assert_true(ask(&a, target, "Accept: application/json\r\n"));
    assert_int_equal(a.status, 200);
    assert_int_equal(a.body[a.len - 1], '}');
}

static void *ask_hash(void *arg)
{
    static _Thread_local struct answer a;
    atomic_uint *count = arg; /* counts of answers: 200, 503, others */

    if (ask(&a, "/hash?challenge=c", "") && a.status == 200)
        atomic_fetch_add(&count[0], 1);
    else if (a.status == 503 && strstr(a.mem, "Retry-After: 5"))
        atomic_fetch_add(&count[1], 1);
    else
        atomic_fetch_add(&count[2], 1);
    return NULL;
}

static void wait_for(atomic_uint *what, unsigned value)
{
    for (int i = 0; i < 10000 && atomic_load(what) < value; i++)
        usleep(1000);
    assert_true(atomic_load(what) >= value);
}

/* While one request is computed, two wait and the others get 503. Then the three accepted requests are answered. */
static void test_short_queue(void **state)
{
    pthread_t threads[8];
    atomic_uint count[3] = {0, 0, 0};

    (void)state;
    atomic_store(&held, false);
    atomic_store(&hold, true);
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_hash, count), 0);
    wait_for(&count[1], 5);
    for (int i = 0; i < 10000 && !atomic_load(&held); i++) /* refusals may arrive before the first read of flash */
        usleep(1000);
    assert_true(atomic_load(&held));
    assert_int_equal(atomic_load(&count[0]), 0);
    atomic_store(&hold, false);
    for (size_t i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&count[0]), 3);
    assert_int_equal(atomic_load(&count[1]), 5);
    expect("/hash?challenge=c", 200, "");
}

static void test_a_thousand_requests(void **state)
{
    pthread_t threads[100];
    atomic_uint count[3] = {0, 0, 0};

    (void)state;
    for (int round = 0; round < 10; round++) {
        for (size_t i = 0; i < 100; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, ask_hash, count), 0);
        for (size_t i = 0; i < 100; i++)
            pthread_join(threads[i], NULL);
    }
    /* Each request is answered, refused with 503, or closed: a full server drops the connection that is slowest to send
     * its request. */
    assert_int_equal(atomic_load(&count[0]) + atomic_load(&count[1]) + atomic_load(&count[2]), 1000);
    assert_true(atomic_load(&count[0]) >= 10);
    expect("/hash?challenge=c", 200, "");
}

/* A client that sends half a request, or disconnects while its answer is computed, does not delay other clients. */
static void test_slow_and_vanishing_clients(void **state)
{
    static const char request[] = "GET /hash?challenge=c HTTP/1.1\r\nHost: x\r\n\r\n";
    int slow = dial(), gone = dial();

    (void)state;
    assert_int_equal(write(slow, "GET /hash?chall", 15), 15);
    assert_int_equal(write(gone, request, sizeof request - 1), (ssize_t)sizeof request - 1);
    close(gone);
    expect("/hash?challenge=c", 200, "");
    close(slow);
    expect("/hash?challenge=c", 200, "");
}

static void test_failures(void **state)
{
    struct cmx_hw_key *kept = key;

    (void)state;
    flash_error = CMX_EIO;
    expect("/hash?challenge=c", 500, "storage or hardware failed");
    expect("/evidence?nonce=0011223344556677", 500, "storage or hardware failed");
    flash_error = CMX_OK;
    key = NULL;
    expect("/hash?challenge=c", 500, "burn_key BLOCK_KEY3 private_key.bin HMAC_UP");
    expect("/evidence?nonce=0011223344556677", 500, "burn_key");
    key = kept;
    expect("/hash?challenge=c", 200, "");
    assert_int_equal(cmx_attest_start(NULL, port), CMX_EEXIST);
}

static void test_memory(void **state)
{
    struct cmx_mem_stats before, after;

    (void)state;
    expect("/hash?challenge=c", 200, "");
    cmx_mem_stats(&before);
    cmx_mem_reset_peak();
    expect("/hash?challenge=c", 200, "");
    expect("/evidence?nonce=0011223344556677", 200, "");
    cmx_mem_stats(&after);
    assert_true(after.peak_bytes - before.live_bytes <= 8 * 1024);
    for (size_t n = 1; n <= 4; n++) { /* no failed allocation causes a leak */
        struct answer a;

        cmx_mem_fail_at(n);
        if (ask(&a, "/hash?challenge=c", ""))
            assert_true(a.status == 503 || a.status == 500 || a.status == 200);
        cmx_mem_fail_at(n);
        if (ask(&a, "/evidence?nonce=0011223344556677", ""))
            assert_true(a.status == 503 || a.status == 500 || a.status == 200);
        cmx_mem_fail_at(0);
    }
    expect("/hash?challenge=c", 200, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hash),
        cmocka_unit_test(test_hash_tells_no_content),
        cmocka_unit_test(test_bad_requests),
        cmocka_unit_test(test_foreign_pages),
        cmocka_unit_test(test_evidence),
        cmocka_unit_test(test_evidence_tells_no_content),
        cmocka_unit_test(test_largest_json),
        cmocka_unit_test(test_short_queue),
        cmocka_unit_test(test_a_thousand_requests),
        cmocka_unit_test(test_slow_and_vanishing_clients),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_memory),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
