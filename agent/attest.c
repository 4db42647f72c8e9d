#include "attest.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cmxsafe/core/log.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/sha256.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/device/attest_service.h"
#include "cmxsafe/identity/identity.h"
#include "cmxsafe/version.h"
#include "hw_key.h"
#include "isolation.h"
#include "linux_http.h"

#define TAG "attest"

/* One agent a process: port.h's functions have no place for another. */
static struct {
    struct cmx_hw_key *key; /* NULL: none */
    int image;              /* open while image_size is not 0 */
    uint32_t image_size;
    bool has_policy;
    uint8_t policy[CMX_SHA256_LEN];
    struct cmx_mutex lock; /* of policy, which a reload changes */
} self;

/* ---- behind port.h ---- */

static uint32_t flash_size(void *arg)
{
    (void)arg;
    return self.image_size;
}

static cmx_err flash_read(void *arg, uint32_t offset, void *out, size_t len)
{
    (void)arg;
    if (offset > self.image_size || len > self.image_size - offset)
        return CMX_EINVAL;
    return pread(self.image, out, len, offset) == (ssize_t)len ? CMX_OK : CMX_EIO;
}

static cmx_key_kind key_kind(void *arg)
{
    (void)arg;
    return cmx_hw_key_kind(self.key);
}

static cmx_err key_hmac(void *arg, const void *msg, size_t len, uint8_t out[32])
{
    (void)arg;
    return cmx_hw_key_hmac(self.key, msg, len, out);
}

void attest_set_device(struct cmx_linux_device *d)
{
    d->flash_size = flash_size;
    d->flash_read = flash_read;
    d->hw_key_kind = key_kind;
    d->hw_hmac = key_hmac;
}

/* ---- before confinement ---- */

static cmx_err open_key(const struct identity_section *s, char *why, size_t cap)
{
    uint64_t handle = 0;
    cmx_err err;

    if (s->key_file)
        return cmx_hw_key_open_file(s->key_file, &self.key, why, cap);
    if (!s->tpm_handle)
        return CMX_OK;
    err = cmx_text_u64(s->tpm_handle, 0, UINT32_MAX, &handle); /* config_check knows the range */
    return err ? err : cmx_hw_key_open_tpm(s->tpm, (uint32_t)handle, &self.key, why, cap);
}

/* Bytes of a file or block device; 0: it has none. */
static uint64_t size_of(int fd, const struct stat *st)
{
    uint64_t bytes = 0;

    if (S_ISREG(st->st_mode))
        return (uint64_t)st->st_size;
    return S_ISBLK(st->st_mode) && ioctl(fd, BLKGETSIZE64, &bytes) == 0 ? bytes : 0;
}

static cmx_err open_image(const char *path, char *why, size_t cap)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    uint64_t bytes;

    if (fd < 0 || fstat(fd, &st) != 0) {
        snprintf(why, cap, "[attest] image %s: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return CMX_EIO;
    }
    bytes = size_of(fd, &st);
    if (bytes == 0 || bytes > UINT32_MAX) {
        snprintf(why, cap, "[attest] image %s: is no file or block device of 1 byte to 4 GB", path);
        close(fd);
        return CMX_EINVAL;
    }
    self.image = fd;
    self.image_size = (uint32_t)bytes;
    return CMX_OK;
}

/* The digest of the rules as the configuration makes them, without the addresses that sessions lead to at the moment.
 */
static cmx_err digest_policy(const struct agent_config *c, uint8_t out[CMX_SHA256_LEN])
{
    struct cmx_nft_config *n = cmx_mem_alloc(sizeof *n);
    char *text = cmx_mem_alloc(CMX_NFT_TEXT_MAX);
    struct cmx_buf b;
    char why[160];
    cmx_err err = n && text ? isolation_compile(c, true, n, why, sizeof why) : CMX_ENOMEM;

    if (!err) {
        cmx_buf_init(&b, text, CMX_NFT_TEXT_MAX);
        err = cmx_nft_ruleset(n, &b);
    }
    if (!err)
        err = cmx_sha256_of(cmx_buf_data(&b), cmx_buf_len(&b), out);
    cmx_mem_free(n);
    cmx_mem_free(text);
    return err;
}

static void note_policy(const struct agent_config *c)
{
    uint8_t digest[CMX_SHA256_LEN];
    bool there = c->isolation.enabled && digest_policy(c, digest) == CMX_OK;

    cmx_port_mutex_lock(&self.lock);
    self.has_policy = there;
    if (there)
        memcpy(self.policy, digest, sizeof digest);
    cmx_port_mutex_unlock(&self.lock);
}

cmx_err attest_prepare(struct agent *a, char *why, size_t cap)
{
    cmx_err err = cmx_port_mutex_init(&self.lock);

    if (!err)
        err = open_key(&a->config->identity, why, cap);
    if (!err && a->config->attest.enabled)
        err = cmx_linux_http_load(why, cap);
    if (!err && a->config->attest.enabled && a->config->attest.image)
        err = open_image(a->config->attest.image, why, cap);
    return err;
}

void attest_plan(struct agent *a, struct confine_plan *p)
{
    if (a->config->attest.enabled && p->n_bind < CONFINE_PORTS_MAX)
        p->bind[p->n_bind++] = (uint16_t)a->config->attest.port;
}

/* ---- the service ---- */

static void tell_session(struct agent *a, struct cmx_evidence *e)
{
    struct cmx_context_status st;

    if (!cmx_proxy_find(a->proxy, CMX_REVERSE, cmx_attest_port(), &st))
        return;
    e->has_gateway = st.has_host_key;
    memcpy(e->gateway, st.host_key, sizeof e->gateway);
    e->session_len = st.session_id_len;
    memcpy(e->session, st.session_id, st.session_id_len);
}

/* What the agent does not know (Secure Boot, debuggers, storage encryption of this computer) it does not claim. */
static void tell(void *arg, struct cmx_evidence *e)
{
    struct agent *a = arg;
    struct utsname u;

    if (uname(&u) == 0)
        snprintf(e->hw_model, sizeof e->hw_model, "%.63s", u.machine);
    snprintf(e->sw_name, sizeof e->sw_name, "cmxsafed");
    snprintf(e->sw_version, sizeof e->sw_version, "%s", CMX_VERSION);
    snprintf(e->slot, sizeof e->slot, "system");
    snprintf(e->slot_state, sizeof e->slot_state, "valid");
    e->isolation = a->isolation != NULL;
    cmx_port_mutex_lock(&self.lock);
    e->has_policy = e->isolation && self.has_policy;
    memcpy(e->policy, self.policy, sizeof e->policy);
    cmx_port_mutex_unlock(&self.lock);
    tell_session(a, e);
}

cmx_err attest_start(struct agent *a, char *why, size_t cap)
{
    const struct attest_section *s = &a->config->attest;
    cmx_err err;

    if (!s->enabled)
        return CMX_OK;
    note_policy(a->config);
    cmx_attest_set_facts(tell, a);
    err = cmx_attest_start(NULL, (uint16_t)s->port);
    if (err)
        snprintf(why, cap, "attestation cannot be served on port %u: %s", (unsigned)s->port, cmx_err_text(err));
    else
        cmx_log(CMX_LOG_INFO, TAG, "attestation on port %u", (unsigned)s->port);
    return err;
}

static bool same(const char *a, const char *b)
{
    return strcmp(a ? a : "", b ? b : "") == 0;
}

/* Key and image are opened before confinement, so they stay for the life of the process. */
cmx_err attest_reload(struct agent *a, const struct agent_config *next, char *why, size_t cap)
{
    const struct agent_config *now = a->config;

    if (!same(now->identity.key_file, next->identity.key_file) || !same(now->identity.tpm, next->identity.tpm) ||
        !same(now->identity.tpm_handle, next->identity.tpm_handle) || now->attest.enabled != next->attest.enabled ||
        now->attest.port != next->attest.port || !same(now->attest.image, next->attest.image)) {
        snprintf(why, cap, "a change of [identity] or [attest] needs a restart");
        return CMX_EINVAL;
    }
    if (now->attest.enabled)
        note_policy(next);
    return CMX_OK;
}

void attest_stop(struct agent *a)
{
    (void)a;
    cmx_attest_stop();
}

static const char *key_name(cmx_key_kind kind)
{
    return kind == CMX_KEY_TPM ? "tpm" : kind == CMX_KEY_SOFTWARE ? "software" : "none";
}

void attest_json(struct agent *a, struct cmx_json *j)
{
    uint8_t mem[CMX_IDENTITY_PUBLIC_MAX], ueid[CMX_UEID_LEN];
    struct cmx_buf b;
    const char *line;

    (void)a;
    cmx_json_object(j, "attest");
    cmx_json_bool(j, "enabled", cmx_attest_port() != 0);
    cmx_json_u64(j, "port", cmx_attest_port());
    cmx_json_str(j, "key", key_name(cmx_hw_key_kind(self.key)));
    cmx_buf_init(&b, mem, sizeof mem);
    if (self.key && cmx_identity_ueid(cmx_identity_hw_hmac, NULL, ueid) == CMX_OK &&
        cmx_identity_ssh_public(cmx_identity_hw_hmac, NULL, &b) == CMX_OK && cmx_buf_cstr(&b, &line) == CMX_OK) {
        cmx_json_hex(j, "ueid", ueid, sizeof ueid);
        cmx_json_str(j, "authorized_key", line);
    }
    cmx_json_end(j);
}
