/* sha256_loaded.c - the functions of crypto.h that cmxsafe-authkeys uses. sshd runs the program twice at each login.
 * Looking up an enrolled key needs no hash, and loading libcrypto would take longer than the look-up. So the program
 * loads libcrypto only when it first hashes, which only a certificate or an unknown key requires. */
#include <openssl/evp.h>
#include <sys/random.h>

#include "cmxsafe/core/secret.h"
#include "cmxsafe/port/crypto.h"
#include "port/linux/library.h"

#define FUNCTIONS(X)                                                                                                   \
    X(EVP_MD_CTX_new)                                                                                                  \
    X(EVP_MD_CTX_free)                                                                                                 \
    X(EVP_sha256)                                                                                                      \
    X(EVP_DigestInit_ex)                                                                                               \
    X(EVP_DigestUpdate)                                                                                                \
    X(EVP_DigestFinal_ex)

CMX_LIBRARY(library, lib, CRYPTO, FUNCTIONS);

cmx_err cmx_crypto_random(void *out, size_t len)
{
    if (getrandom(out, len, 0) == (ssize_t)len)
        return CMX_OK;
    cmx_secret_wipe(out, len);
    return CMX_EIO;
}

struct sha {
    EVP_MD_CTX *ctx;
};
_Static_assert(sizeof(struct sha) <= sizeof(struct cmx_sha256), "storage");

static struct sha *sha_of(struct cmx_sha256 *h)
{
    return (struct sha *)h->opaque;
}

cmx_err cmx_sha256_init(struct cmx_sha256 *h)
{
    struct sha *s = sha_of(h);
    cmx_err err = cmx_library_load(&library, "a hash", NULL);

    s->ctx = err ? NULL : lib.EVP_MD_CTX_new();
    if (!s->ctx)
        return err ? err : CMX_ENOMEM;
    if (lib.EVP_DigestInit_ex(s->ctx, lib.EVP_sha256(), NULL) == 1)
        return CMX_OK;
    cmx_sha256_abort(h);
    return CMX_EIO;
}

cmx_err cmx_sha256_update(struct cmx_sha256 *h, const void *data, size_t len)
{
    return lib.EVP_DigestUpdate(sha_of(h)->ctx, data, len) == 1 ? CMX_OK : CMX_EIO;
}

cmx_err cmx_sha256_finish(struct cmx_sha256 *h, uint8_t out[CMX_SHA256_LEN])
{
    int ok = lib.EVP_DigestFinal_ex(sha_of(h)->ctx, out, NULL);

    cmx_sha256_abort(h);
    return ok == 1 ? CMX_OK : CMX_EIO;
}

void cmx_sha256_abort(struct cmx_sha256 *h)
{
    if (sha_of(h)->ctx)
        lib.EVP_MD_CTX_free(sha_of(h)->ctx);
    sha_of(h)->ctx = NULL;
}
