/* Debian's OpenSSL 3.0 uses PKCS#11 tokens through an engine (libengine-pkcs11-openssl). A provider is tried first if
 * one is configured. The engine interface is deprecated but is the only one that Debian 12 ships. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "cli/signing_key.h"

#include <errno.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/engine.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/store.h>
#include <openssl/ui.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "cmxsafe/core/secret.h"
#include "cmxsafe/core/text.h"
#include "port/linux/cli.h"
#include "port/linux/file_read.h"

#define URI_MAX 1024 /* a PKCS#11 URI (RFC 7512) or a path, NUL included */
#define PIN_MAX 128

/* The PIN is removed from the URI, because a library may print the URI. The PIN is supplied when the library requests
 * it. */
struct place {
    char uri[URI_MAX];
    char pin[PIN_MAX]; /* "": ask on the terminal */
};

static cmx_err place_of(struct place *p, const char *where)
{
    const char *pin = strncasecmp(where, "pkcs11:", 7) == 0 ? strstr(where, "pin-value=") : NULL;
    size_t before, len, used;

    if (strlen(where) >= sizeof p->uri)
        return CMX_ENOSPC;
    memcpy(p->uri, where, strlen(where) + 1);
    p->pin[0] = '\0';
    if (!pin)
        return CMX_OK;
    before = (size_t)(pin - where);
    pin += strlen("pin-value=");
    len = strcspn(pin, "&;");
    if (cmx_text_url_decode(pin, len, 0, (uint8_t *)p->pin, sizeof p->pin - 1, &used) != CMX_OK)
        return CMX_EFORMAT;
    p->pin[used] = '\0';
    p->uri[before - 1] = '\0'; /* cuts the URI before the separator in front of pin-value */
    if (pin[len])
        snprintf(p->uri + before - 1, sizeof p->uri - before + 1, "%c%s", where[before - 1], pin + len + 1);
    return CMX_OK;
}

static int give_pin(UI *ui, UI_STRING *s)
{
    const struct place *p = UI_get0_user_data(ui);

    if (UI_get_string_type(s) == UIT_PROMPT && UI_set_result(ui, s, p->pin) != 0)
        return 0;
    return 1;
}

static UI_METHOD *asker(const struct place *p)
{
    UI_METHOD *method = UI_create_method("cmxsafe");

    if (method && p->pin[0])
        (void)UI_method_set_reader(method, give_pin);
    return method;
}

/* Returns the first private key. A file may have other blocks before it: `openssl ecparam -genkey` writes the curve
 * first. OSSL_STORE_expect would make such a block an error, so it is set for tokens only. After an error, such as a
 * wrong PIN, tries nothing more, because a token counts wrong PINs. */
static EVP_PKEY *from_store(struct place *p, const UI_METHOD *ask, bool token)
{
    OSSL_STORE_CTX *ctx = OSSL_STORE_open(p->uri, ask, p, NULL, NULL);
    EVP_PKEY *key = NULL;

    if (!ctx)
        return NULL;
    if (token)
        (void)OSSL_STORE_expect(ctx, OSSL_STORE_INFO_PKEY);
    while (!key && !OSSL_STORE_eof(ctx)) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(ctx);

        if (!info && OSSL_STORE_error(ctx))
            break;
        if (info && OSSL_STORE_INFO_get_type(info) == OSSL_STORE_INFO_PKEY)
            key = OSSL_STORE_INFO_get1_PKEY(info);
        OSSL_STORE_INFO_free(info);
    }
    OSSL_STORE_close(ctx);
    return key;
}

static EVP_PKEY *from_engine(struct place *p, UI_METHOD *ask)
{
    ENGINE *engine;
    EVP_PKEY *key = NULL;

    ENGINE_load_builtin_engines();
    engine = ENGINE_by_id("pkcs11");
    if (!engine)
        return NULL;
    if (ENGINE_init(engine)) {
        key = ENGINE_load_private_key(engine, p->uri, ask, p);
        ENGINE_finish(engine);
    }
    ENGINE_free(engine);
    return key;
}

static cmx_err refuse(const char *where, const char *why, const char *todo)
{
    cli_fail(where, why, todo);
    ERR_clear_error();
    return CMX_ENOKEY;
}

/* Reports why no key was read. Suggests making a key only if there is no file, because the command that makes one would
 * replace a key whose passphrase was wrong. */
static cmx_err refuse_file(const char *path)
{
    static const char make[] =
        "make one with: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out FILE";
    const bool is_uri = strchr(path, ':') != NULL;
    FILE *f = is_uri ? NULL : cmx_file_open(path);

    if (!is_uri && !f)
        return refuse(path, strerror(errno), errno == ENOENT ? make : NULL);
    if (f)
        fclose(f);
    return refuse(path, "no private key can be read from it",
                  "give a private key in PEM or DER, and its passphrase if it has one");
}

static EVP_PKEY *load(struct place *p, bool token)
{
    UI_METHOD *own = p->pin[0] ? asker(p) : NULL;
    UI_METHOD *ask = own ? own : (UI_METHOD *)(uintptr_t)UI_OpenSSL();
    EVP_PKEY *key = from_store(p, ask, token);

    if (!key && token)
        key = from_engine(p, ask);
    UI_destroy_method(own);
    return key;
}

cmx_err signing_key_open(struct signing_key **out, const char *where)
{
    bool token = strncasecmp(where, "pkcs11:", 7) == 0;
    struct place p;
    EVP_PKEY *key;
    char group[32] = "";

    if (place_of(&p, where) != CMX_OK)
        return refuse("the key", "its URI is too long or broken", NULL);
    key = load(&p, token);
    cmx_secret_wipe(p.pin, sizeof p.pin);
    if (!key && token)
        return refuse(p.uri, "no such key, a wrong PIN, or no PKCS#11 support in OpenSSL",
                      "install libengine-pkcs11-openssl or a PKCS#11 provider, and compare with p11tool --list-all");
    if (!key)
        return refuse_file(p.uri);
    if (EVP_PKEY_get_base_id(key) != EVP_PKEY_EC || EVP_PKEY_get_group_name(key, group, sizeof group, NULL) != 1 ||
        strcmp(group, "prime256v1") != 0) {
        EVP_PKEY_free(key);
        return refuse(p.uri, "it is not an ECDSA P-256 key", "other kinds are not accepted by devices");
    }
    *out = (struct signing_key *)key;
    return CMX_OK;
}

void signing_key_close(struct signing_key *key)
{
    EVP_PKEY_free((EVP_PKEY *)key);
}

cmx_err signing_key_public(struct signing_key *key, uint8_t pub[CMX_P256_PUBLIC_LEN])
{
    unsigned char *encoded = NULL;
    size_t n = EVP_PKEY_get1_encoded_public_key((EVP_PKEY *)key, &encoded);
    const EC_KEY *ec;

    if (n == CMX_P256_PUBLIC_LEN && encoded[0] == 0x04) {
        memcpy(pub, encoded, n);
        OPENSSL_free(encoded);
        return CMX_OK;
    }
    OPENSSL_free(encoded);
    /* For a key from an engine, only OpenSSL's older EC_KEY functions return the public key. */
    ERR_clear_error();
    ec = EVP_PKEY_get0_EC_KEY((EVP_PKEY *)key);
    if (!ec || EC_POINT_point2oct(EC_KEY_get0_group(ec), EC_KEY_get0_public_key(ec), POINT_CONVERSION_UNCOMPRESSED, pub,
                                  CMX_P256_PUBLIC_LEN, NULL) != CMX_P256_PUBLIC_LEN)
        return CMX_ENOKEY;
    return CMX_OK;
}

/* Converts SEQUENCE { r, s } to r || s. */
static cmx_err raw_signature(const uint8_t *der, size_t len, uint8_t sig[CMX_P256_SIG_LEN])
{
    ECDSA_SIG *s = d2i_ECDSA_SIG(NULL, &der, (long)len);
    bool ok;

    if (!s)
        return CMX_EINTERNAL;
    ok = BN_bn2binpad(ECDSA_SIG_get0_r(s), sig, 32) == 32 && BN_bn2binpad(ECDSA_SIG_get0_s(s), sig + 32, 32) == 32;
    ECDSA_SIG_free(s);
    return ok ? CMX_OK : CMX_EINTERNAL;
}

cmx_err signing_key_sign(struct signing_key *key, const void *message, size_t len, uint8_t sig[CMX_P256_SIG_LEN])
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    uint8_t der[128];
    size_t der_len = sizeof der;
    bool ok = ctx && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, (EVP_PKEY *)key) == 1 &&
              EVP_DigestSign(ctx, der, &der_len, message, len) == 1;

    EVP_MD_CTX_free(ctx);
    return ok ? raw_signature(der, der_len, sig) : CMX_EIO;
}

cmx_err signing_key_print_pem(struct signing_key *key)
{
    return PEM_write_PUBKEY(stdout, (EVP_PKEY *)key) == 1 ? CMX_OK : CMX_EIO;
}
