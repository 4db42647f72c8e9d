#include "agent/agent_identity.h"

#include <stdlib.h>
#include <string.h>

#include "cmxsafe/core/log.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/identity/identity.h"
#include "cmxsafe/port/crypto.h"
#include "cmxsafe/port/port.h"
#include "port/linux/file_probe.h"
#include "port/linux/hw_key.h"

#define TAG "identity"
#define RETRY_MS 1000 /* minimum time between attempts to open the key */
#define AWAIT_MS 5000 /* time between attempts while the login waits for the key */

/* A process runs only one agent, because port.h's functions have no parameter for an instance. */
static struct {
    char *key_file, *tpm, *tpm_handle; /* copies, because a reload frees the configuration's strings */
    int wake;
    struct cmx_mutex opening; /* locked by the thread that opens the key, perhaps for long; guards retry_ms */
    uint64_t retry_ms;        /* no attempt to open the key before this time */
    struct cmx_mutex lock;    /* guards the members below; held only briefly: the main loop waits for it */
    struct cmx_hw_key *key;   /* NULL: no key is configured, or it could not be opened yet */
    struct cmx_why why;       /* why the configured key is not open */
    /* The device's identity. It is read once, when the key is opened, because the agent's loop writes it to the status
     * and must not wait for a slow TPM. */
    bool has_identity;
    uint8_t ueid[CMX_UEID_LEN];
    char authorized_key[CMX_IDENTITY_PUBLIC_MAX];
} self;

static bool configured(void)
{
    return self.key_file || self.tpm_handle;
}

/* ---- opening the key ---- */

static struct cmx_hw_key *key_current(struct cmx_why *why)
{
    struct cmx_hw_key *key;

    cmx_port_mutex_lock(&self.lock);
    key = self.key;
    if (why)
        *why = self.why;
    cmx_port_mutex_unlock(&self.lock);
    return key;
}

static cmx_err open_key(struct cmx_hw_key **key, struct cmx_why *why)
{
    struct cmx_why reason = {""};
    uint64_t handle = 0;
    cmx_err err;

    if (self.key_file) {
        err = cmx_hw_key_open_file(self.key_file, key, &reason);
        return err ? cmx_why_fail(why, err, "[identity] key_file %s", cmx_why_text(&reason, err)) : CMX_OK;
    }
    err = cmx_text_u64(self.tpm_handle, 0, UINT32_MAX, &handle); /* config_check has checked the text */
    if (!err)
        err = cmx_tpm_hmac_open(self.tpm, (uint32_t)handle, key, &reason);
    return err ? cmx_why_fail(why, err, "[identity] tpm_handle: %s", cmx_why_text(&reason, err)) : CMX_OK;
}

static cmx_err hmac_with(void *key, const void *msg, size_t len, uint8_t out[CMX_SHA256_LEN])
{
    return cmx_hw_key_hmac(key, msg, len, out);
}

/* Stores the key and the identity that is derived from it. */
static void keep_key(struct cmx_hw_key *key)
{
    uint8_t ueid[CMX_UEID_LEN];
    char text[CMX_IDENTITY_PUBLIC_MAX];
    const char *line;
    struct cmx_buf b;
    bool known;

    cmx_buf_init(&b, text, sizeof text);
    known = cmx_identity_ueid(hmac_with, key, ueid) == CMX_OK &&
            cmx_identity_ssh_public(hmac_with, key, &b, NULL) == CMX_OK && cmx_buf_cstr(&b, &line) == CMX_OK;
    cmx_port_mutex_lock(&self.lock);
    self.key = key;
    cmx_why_clear(&self.why);
    self.has_identity = known;
    if (known) {
        memcpy(self.ueid, ueid, sizeof ueid);
        memcpy(self.authorized_key, line, strlen(line) + 1);
    }
    cmx_port_mutex_unlock(&self.lock);
}

/* Opens the key if it is configured and not open yet. Returns it, or NULL. Blocks while the TPM or the key's file
 * system does not answer. */
static struct cmx_hw_key *key_ready(void)
{
    struct cmx_hw_key *key = key_current(NULL);
    struct cmx_why why = {""};

    if (key || !configured())
        return key;
    cmx_port_mutex_lock(&self.opening);
    key = key_current(NULL);
    if (!key && cmx_port_now_ms() >= self.retry_ms) {
        if (open_key(&key, &why) == CMX_OK) {
            keep_key(key);
        } else {
            cmx_port_mutex_lock(&self.lock);
            self.why = why;
            cmx_port_mutex_unlock(&self.lock);
        }
        self.retry_ms = cmx_port_now_ms() + RETRY_MS;
    }
    cmx_port_mutex_unlock(&self.opening);
    return key;
}

/* ---- functions of port.h ---- */

static cmx_key_kind key_kind(void *arg)
{
    (void)arg;
    return cmx_hw_key_kind(key_ready());
}

/* CMX_EIO: a key is configured but cannot be used now. CMX_ENOKEY: no key is configured. */
static cmx_err key_hmac(void *arg, const void *msg, size_t len, uint8_t out[CMX_SHA256_LEN])
{
    struct cmx_hw_key *key = key_ready();
    struct cmx_why why;

    (void)arg;
    if (key || !configured())
        return cmx_hw_key_hmac(key, msg, len, out);
    (void)key_current(&why);
    cmx_log_limited(CMX_LOG_ERROR, TAG, "%s", why.text);
    return CMX_EIO;
}

void identity_set_device(struct cmx_linux_device *d)
{
    d->hw_key_kind = key_kind;
    d->hw_hmac = key_hmac;
}

/* ---- the start ---- */

static bool login_needs_key(const struct agent_config *c)
{
    struct cmx_gateway gateway;

    config_gateway(c, &gateway);
    return gateway.key_load != NULL;
}

static cmx_err copy_text(const char *text, char **out)
{
    *out = text ? cmx_mem_strdup(text) : NULL;
    return text && !*out ? CMX_ENOMEM : CMX_OK;
}

static cmx_err identity_prepare(struct wiring *w, struct cmx_why *why)
{
    const struct identity_section *s = &w->config->identity;

    (void)why;
    cmx_port_mutex_init(&self.opening);
    cmx_port_mutex_init(&self.lock);
    self.wake = w->wake;
    if (copy_text(s->key_file, &self.key_file) || copy_text(s->tpm, &self.tpm) ||
        copy_text(s->tpm_handle, &self.tpm_handle))
        return CMX_ENOMEM;
    if (!configured() || login_needs_key(w->config))
        return CMX_OK;
    if (self.key_file && !cmx_file_answers(self.key_file, FILE_ANSWER_MS))
        cmx_why_set(&self.why, "[identity] key_file %s: its file system does not answer", self.key_file);
    else
        (void)key_ready();
    if (self.why.text[0])
        cmx_log(CMX_LOG_ERROR, TAG,
                "%s; attestation fails until the agent can open the key; if its folder or device was missing, restart "
                "the agent",
                self.why.text);
    return CMX_OK;
}

static void await_key(void *arg)
{
    struct cmx_why why, logged = {""};

    (void)arg;
    while (!key_ready()) {
        (void)key_current(&why);
        if (strcmp(why.text, logged.text) != 0)
            cmx_log(CMX_LOG_ERROR, TAG,
                    "no session is opened, because the login needs this key: %s; the agent tries "
                    "again every %d s",
                    why.text, AWAIT_MS / 1000);
        logged = why;
        cmx_port_sleep_ms(AWAIT_MS);
    }
    cmx_port_wake(self.wake);
}

cmx_err identity_await(const struct wiring *w)
{
    if (!login_needs_key(w->config))
        return CMX_OK;
    cmx_why_set(&self.why, "the key of [identity] has not been read yet");
    return cmx_port_task_start("identity", 0, await_key, NULL);
}

bool identity_awaited(const struct agent_config *c, struct cmx_why *why)
{
    return login_needs_key(c) && !key_current(why);
}

/* Permits access to the TPM's device or ports, because the agent connects to the TPM again when it uses the key after
 * the connection has broken (port/linux/tpm_hmac.c). */
static void plan_tpm(const char *tcti, struct confine_plan *p)
{
    const char *port = tcti ? strstr(tcti, "port=") : NULL;
    const unsigned long number = port ? strtoul(port + strlen("port="), NULL, 10) : 0;

    confine_write(p, "/dev/tpmrm0");
    confine_write(p, "/dev/tpm0");
    if (tcti && strncmp(tcti, "device:/", strlen("device:/")) == 0)
        confine_write(p, tcti + strlen("device:"));
    if (number > 0 && number < UINT16_MAX) {
        confine_connect(p, number);     /* N in "swtpm:host=...,port=N" */
        confine_connect(p, number + 1); /* the TPM simulator's control channel */
    }
}

static void identity_plan(const struct wiring *w, struct confine_plan *p)
{
    (void)w;
    if (self.tpm_handle)
        plan_tpm(self.tpm, p);
    if (!key_current(NULL))
        confine_read_folder(p, self.key_file); /* a request opens the key later */
}

/* ---- status ---- */

static const char *key_name(cmx_key_kind kind)
{
    return kind == CMX_KEY_TPM ? "tpm" : kind == CMX_KEY_SOFTWARE ? "software" : "none";
}

void identity_json(struct cmx_json *j)
{
    cmx_port_mutex_lock(&self.lock);
    cmx_json_str(j, "key", key_name(cmx_hw_key_kind(self.key)));
    if (self.has_identity) {
        cmx_json_hex(j, "ueid", self.ueid, sizeof self.ueid);
        cmx_json_str(j, "authorized_key", self.authorized_key);
    }
    cmx_port_mutex_unlock(&self.lock);
}

static void module_json(const struct wiring *w, struct cmx_json *j)
{
    struct cmx_why why;

    (void)w;
    (void)key_current(&why);
    if (!why.text[0])
        return;
    cmx_json_object(j, "identity");
    cmx_json_str(j, "error", why.text);
    cmx_json_end(j);
}

static void module_text(const struct wiring *w, struct cmx_buf *out)
{
    struct cmx_why why;

    (void)w;
    (void)key_current(&why);
    if (why.text[0])
        cmx_buf_printf(out, "identity: %s\n", why.text);
}

const struct module identity_module = {
    .name = "identity", .prepare = identity_prepare, .plan = identity_plan, .json = module_json, .text = module_text};
