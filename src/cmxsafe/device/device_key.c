#include "cmxsafe/device/device_key.h"

#include "cmxsafe/core/log.h"
#include "cmxsafe/identity/own_key.h"
#include "cmxsafe/port/port.h"

#define TAG "device"

/* Uses the device's own key; creates it if there is none yet. */
static void use_own_key(struct cmx_gateway *g)
{
    cmx_err err = cmx_own_key_make();

    if (err == CMX_OK)
        g->key_load = cmx_own_key_load;
    else if (err != CMX_ENOTSUP)
        cmx_log(CMX_LOG_ERROR, TAG, "the device's own SSH key: %s", cmx_err_text(err));
}

void cmx_device_key_choose(const struct cmx_settings *settings, struct cmx_gateway *g)
{
    const bool hardware = cmx_port_hw_key_kind() != CMX_KEY_NONE;
    const bool chosen = g->key_file || g->key_pem || g->password;

    /* Evidence names the session that carries it, so a device that can attest needs the session's identifier. */
    g->want_session_id = hardware;
    if (hardware && (settings->client_key_derived || !chosen))
        g->key_load = cmx_identity_key_load;
    else if (!chosen && !settings->client_key_derived)
        use_own_key(g);
    else if (!chosen)
        cmx_log(CMX_LOG_ERROR, TAG, "SSH_CLIENT_KEY_DERIVED: eFuse has no HMAC_UP key; burn one, or clear the setting");
}

/* True if the device logs in with its own key; set before log_key starts. */
static bool own;

static void log_key(void *arg)
{
    char mem[CMX_IDENTITY_PUBLIC_MAX], fingerprint[CMX_FINGERPRINT_LEN];
    const char *line;
    struct cmx_buf b;
    cmx_err err;

    (void)arg;
    cmx_buf_init(&b, mem, sizeof mem);
    err = cmx_identity_ssh_public(own ? cmx_own_key_hmac : cmx_identity_hw_hmac, NULL, &b, fingerprint);
    if (!err)
        err = cmx_buf_cstr(&b, &line);
    if (err) {
        cmx_log(CMX_LOG_ERROR, TAG, "SSH key: %s", cmx_err_text(err));
    } else {
        cmx_log(CMX_LOG_INFO, TAG, "SSH key: %s", line);
        cmx_log(CMX_LOG_INFO, TAG, "SSH key fingerprint: %s (%s)", fingerprint,
                own ? "made by this device" : "derived from the hardware key");
    }
    if (own && !cmx_port_secret_is_encrypted())
        cmx_log(CMX_LOG_WARN, TAG, "the SSH key is stored unencrypted: anyone who can read the flash has it");
    cmx_port_task_done();
}

void cmx_device_key_announce(const struct cmx_gateway *g)
{
    static bool done; /* guarded by the device's lock, which the caller holds */

    if (done || !g->key_load)
        return;
    done = true;
    own = g->key_load == cmx_own_key_load;
    if (cmx_port_task_start("cmx-key", 0, log_key, NULL))
        cmx_log(CMX_LOG_WARN, TAG, "SSH key: %s", cmx_err_text(CMX_ENOMEM));
}
