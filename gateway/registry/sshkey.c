#include "gateway/registry/sshkey.h"

#include <stdbool.h>
#include <string.h>

#include "cmxsafe/core/base64.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/port/crypto.h"
#include "port/linux/file_read.h"

#define GW_KEY_FILE_MAX ((size_t)64 * 1024)
#define COPY_WHOLE "; copy the whole key, as one line" /* a terminal may have broken the key into several lines */

static const char *const key_types[] = {
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
};

bool gw_key_is_token(const struct gw_key *k)
{
    return strncmp(k->type, "sk-", 3) == 0;
}

static bool known_type(const char *type, size_t len)
{
    for (size_t i = 0; i < sizeof key_types / sizeof key_types[0]; i++)
        if (strlen(key_types[i]) == len && strncmp(key_types[i], type, len) == 0)
            return true;
    return false;
}

cmx_err gw_key_get_string(struct cmx_buf *b, const uint8_t **out, size_t *len)
{
    uint32_t n = 0;
    cmx_err err = cmx_buf_get_be32(b, &n);

    *len = n;
    return err ? err : cmx_buf_get_ptr(b, out, n);
}

/* Checks the size of the modulus n. The fields are (RFC 4253 section 6.6): string type, mpint e, mpint n. */
static cmx_err check_rsa(struct cmx_buf *b, struct cmx_why *e)
{
    const uint8_t *p;
    size_t len;

    if (gw_key_get_string(b, &p, &len) || gw_key_get_string(b, &p, &len) || len == 0)
        return cmx_why_fail(e, CMX_EFORMAT, "the RSA key is cut short" COPY_WHOLE);
    if (p[0] == 0)
        p++, len--;
    if (len * 8 < GW_RSA_BITS_MIN)
        return cmx_why_fail(e, CMX_ENOTSUP,
                            "an RSA key of %zu bits is too short; make one with 'ssh-keygen -t ed25519'", len * 8);
    return CMX_OK;
}

/* sshd accepts only the type's own curve and an uncompressed point. The fields are (RFC 5656 section 3.1): string
 * curve, string point. */
static cmx_err check_ecdsa(struct cmx_buf *b, const char *type, struct cmx_why *e)
{
    static const struct {
        const char *name;
        size_t point_len;
    } curves[] = {{"nistp256", 65}, {"nistp384", 97}, {"nistp521", 133}};
    const uint8_t *p;
    size_t len;
    size_t i = 0;

    while (!strstr(type, curves[i].name))
        if (++i == sizeof curves / sizeof curves[0])
            return cmx_why_fail(e, CMX_EFORMAT, "the key's type %s names no curve", type);
    if (gw_key_get_string(b, &p, &len) || len != strlen(curves[i].name) || memcmp(p, curves[i].name, len) != 0)
        return cmx_why_fail(e, CMX_EFORMAT, "the ECDSA key's curve is not %s, which its type names", curves[i].name);
    if (gw_key_get_string(b, &p, &len) || len != curves[i].point_len || p[0] != 4)
        return cmx_why_fail(e, CMX_EFORMAT, "the ECDSA key has no uncompressed point of %zu bytes" COPY_WHOLE,
                            curves[i].point_len);
    return CMX_OK;
}

/* The type inside the blob must equal the type in the line before the blob. */
static cmx_err check_blob(struct gw_key *k, struct cmx_why *e)
{
    struct cmx_buf b;
    const uint8_t *p;
    size_t len;
    cmx_err err = CMX_OK;

    cmx_buf_init_view(&b, k->raw, k->raw_len);
    if (gw_key_get_string(&b, &p, &len) || len != strlen(k->type) || strncmp((const char *)p, k->type, len) != 0)
        return cmx_why_fail(e, CMX_EFORMAT, "the key's content does not match its type %s", k->type);
    if (strcmp(k->type, "ssh-rsa") == 0) {
        err = check_rsa(&b, e);
        if (err)
            return err;
    } else if (strstr(k->type, "ssh-ed25519")) {
        if (gw_key_get_string(&b, &p, &len) || len != 32)
            return cmx_why_fail(e, CMX_EFORMAT, "the ed25519 key has the wrong length" COPY_WHOLE);
    } else {
        err = check_ecdsa(&b, k->type, e);
        if (err)
            return err;
    }
    /* A token's key has a further field (OpenSSH's PROTOCOL.u2f): string application. Nothing may follow the fields. */
    if ((gw_key_is_token(k) && (gw_key_get_string(&b, &p, &len) || len == 0)) || cmx_buf_len(&b))
        return cmx_why_fail(e, CMX_EFORMAT, "the %s key has the wrong length" COPY_WHOLE, k->type);
    return CMX_OK;
}

static cmx_err set_fingerprint(struct gw_key *k, struct cmx_why *e)
{
    uint8_t digest[CMX_SHA256_LEN];

    if (cmx_sha256_of(k->raw, k->raw_len, digest))
        return cmx_why_fail(e, CMX_EIO, "hashing failed");
    cmx_base64_fingerprint(k->fingerprint, digest);
    return CMX_OK;
}

/* title: the first line of a file in PEM or RFC 4716 form, such as "-----BEGIN PUBLIC KEY-----". */
static cmx_err not_one_line(const char *title, struct cmx_why *e)
{
    size_t len = strcspn(title, "\r\n");

    if (memmem(title, len, "PUBLIC KEY", strlen("PUBLIC KEY")))
        return cmx_why_fail(e, CMX_ENOTSUP,
                            "this is not OpenSSH's one-line form; convert the file with 'ssh-keygen -i -m %s -f FILE'",
                            strncmp(title, "-----", 5) == 0 ? "PKCS8" : "RFC4716");
    return cmx_why_fail(
        e, CMX_EFORMAT,
        "this is a private key; give the public key (the .pub file), and keep the private one on the device");
}

/* type: the first word of a line that begins with no supported type. */
static cmx_err not_supported(const char *type, size_t len, struct cmx_why *e)
{
    const char *end = type + strcspn(type, "\r\n");
    const char *blob = memmem(type, (size_t)(end - type), " AAAA", strlen(" AAAA"));

    if (memmem(type, len, "-cert-v01@", strlen("-cert-v01@")))
        return cmx_why_fail(e, CMX_ENOTSUP,
                            "this is a certificate; give the public key that it was issued for (the .pub file)");
    if (blob > type + len)
        return cmx_why_fail(e, CMX_ENOTSUP,
                            "options or other text precede the key; remove them, because the registry decides what a "
                            "key may do");
    return cmx_why_fail(
        e, CMX_ENOTSUP,
        "no public key of a supported type; use an ed25519, ECDSA or RSA key in OpenSSH's one-line form");
}

/* The base64 part of a key begins with the high bytes of a length. They are 0, which is "AAAA" in base64. */
bool gw_key_is_line(const char *text)
{
    return strstr(text, " AAAA") || strncmp(text, "----", 4) == 0 || known_type(text, strcspn(text, " \t"));
}

cmx_err gw_key_parse(struct gw_key *k, const char *line, struct cmx_why *e)
{
    const char *blob;
    size_t type_len, blob_len;
    cmx_err err;

    memset(k, 0, sizeof *k);
    line += strspn(line, " \t");
    type_len = strcspn(line, " \t\r\n");
    blob = line + type_len + strspn(line + type_len, " \t");
    blob_len = strcspn(blob, " \t\r\n");
    if (strncmp(line, "----", 4) == 0)
        return not_one_line(line, e);
    if (!known_type(line, type_len))
        return not_supported(line, type_len, e);
    if (blob_len == 0 || blob_len >= sizeof k->blob)
        return cmx_why_fail(e, CMX_EFORMAT,
                            "the key's base64 part is %s; give the whole line of an ed25519, ECDSA or RSA key",
                            blob_len ? "too long" : "missing");
    memcpy(k->type, line, type_len);
    memcpy(k->blob, blob, blob_len);
    /* Refuse base64 without padding, so that each key has only one spelling: sshd compares keys as text. */
    err = blob_len % 4 ? CMX_EFORMAT : cmx_base64_decode(k->raw, sizeof k->raw, k->blob, blob_len, &k->raw_len);
    if (err)
        return cmx_why_fail(e, CMX_EFORMAT, "the key is not valid base64" COPY_WHOLE);
    err = check_blob(k, e);
    return err ? err : set_fingerprint(k, e);
}

/* True for a blank line or a comment. Both may precede the key in a file that was edited by hand or written by
 * ssh-keygen -i. */
static bool is_comment(const char *line)
{
    line += strspn(line, " \t");
    return *line == '\0' || *line == '\r' || *line == '\n' || *line == '#';
}

static const char *next_line(const char *line)
{
    line += strcspn(line, "\r\n");
    return line + (*line != '\0');
}

/* True if one of the lines is a key. Other lines may follow a key: 'cmxsafe identity public' prints three. */
static bool has_key(const char *line)
{
    for (; *line; line = next_line(line))
        if (known_type(line, strcspn(line, " \t\r\n")))
            return true;
    return false;
}

cmx_err gw_key_read(struct gw_key *k, const char *path, struct cmx_why *e)
{
    struct cmx_why why = {0};
    const char *line;
    char *text = NULL;
    size_t len = 0;
    cmx_err err = cmx_file_read_text(path, GW_KEY_FILE_MAX, &text, &len, &why);

    if (err)
        return cmx_why_fail(e, err, "can't read the key file %s (%s)", path, why.text);
    for (line = text; *line && is_comment(line);)
        line = next_line(line);
    if (!*line)
        err = cmx_why_fail(e, CMX_EFORMAT, "the key file %s holds no key", path);
    else
        err = gw_key_parse(k, line, e);
    if (!err && has_key(next_line(line)))
        err = cmx_why_fail(e, CMX_EFORMAT, "%s holds more than one key; give a file with one key", path);
    cmx_mem_free_secret(text);
    return err;
}
