#include "agent/agent_attest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "agent/agent_identity.h"
#include "agent/isolation/agent_isolation.h"
#include "agent/ota/agent_ota.h"
#include "cmxsafe/core/log.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/secret.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/device/attest_service.h"
#include "cmxsafe/identity/identity.h"
#include "cmxsafe/port/crypto.h"
#include "cmxsafe/proxy/proxy.h"
#include "cmxsafe/version.h"
#include "port/linux/file_probe.h"
#include "port/linux/hw_key.h"
#include "port/linux/linux_http.h"

#define TAG "attest"

/* A process runs only one agent, because port.h's functions have no parameter for an instance. */
static struct {
    struct isolation *isolation;
    struct cmx_proxy *proxy;
    uint16_t port;      /* port of the service, running or not; 0: not configured, or no libmicrohttpd */
    struct cmx_why off; /* why the configured service is not running; empty: no error */
    char *image_path;   /* NULL: no image is configured */
    bool has_policy;
    uint8_t policy[CMX_SHA256_LEN];
    int image; /* descriptor of the image; open if image_size is not 0 */
    uint32_t image_size;
    struct cmx_why image_why; /* why the image is not open */
    struct cmx_mutex opening; /* locked by the thread that opens the image, perhaps for long */
    /* Guards policy, which a reload changes, and image, which a request may open. A thread holds this lock only
     * briefly, because the thread that writes the status waits for it. */
    struct cmx_mutex lock;
} self;

/* ---- functions of port.h ---- */

/* Returns the size of a file or block device in bytes; 0: unknown. */
static uint64_t size_of(int fd, const struct stat *st)
{
    off_t end = S_ISREG(st->st_mode) || S_ISBLK(st->st_mode) ? lseek(fd, 0, SEEK_END) : 0;

    return end > 0 ? (uint64_t)end : 0;
}

static cmx_err image_open(const char *path, int *out, uint32_t *size, struct cmx_why *why)
{
    /* O_NONBLOCK: open does not wait for the writer of a FIFO. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    uint64_t bytes;

    if (fd < 0 || fstat(fd, &st) != 0) {
        cmx_why_set(why, "[attest] image %s: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return CMX_EIO;
    }
    bytes = size_of(fd, &st);
    if (bytes == 0 || bytes > UINT32_MAX) {
        cmx_why_set(why, "[attest] image %s: not a file or block device of 1 byte to 4 GB", path);
        close(fd);
        return CMX_EINVAL;
    }
    *out = fd;
    *size = (uint32_t)bytes;
    return CMX_OK;
}

static void image_keep(int fd, uint32_t size, const struct cmx_why *why)
{
    cmx_port_mutex_lock(&self.lock);
    self.image = fd;
    self.image_size = size;
    self.image_why = *why;
    cmx_port_mutex_unlock(&self.lock);
}

/* Opens the image if it is not open yet. Returns its size; 0: there is no image, or it cannot be opened. Blocks while
 * the image's file system does not answer. */
static uint32_t image_ready(struct cmx_why *why)
{
    uint32_t size;
    int fd = -1;

    cmx_why_clear(why);
    cmx_port_mutex_lock(&self.opening);
    size = self.image_size;
    if (self.image_path && !size) {
        if (image_open(self.image_path, &fd, &size, why) != CMX_OK)
            size = 0;
        image_keep(fd, size, why);
    }
    cmx_port_mutex_unlock(&self.opening);
    return size;
}

/* 0 would mean that nothing is to be measured. If the image cannot be opened, the result is the largest size instead,
 * so that flash_read is called and fails. */
static uint32_t flash_size(void *arg)
{
    struct cmx_why why;
    const uint32_t size = image_ready(&why);

    (void)arg;
    return self.image_path && !size ? UINT32_MAX : size;
}

/* Returns why the open file is no longer the image at image_path. NULL: the open file is still this image, or the path
 * cannot be examined. */
static const char *image_changed(uint32_t size)
{
    struct stat opened, now;

    if (fstat(self.image, &opened) != 0)
        return strerror(errno);
    if (size_of(self.image, &opened) != size)
        return "its size has changed; restart the agent";
    if (stat(self.image_path, &now) != 0)
        return errno == ENOENT ? "it was removed; restart the agent when it is there again" : NULL;
    if (S_ISBLK(opened.st_mode) ? now.st_rdev != opened.st_rdev
                                : now.st_dev != opened.st_dev || now.st_ino != opened.st_ino)
        return "another file has replaced it; restart the agent";
    return NULL;
}

static cmx_err flash_read(void *arg, uint32_t offset, void *out, size_t len)
{
    struct cmx_why closed;
    const uint32_t size = image_ready(&closed);
    const char *why = size ? image_changed(size) : NULL;

    (void)arg;
    if (!size) {
        cmx_log_limited(CMX_LOG_ERROR, TAG, "%s", closed.text);
        return CMX_EIO;
    }
    if (offset > size || len > size - offset)
        return CMX_EINVAL;
    if (!why && pread(self.image, out, len, offset) != (ssize_t)len)
        why = "it cannot be read";
    if (!why)
        return CMX_OK;
    cmx_log_limited(CMX_LOG_ERROR, TAG, "image %s: %s", self.image_path, why);
    return CMX_EIO;
}

void attest_set_device(struct cmx_linux_device *d)
{
    d->flash_size = flash_size;
    d->flash_read = flash_read;
}

/* ---- before confinement ---- */

static void note_policy(const struct agent_config *c)
{
    uint8_t digest[CMX_SHA256_LEN];
    bool there = c->isolation.enabled && isolation_digest(c, digest) == CMX_OK;

    cmx_port_mutex_lock(&self.lock);
    self.has_policy = there;
    if (there)
        memcpy(self.policy, digest, sizeof digest);
    cmx_port_mutex_unlock(&self.lock);
}

cmx_err attest_check_files(const struct agent_config *c, struct cmx_why *why)
{
    uint8_t key[CMX_HMAC_KEY_LEN];
    uint32_t size;
    int fd = -1;
    cmx_err err = c->identity.key_file ? cmx_hw_key_read_file(c->identity.key_file, true, key, why) : CMX_OK;

    cmx_secret_wipe(key, sizeof key);
    if (!err && c->attest.enabled && c->attest.image)
        err = image_open(c->attest.image, &fd, &size, why);
    if (fd >= 0)
        close(fd);
    return err;
}

static cmx_err attest_prepare(struct wiring *w, struct cmx_why *why)
{
    const struct agent_config *c = w->config;
    struct cmx_why problem;

    (void)why;
    cmx_port_mutex_init(&self.opening);
    cmx_port_mutex_init(&self.lock);
    if (!c->attest.enabled)
        return CMX_OK;
    if (cmx_linux_http_load(&self.off) != CMX_OK) {
        cmx_log(CMX_LOG_ERROR, TAG, "there is no attestation: %s; correct this, then restart the agent", self.off.text);
        return CMX_OK;
    }
    self.port = (uint16_t)c->attest.port;
    self.image_path = c->attest.image ? cmx_mem_strdup(c->attest.image) : NULL;
    if (c->attest.image && !self.image_path)
        return CMX_ENOMEM;
    if (!self.image_path)
        return CMX_OK;
    if (!cmx_file_answers(self.image_path, FILE_ANSWER_MS)) {
        cmx_why_set(&problem, "[attest] image %s: its file system does not answer", self.image_path);
        image_keep(-1, 0, &problem);
    } else if (image_ready(&problem)) {
        return CMX_OK;
    }
    cmx_log(CMX_LOG_ERROR, TAG,
            "%s; attestation fails until the agent can read it; if its folder was missing, restart the agent",
            problem.text);
    return CMX_OK;
}

static void attest_plan(const struct wiring *w, struct confine_plan *p)
{
    const struct agent_config *c = w->config;

    if (c->attest.enabled)
        confine_bind(p, c->attest.port);
    if (!self.image_size)
        confine_read_folder(p, self.image_path); /* a request opens the image later */
}

/* ---- the service ---- */

static void add_session(struct cmx_evidence *e)
{
    struct cmx_context_status st;

    if (!cmx_proxy_find(self.proxy, CMX_REVERSE, cmx_attest_port(), &st))
        return;
    e->has_gateway = st.has_host_key;
    memcpy(e->gateway, st.host_key, sizeof e->gateway);
    e->session_len = st.session_id_len;
    memcpy(e->session, st.session_id, st.session_id_len);
    snprintf(e->key_exchange, sizeof e->key_exchange, "%s", st.key_exchange ? st.key_exchange : "");
}

/* Adds to the evidence only what the agent can verify: nothing about Secure Boot, debuggers or storage encryption. */
static void add_facts(struct cmx_evidence *e)
{
    struct utsname u;

    if (uname(&u) == 0)
        snprintf(e->hw_model, sizeof e->hw_model, "%.63s", u.machine);
    snprintf(e->sw_name, sizeof e->sw_name, "cmxsafed");
    snprintf(e->sw_version, sizeof e->sw_version, "%s", CMX_VERSION);
    snprintf(e->slot, sizeof e->slot, "system");
    snprintf(e->slot_state, sizeof e->slot_state, "%s", ota_on_trial() ? "pending-verify" : "valid");
    e->isolation = isolation_in_force(self.isolation);
    cmx_port_mutex_lock(&self.lock);
    e->has_policy = e->isolation && self.has_policy;
    memcpy(e->policy, self.policy, sizeof e->policy);
    cmx_port_mutex_unlock(&self.lock);
    add_session(e);
}

static void attest_serve(void)
{
    cmx_err err = cmx_attest_start(NULL, self.port);

    if (!err) {
        cmx_why_clear(&self.off);
        cmx_log(CMX_LOG_INFO, TAG, "attestation on port %u", (unsigned)self.port);
        return;
    }
    cmx_why_set(&self.off, "port %u: %s", (unsigned)self.port, cmx_err_text(err));
    cmx_log_limited(CMX_LOG_ERROR, TAG, "there is no attestation: %s; the agent tries again every minute",
                    self.off.text);
}

static cmx_err attest_start(struct wiring *w, struct cmx_why *why)
{
    (void)why;
    if (!self.port)
        return CMX_OK;
    self.isolation = w->isolation;
    self.proxy = w->proxy;
    note_policy(w->config);
    cmx_attest_set_facts(add_facts);
    attest_serve();
    return CMX_OK;
}

uint16_t attest_off(const struct agent_config *c)
{
    return c->attest.enabled && !cmx_attest_port() ? (uint16_t)c->attest.port : 0;
}

static void attest_turn(struct wiring *w)
{
    if (w->proxy && w->retry && self.port && !cmx_attest_port())
        attest_serve();
}

/* Computes the policy's digest again, because a reload may change the sections that the policy depends on. */
static cmx_err attest_reload(struct wiring *w, const struct agent_config *next, struct cmx_why *why)
{
    (void)why;
    if (w->config->attest.enabled)
        note_policy(next);
    return CMX_OK;
}

static void attest_stop(struct wiring *w)
{
    (void)w;
    cmx_attest_stop();
}

/* Writes why attestation does not work. False: it works, or is not configured. */
static bool attest_problem(struct cmx_why *why)
{
    cmx_port_mutex_lock(&self.lock);
    *why = self.off.text[0] ? self.off : self.image_why;
    cmx_port_mutex_unlock(&self.lock);
    return why->text[0] != '\0';
}

static void attest_text(const struct wiring *w, struct cmx_buf *out)
{
    struct cmx_why why;

    (void)w;
    if (attest_problem(&why))
        cmx_buf_printf(out, "attestation: %s\n", why.text);
}

static void attest_json(const struct wiring *w, struct cmx_json *j)
{
    struct cmx_why why;

    (void)w;
    cmx_json_object(j, "attest");
    cmx_json_bool(j, "enabled", cmx_attest_port() != 0);
    cmx_json_u64(j, "port", cmx_attest_port());
    identity_json(j);
    if (attest_problem(&why))
        cmx_json_str(j, "error", why.text);
    cmx_json_end(j);
}

const struct module attest_module = {.name = "attest",
                                     .prepare = attest_prepare,
                                     .plan = attest_plan,
                                     .start = attest_start,
                                     .reload = attest_reload,
                                     .turn = attest_turn,
                                     .stop = attest_stop,
                                     .json = attest_json,
                                     .text = attest_text};
