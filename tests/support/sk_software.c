/* A FIDO2 token in software, for tests: a middleware library that ssh loads with SecurityKeyProvider. OpenSSH's
 * PROTOCOL.u2f and sk-api.h define the interface. Ed25519 only; the key handle is the private key. */
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define API_VERSION 0x000a0000 /* OpenSSH 8.9 and later */
#define ALGORITHM_ED25519 1
#define UNSUPPORTED (-2)
#define FAILED (-1)
#define SEED_LEN 32
#define SIGNATURE_LEN 64

struct sk_option;

struct sk_enroll_response {
    uint8_t flags;
    uint8_t *public_key;
    size_t public_key_len;
    uint8_t *key_handle;
    size_t key_handle_len;
    uint8_t *signature;
    size_t signature_len;
    uint8_t *attestation_cert;
    size_t attestation_cert_len;
    uint8_t *authdata;
    size_t authdata_len;
};

struct sk_sign_response {
    uint8_t flags;
    uint32_t counter;
    uint8_t *sig_r;
    size_t sig_r_len;
    uint8_t *sig_s;
    size_t sig_s_len;
};

uint32_t sk_api_version(void);
int sk_enroll(uint32_t alg, const uint8_t *challenge, size_t challenge_len, const char *application, uint8_t flags,
              const char *pin, struct sk_option **options, struct sk_enroll_response **out);
int sk_sign(uint32_t alg, const uint8_t *data, size_t data_len, const char *application, const uint8_t *key_handle,
            size_t key_handle_len, uint8_t flags, const char *pin, struct sk_option **options,
            struct sk_sign_response **out);
int sk_load_resident_keys(const char *pin, struct sk_option **options, void ***out, size_t *n);

uint32_t sk_api_version(void)
{
    return API_VERSION;
}

int sk_enroll(uint32_t alg, const uint8_t *challenge, size_t challenge_len, const char *application, uint8_t flags,
              const char *pin, struct sk_option **options, struct sk_enroll_response **out)
{
    struct sk_enroll_response *r = calloc(1, sizeof *r);
    EVP_PKEY *key = NULL;

    (void)challenge, (void)challenge_len, (void)application, (void)pin, (void)options;
    if (alg != ALGORITHM_ED25519 || !r) {
        free(r);
        return UNSUPPORTED;
    }
    r->flags = flags;
    r->key_handle_len = SEED_LEN;
    r->key_handle = malloc(SEED_LEN);
    r->public_key_len = SEED_LEN;
    r->public_key = malloc(SEED_LEN);
    r->signature_len = 1; /* no test checks the manufacturer's signature */
    r->signature = calloc(1, 1);
    if (r->key_handle && RAND_bytes(r->key_handle, SEED_LEN) == 1)
        key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, r->key_handle, SEED_LEN);
    if (!key || !r->public_key || EVP_PKEY_get_raw_public_key(key, r->public_key, &r->public_key_len) != 1)
        return FAILED;
    EVP_PKEY_free(key);
    *out = r;
    return 0;
}

/* Writes the message that the token signs: SHA-256(application), flags, counter, SHA-256(data). */
static void make_message(uint8_t out[69], const char *application, uint8_t flags, const uint8_t *data, size_t len)
{
    SHA256((const uint8_t *)application, strlen(application), out);
    out[32] = flags;
    memcpy(out + 33, "\0\0\0\1", 4);
    SHA256(data, len, out + 37);
}

int sk_sign(uint32_t alg, const uint8_t *data, size_t data_len, const char *application, const uint8_t *key_handle,
            size_t key_handle_len, uint8_t flags, const char *pin, struct sk_option **options,
            struct sk_sign_response **out)
{
    struct sk_sign_response *r = calloc(1, sizeof *r);
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, key_handle, key_handle_len);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    uint8_t message[69];

    (void)pin, (void)options;
    if (alg != ALGORITHM_ED25519 || !r || !key || !context)
        return FAILED;
    make_message(message, application, flags, data, data_len);
    r->flags = flags;
    r->counter = 1;
    r->sig_r_len = SIGNATURE_LEN;
    r->sig_r = malloc(SIGNATURE_LEN);
    if (!r->sig_r || EVP_DigestSignInit(context, NULL, NULL, NULL, key) != 1 ||
        EVP_DigestSign(context, r->sig_r, &r->sig_r_len, message, sizeof message) != 1)
        return FAILED;
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
    *out = r;
    return 0;
}

int sk_load_resident_keys(const char *pin, struct sk_option **options, void ***out, size_t *n)
{
    (void)pin, (void)options, (void)out, (void)n;
    return UNSUPPORTED;
}
