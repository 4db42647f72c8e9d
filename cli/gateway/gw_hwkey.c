#include "cli/gateway/gw_hwkey.h"

#include <string.h>

#include "cli/common/key_file.h"
#include "cmxsafe/core/secret.h"
#include "cmxsafe/identity/identity.h"

static cmx_err read_key(const char *path, uint8_t key[CMX_HMAC_KEY_LEN], struct cmx_why *e)
{
    struct cmx_why why = {0};
    cmx_err err = key_file_read(path, key, &why);

    if (!err)
        return CMX_OK;
    return cmx_why_fail(e, err, "the hardware key %s can't be used (%s); give the file that was burned into the eFuse",
                        path, why.text);
}

cmx_err gw_hwkey_login(struct gw_key *k, const char *path, struct cmx_why *e)
{
    char text[CMX_IDENTITY_PUBLIC_MAX + 1];
    const char *line = NULL;
    struct cmx_buf b;
    uint8_t key[CMX_HMAC_KEY_LEN];
    cmx_err err = read_key(path, key, e);

    cmx_buf_init(&b, text, sizeof text);
    if (!err && (cmx_identity_ssh_public(key_file_hmac, key, &b, NULL) || cmx_buf_cstr(&b, &line)))
        err = cmx_why_fail(e, CMX_EINTERNAL, "the SSH key can't be derived");
    cmx_secret_wipe(key, sizeof key);
    return err ? err : gw_key_parse(k, line, e);
}

cmx_err gw_hwkey_attest(struct cmx_attest_key *out, const char *path, struct cmx_why *e)
{
    uint8_t key[CMX_HMAC_KEY_LEN];
    cmx_err err = read_key(path, key, e);

    if (!err && cmx_attest_key_derive(key_file_hmac, key, out))
        err = cmx_why_fail(e, CMX_EINTERNAL, "the attestation key can't be derived");
    cmx_secret_wipe(key, sizeof key);
    return err;
}

cmx_err gw_hwkey_store_attest(struct gw_registry *r, const char *device, const struct cmx_attest_key *k, bool retire,
                              gw_outcome *out, struct cmx_why *e)
{
    char text[CMX_ATTEST_KEY_LINE_MAX];
    const char *line = "";
    struct cmx_buf b;
    gw_outcome changed = GW_UNCHANGED;
    cmx_err err = CMX_OK;

    cmx_buf_init(&b, text, sizeof text);
    if (cmx_attest_key_print(k, &b) || cmx_buf_cstr(&b, &line))
        err = cmx_why_fail(e, CMX_EINTERNAL, "the attestation key can't be printed");
    if (!err && retire)
        err = gw_device_retire_attest_key(r, device, line, e);
    if (!err)
        err = gw_evidence_key_set(r, device, line, &changed, e);
    if (!err && *out == GW_UNCHANGED)
        *out = changed;
    return err;
}

bool gw_hwkey_is_derived(struct gw_registry *r, const struct gw_device *d)
{
    char line[CMX_ATTEST_KEY_LINE_MAX];

    return strcmp(d->key_type, CMX_IDENTITY_KEY_TYPE) == 0 &&
           gw_evidence_key_get(r, d->id, line, sizeof line, NULL) == CMX_OK;
}
