/* tpm_hmac.c - a TPM 2.0's HMAC key as the hardware key, through tpm2-tss's Enhanced System API. The key was made or
 * imported as a persistent keyed-hash object (docs/ATTESTATION.md); its bytes never leave the TPM. */
#include <stdio.h>
#include <string.h>
#include <tss2/tss2_esys.h>
#include <tss2/tss2_rc.h>
#include <tss2/tss2_tctildr.h>

#include "cmxsafe/core/log.h"
#include "cmxsafe/core/mem.h"
#include "hw_key.h"
#include "library.h"

#define PIECE 1024 /* TPM2_MAX_DIGEST_BUFFER: more goes as a sequence */

#define ESYS_FUNCTIONS(X)                                                                                              \
    X(Esys_Finalize)                                                                                                   \
    X(Esys_FlushContext)                                                                                               \
    X(Esys_Free)                                                                                                       \
    X(Esys_HMAC_Start)                                                                                                 \
    X(Esys_Initialize)                                                                                                 \
    X(Esys_ReadPublic)                                                                                                 \
    X(Esys_SequenceComplete)                                                                                           \
    X(Esys_SequenceUpdate)                                                                                             \
    X(Esys_TR_FromTPMPublic)
#define TCTI_FUNCTIONS(X)                                                                                              \
    X(Tss2_TctiLdr_Finalize)                                                                                           \
    X(Tss2_TctiLdr_Initialize)

static struct {
    ESYS_FUNCTIONS(CMX_LIBRARY_POINTER)
} esys;
static struct {
    TCTI_FUNCTIONS(CMX_LIBRARY_POINTER)
} tcti;
static struct {
    CMX_LIBRARY_POINTER(Tss2_RC_Decode)
} words;
#define CMX_LIBRARY_OF esys
static const struct cmx_symbol esys_symbols[] = {ESYS_FUNCTIONS(CMX_LIBRARY_SYMBOL)};
#undef CMX_LIBRARY_OF
#define CMX_LIBRARY_OF tcti
static const struct cmx_symbol tcti_symbols[] = {TCTI_FUNCTIONS(CMX_LIBRARY_SYMBOL)};
#undef CMX_LIBRARY_OF
#define CMX_LIBRARY_OF words
static const struct cmx_symbol words_symbols[] = {CMX_LIBRARY_SYMBOL(Tss2_RC_Decode)};
#define N(symbols) (sizeof symbols / sizeof symbols[0])
static struct cmx_library libraries[] = {
    {CMX_SONAME_ESYS, CMX_PACKAGE_ESYS, esys_symbols, N(esys_symbols), NULL},
    {CMX_SONAME_TCTILDR, CMX_PACKAGE_TCTILDR, tcti_symbols, N(tcti_symbols), NULL},
    {CMX_SONAME_TSS_RC, CMX_PACKAGE_TSS_RC, words_symbols, N(words_symbols), NULL},
};

struct tpm {
    TSS2_TCTI_CONTEXT *tcti;
    ESYS_CONTEXT *esys;
    ESYS_TR key;
};

static void tpm_close(void *state)
{
    struct tpm *t = state;

    if (t->esys)
        esys.Esys_Finalize(&t->esys);
    if (t->tcti)
        tcti.Tss2_TctiLdr_Finalize(&t->tcti);
    cmx_mem_free(t);
}

static cmx_err failed(TSS2_RC rc)
{
    cmx_log(CMX_LOG_ERROR, "tpm", "TPM: %s", words.Tss2_RC_Decode(rc));
    return CMX_EIO;
}

/* All but the last piece of msg into the sequence; returns what is left. */
static TSS2_RC update(struct tpm *t, ESYS_TR sequence, const uint8_t **msg, size_t *len)
{
    while (*len > PIECE) {
        TPM2B_MAX_BUFFER piece = {.size = PIECE};
        TSS2_RC rc;

        memcpy(piece.buffer, *msg, PIECE);
        rc = esys.Esys_SequenceUpdate(t->esys, sequence, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, &piece);
        if (rc)
            return rc;
        *msg += PIECE;
        *len -= PIECE;
    }
    return TSS2_RC_SUCCESS;
}

static cmx_err take(TPM2B_DIGEST *digest, uint8_t out[32])
{
    cmx_err err = digest->size == 32 ? CMX_OK : CMX_EIO;

    if (!err)
        memcpy(out, digest->buffer, 32);
    esys.Esys_Free(digest);
    return err;
}

static cmx_err tpm_hmac(void *state, const void *msg, size_t len, uint8_t out[32])
{
    struct tpm *t = state;
    const uint8_t *p = msg;
    TPM2B_MAX_BUFFER last = {.size = 0};
    TPM2B_DIGEST *digest = NULL;
    TPMT_TK_HASHCHECK *ticket = NULL;
    const TPM2B_AUTH no_auth = {.size = 0};
    ESYS_TR sequence;
    TSS2_RC rc = esys.Esys_HMAC_Start(t->esys, t->key, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, &no_auth,
                                      TPM2_ALG_SHA256, &sequence);

    if (rc)
        return failed(rc);
    rc = update(t, sequence, &p, &len);
    if (!rc) {
        last.size = (UINT16)len;
        memcpy(last.buffer, p, len);
        rc = esys.Esys_SequenceComplete(t->esys, sequence, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, &last,
                                        ESYS_TR_RH_NULL, &digest, &ticket);
    }
    if (rc) {
        (void)esys.Esys_FlushContext(t->esys, sequence); /* as good as it goes: the TPM failed already */
        return failed(rc);
    }
    esys.Esys_Free(ticket);
    return take(digest, out);
}

/* A keyed-hash object that makes HMAC-SHA256; one that names no scheme takes the algorithm from the command. */
static cmx_err check_public(struct tpm *t, char *why, size_t cap)
{
    TPM2B_PUBLIC *pub = NULL;
    TSS2_RC rc = esys.Esys_ReadPublic(t->esys, t->key, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &pub, NULL, NULL);
    const TPMT_KEYEDHASH_SCHEME *scheme;
    bool fits;

    if (rc)
        return failed(rc);
    scheme = &pub->publicArea.parameters.keyedHashDetail.scheme;
    fits = pub->publicArea.type == TPM2_ALG_KEYEDHASH &&
           (pub->publicArea.objectAttributes & TPMA_OBJECT_SIGN_ENCRYPT) &&
           (scheme->scheme == TPM2_ALG_NULL ||
            (scheme->scheme == TPM2_ALG_HMAC && scheme->details.hmac.hashAlg == TPM2_ALG_SHA256));
    esys.Esys_Free(pub);
    if (fits)
        return CMX_OK;
    if (why)
        snprintf(why, cap, "the TPM object is not an HMAC-SHA256 key; import one with: tpm2_import -G hmac");
    return CMX_ENOKEY;
}

static cmx_err connect_tpm(struct tpm *t, const char *where, uint32_t handle, char *why, size_t cap)
{
    TSS2_RC rc = tcti.Tss2_TctiLdr_Initialize(where, &t->tcti);

    if (!rc)
        rc = esys.Esys_Initialize(&t->esys, t->tcti, NULL);
    if (rc) {
        if (why)
            snprintf(why, cap, "the TPM (%s) does not answer: %s", where ? where : "default", words.Tss2_RC_Decode(rc));
        return CMX_EIO;
    }
    rc = esys.Esys_TR_FromTPMPublic(t->esys, handle, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &t->key);
    if (rc) {
        if (why)
            snprintf(why, cap,
                     "the TPM has no object at handle 0x%08x; import private_key.bin and keep it with: "
                     "tpm2_evictcontrol -c key.ctx 0x%08x",
                     handle, handle);
        return CMX_ENOKEY;
    }
    return check_public(t, why, cap);
}

cmx_err cmx_hw_key_open_tpm(const char *where, uint32_t handle, struct cmx_hw_key **out, char *why, size_t why_cap)
{
    static const struct cmx_hw_key_ops ops = {tpm_hmac, tpm_close};
    struct tpm *t;
    cmx_err err = CMX_OK;

    for (size_t i = 0; i < N(libraries) && !err; i++)
        err = cmx_library_load(&libraries[i], "the key in a TPM", why, why_cap);
    if (err)
        return err;
    t = cmx_mem_alloc(sizeof *t);
    if (!t)
        return CMX_ENOMEM;
    err = connect_tpm(t, where, handle, why, why_cap);
    if (err) {
        tpm_close(t);
        return err;
    }
    return cmx_hw_key_create(CMX_KEY_TPM, &ops, t, out);
}
