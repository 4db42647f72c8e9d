#include "cmxsafe/proxy/pin.h"

#include <string.h>

#include "cmxsafe/core/base64.h"
#include "cmxsafe/core/secret.h"
#include "cmxsafe/port/crypto.h"

static const char prefix[] = "SHA256:";
static const char revoked[] = "@revoked";

struct type_name {
    const char *name;
    cmx_hostkey_type type;
};

static const struct type_name type_names[] = {
    {"ssh-ed25519", CMX_HOSTKEY_ED25519},
    {"ecdsa-sha2-nistp256", CMX_HOSTKEY_ECDSA},
    {"ecdsa-sha2-nistp384", CMX_HOSTKEY_ECDSA},
    {"ecdsa-sha2-nistp521", CMX_HOSTKEY_ECDSA},
    {"ssh-rsa", CMX_HOSTKEY_RSA},
};

cmx_hostkey_type cmx_pin_type_of(const char *name, size_t len)
{
    for (size_t i = 0; i < sizeof type_names / sizeof type_names[0]; i++)
        if (strlen(type_names[i].name) == len && memcmp(type_names[i].name, name, len) == 0)
            return type_names[i].type;
    return CMX_HOSTKEY_TYPES;
}

static cmx_err parse_fingerprint(struct cmx_pin *pin, const char *text)
{
    size_t n = 0;
    cmx_err err = cmx_base64_decode(pin->digest, sizeof pin->digest, text, strcspn(text, " \t\r\n"), &n);

    if (err || n != sizeof pin->digest)
        return CMX_EFORMAT;
    pin->types = CMX_HOSTKEY_ANY;
    return CMX_OK;
}

/* Returns the length of the next word at *p, 0 at the end, and moves *p past the word. */
static size_t next_word(const char **p, const char **word)
{
    size_t n;

    *p += strspn(*p, " \t");
    *word = *p;
    n = strcspn(*p, " \t\r\n");
    *p += n;
    return n;
}

/* A key blob begins with the name of its type (RFC 4253 section 6.6). The name in the blob must equal the type in the
 * line. */
static bool blob_is(const uint8_t *blob, size_t len, const char *type, size_t type_len)
{
    return len > 4 + type_len && blob[0] == 0 && blob[1] == 0 && blob[2] == 0 && blob[3] == type_len &&
           memcmp(blob + 4, type, type_len) == 0;
}

static cmx_err parse_key(struct cmx_pin *pin, const char *type, size_t type_len, const char *text, size_t len)
{
    cmx_hostkey_type t = cmx_pin_type_of(type, type_len);
    uint8_t blob[CMX_PIN_BLOB_MAX];
    size_t blob_len = 0;
    cmx_err err;

    if (t == CMX_HOSTKEY_TYPES)
        return CMX_ENOTSUP;
    err = cmx_base64_decode(blob, sizeof blob, text, len, &blob_len);
    if (err || !blob_is(blob, blob_len, type, type_len))
        return CMX_EFORMAT;
    err = cmx_sha256_of(blob, blob_len, pin->digest);
    if (!err)
        pin->types = 1u << t;
    return err;
}

cmx_err cmx_pin_parse(struct cmx_pin *pin, const char *text)
{
    const char *word, *type;
    size_t n, type_len;

    pin->revoked = false;
    n = next_word(&text, &word);
    if (n == sizeof revoked - 1 && memcmp(word, revoked, n) == 0) {
        pin->revoked = true;
        n = next_word(&text, &word);
    }
    if (n > sizeof prefix && memcmp(word, prefix, sizeof prefix - 1) == 0)
        return parse_fingerprint(pin, word + sizeof prefix - 1);
    if (n > 0 && word[0] == '@') /* another marker, such as @cert-authority, pins no host key */
        return CMX_EFORMAT;
    type = word;
    type_len = n;
    if (cmx_pin_type_of(word, n) == CMX_HOSTKEY_TYPES)
        type_len = next_word(&text, &type); /* the first word was the host names */
    n = next_word(&text, &word);
    if (type_len == 0 || n == 0)
        return CMX_EFORMAT;
    return parse_key(pin, type, type_len, word, n);
}

cmx_pin_verdict cmx_pin_check(const struct cmx_pin *pins, size_t n, const uint8_t digest[CMX_SHA256_LEN])
{
    cmx_pin_verdict verdict = CMX_PIN_UNKNOWN;

    for (size_t i = 0; i < n; i++) {
        if (!cmx_secret_equal(pins[i].digest, digest, CMX_SHA256_LEN))
            continue;
        if (pins[i].revoked)
            return CMX_PIN_REVOKED;
        verdict = CMX_PIN_ACCEPTED;
    }
    return verdict;
}

unsigned cmx_pin_types(const struct cmx_pin *pins, size_t n)
{
    unsigned types = 0;

    for (size_t i = 0; i < n; i++)
        if (!pins[i].revoked)
            types |= pins[i].types;
    return types;
}
