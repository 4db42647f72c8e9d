/* tpm_hmac.c - uses an HMAC key of a TPM 2.0 as the hardware key, through tpm2-tss's Enhanced System API. The key was
 * created or imported as a persistent keyed-hash object (docs/ATTESTATION.md); its bytes never leave the TPM.
 *
 * A connection to a TPM can break, for example when tpm2-abrmd restarts. After a failure, the code therefore
 * connects again and tries once more. */
#include <stdio.h>
#include <string.h>
#include <tss2/tss2_esys.h>
#include <tss2/tss2_rc.h>
#include <tss2/tss2_tctildr.h>

#include "cmxsafe/core/log.h"
#include "cmxsafe/core/mem.h"
#include "port/linux/hw_key.h"
#include "port/linux/library.h"

#define TAG "tpm"
#define PIECE 1024         /* TPM2_MAX_DIGEST_BUFFER: a longer message is sent in pieces */
#define RECONNECT_MS 1000u /* minimum time between attempts to connect again */

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
#define WORDS_FUNCTIONS(X) X(Tss2_RC_Decode)

CMX_LIBRARY(esys_library, esys, ESYS, ESYS_FUNCTIONS);
CMX_LIBRARY(tcti_library, tcti, TCTILDR, TCTI_FUNCTIONS);
CMX_LIBRARY(words_library, words, TSS_RC, WORDS_FUNCTIONS);

struct tpm {
    char *where; /* NULL: tpm2-tss's default */
    uint32_t handle;
    uint64_t reconnect_ms;   /* no attempt to connect again before this time */
    TSS2_TCTI_CONTEXT *tcti; /* NULL: not connected */
    ESYS_CONTEXT *esys;      /* NULL: not connected */
    ESYS_TR key;
};

static void tpm_disconnect(struct tpm *t)
{
    if (t->esys)
        esys.Esys_Finalize(&t->esys);
    if (t->tcti)
        tcti.Tss2_TctiLdr_Finalize(&t->tcti);
    t->esys = NULL;
    t->tcti = NULL;
}

static void tpm_close(void *state)
{
    struct tpm *t = state;

    tpm_disconnect(t);
    cmx_mem_free(t->where);
    cmx_mem_free(t);
}

static cmx_err failed(TSS2_RC rc)
{
    cmx_log_limited(CMX_LOG_ERROR, TAG, "TPM: %s", words.Tss2_RC_Decode(rc));
    return CMX_EIO;
}

/* Adds all pieces of *msg except the last one to the sequence, and sets *msg and *len to the last piece. */
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

static cmx_err take(TPM2B_DIGEST *digest, uint8_t out[CMX_SHA256_LEN])
{
    cmx_err err = digest->size == 32 ? CMX_OK : CMX_EIO;

    if (!err)
        memcpy(out, digest->buffer, CMX_SHA256_LEN);
    esys.Esys_Free(digest);
    return err;
}

static cmx_err hmac_once(struct tpm *t, const void *msg, size_t len, uint8_t out[CMX_SHA256_LEN])
{
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
        (void)esys.Esys_FlushContext(t->esys, sequence); /* best effort: the TPM has failed already */
        return failed(rc);
    }
    esys.Esys_Free(ticket);
    return take(digest, out);
}

/* CMX_ENOKEY: the object is not a keyed-hash object for HMAC-SHA256. An object without a scheme is accepted:
 * Esys_HMAC_Start then names the algorithm. */
static cmx_err check_public(struct tpm *t, struct cmx_why *why)
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
    return cmx_why_fail(why, CMX_ENOKEY,
                        "the TPM object is not an HMAC-SHA256 key; import one with: tpm2_import -G hmac");
}

static cmx_err tpm_connect(struct tpm *t, struct cmx_why *why)
{
    TSS2_RC rc = tcti.Tss2_TctiLdr_Initialize(t->where, &t->tcti);

    if (!rc)
        rc = esys.Esys_Initialize(&t->esys, t->tcti, NULL);
    if (rc)
        return cmx_why_fail(why, CMX_EIO, "the TPM (%s) does not answer: %s", t->where ? t->where : "default",
                            words.Tss2_RC_Decode(rc));
    rc = esys.Esys_TR_FromTPMPublic(t->esys, t->handle, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &t->key);
    if (rc)
        return cmx_why_fail(
            why, CMX_ENOKEY,
            "the TPM has no object at handle 0x%08x; import private_key.bin and make it persistent with: "
            "tpm2_evictcontrol -c key.ctx 0x%08x",
            t->handle, t->handle);
    return check_public(t, why);
}

/* Connects again. CMX_EIO: there is no connection; the next use tries again, but not before RECONNECT_MS have
 * passed. */
static cmx_err tpm_reconnect(struct tpm *t)
{
    struct cmx_why why = {""};
    cmx_err err;

    if (cmx_port_now_ms() < t->reconnect_ms)
        return CMX_EIO;
    tpm_disconnect(t);
    err = tpm_connect(t, &why);
    t->reconnect_ms = cmx_port_now_ms() + RECONNECT_MS;
    if (!err) {
        cmx_log_limited(CMX_LOG_INFO, TAG, "connected to the TPM again");
        return CMX_OK;
    }
    tpm_disconnect(t);
    cmx_log_limited(CMX_LOG_ERROR, TAG, "%s", cmx_why_text(&why, err));
    return CMX_EIO;
}

static cmx_err tpm_hmac(void *state, const void *msg, size_t len, uint8_t out[CMX_SHA256_LEN])
{
    struct tpm *t = state;
    cmx_err err = t->esys ? hmac_once(t, msg, len, out) : CMX_EIO;

    if (!err)
        return CMX_OK;
    err = tpm_reconnect(t);
    return err ? err : hmac_once(t, msg, len, out);
}

cmx_err cmx_tpm_hmac_open(const char *where, uint32_t handle, struct cmx_hw_key **out, struct cmx_why *why)
{
    static const struct cmx_hw_key_ops ops = {tpm_hmac, tpm_close};
    static struct cmx_library *const libraries[] = {&esys_library, &tcti_library, &words_library};
    struct tpm *t;
    cmx_err err = CMX_OK;

    for (size_t i = 0; i < sizeof libraries / sizeof libraries[0] && !err; i++)
        err = cmx_library_load(libraries[i], "the key in a TPM", why);
    if (err)
        return err;
    t = cmx_mem_alloc(sizeof *t);
    if (!t)
        return CMX_ENOMEM;
    t->handle = handle;
    t->where = where ? cmx_mem_strdup(where) : NULL;
    err = where && !t->where ? CMX_ENOMEM : tpm_connect(t, why);
    if (err) {
        tpm_close(t);
        return err;
    }
    return cmx_hw_key_create(CMX_KEY_TPM, &ops, t, out);
}
