/* attest_board - for tests: a device that has only the attestation service, a flash file and a hardware key.
 *
 *     attest_board FLASH PORT (--efuse FILE [--silicon FILE] | --keyfile FILE | --tpm TCTI HANDLE)
 *                  [--gateway PORT USER PIN REMOTE_PORT]
 *
 * --silicon: FILE has the bits of a read-protected key, which the eFuse file lacks (default: private_key.bin).
 * --gateway: logs in to an sshd on 127.0.0.1 with the key derived from the hardware key and forwards REMOTE_PORT to the
 * service. Environment: BULK="LOCAL REMOTE" forwards one more port in the same session; FLASH_US=N delays each flash
 * read by N us, as on a real chip. Prints "listening PORT" when the service accepts connections, and at exit "heap
 * PEAK", the peak number of bytes allocated since then. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "board/idf/efuse.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/why.h"
#include "cmxsafe/device/attest_service.h"
#include "cmxsafe/identity/identity.h"
#include "cmxsafe/proxy/proxy.h"
#include "port/linux/hw_key.h"
#include "port/linux/linux_port.h"

static const uint8_t *flash;
static uint32_t flash_len;
static struct cmx_hw_key *key;
static struct cmx_efuse fuses;
static struct cmx_proxy *proxy;
static unsigned flash_us;

static void die(const char *what, const char *why)
{
    fprintf(stderr, "attest_board: %s: %s\n", what, why);
    exit(1);
}

static uint32_t flash_size(void *arg)
{
    (void)arg;
    return flash_len;
}

static cmx_err flash_read(void *arg, uint32_t offset, void *out, size_t len)
{
    (void)arg;
    if (offset > flash_len || len > flash_len - offset)
        return CMX_EINVAL;
    memcpy(out, flash + offset, len);
    if (flash_us)
        usleep(flash_us);
    return CMX_OK;
}

static cmx_key_kind key_kind(void *arg)
{
    (void)arg;
    return cmx_hw_key_kind(key);
}

static cmx_err hw_hmac(void *arg, const void *msg, size_t len, uint8_t out[32])
{
    (void)arg;
    return cmx_hw_key_hmac(key, msg, len, out);
}

static void facts(struct cmx_evidence *e)
{
    struct cmx_context_status st;

    strcpy(e->hw_model, "ESP32-S3");
    strcpy(e->sw_name, "attest_board");
    strcpy(e->sw_version, "1.0");
    strcpy(e->slot, "ota_0");
    strcpy(e->slot_state, "valid");
    e->boot_count = 7;
    e->secure_boot = cmx_efuse_secure_boot(&fuses);
    e->flash_encryption = cmx_efuse_flash_encryption(&fuses);
    e->debug = cmx_efuse_debug(&fuses, CMX_EFUSE_ESP32S3);
    if (!proxy || !cmx_proxy_status(proxy, &st, 1))
        return;
    e->has_gateway = st.has_host_key;
    memcpy(e->gateway, st.host_key, sizeof e->gateway);
    e->session_len = st.session_id_len;
    memcpy(e->session, st.session_id, st.session_id_len);
    snprintf(e->key_exchange, sizeof e->key_exchange, "%s", st.key_exchange ? st.key_exchange : "");
}

static void map_flash(const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY);
    void *p;

    if (fd < 0 || fstat(fd, &st) != 0)
        die(path, "cannot be opened");
    p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (p == MAP_FAILED)
        die(path, "cannot be mapped");
    flash = p;
    flash_len = (uint32_t)st.st_size;
}

static void open_key(int argc, char **argv)
{
    const char *silicon = argc > 6 && strcmp(argv[5], "--silicon") == 0 ? argv[6] : "private_key.bin";
    struct cmx_why why = {"usage: (--efuse FILE [--silicon FILE] | --keyfile FILE | --tpm TCTI HANDLE)"};
    cmx_err err = CMX_EINVAL;

    if (argc > 4 && strcmp(argv[3], "--efuse") == 0) {
        err = cmx_efuse_open_hw_key(argv[4], silicon, &key, &why);
        if (!err)
            err = cmx_efuse_load(argv[4], &fuses, &why);
    } else if (argc > 4 && strcmp(argv[3], "--keyfile") == 0) {
        err = cmx_hw_key_open_file(argv[4], &key, &why);
    } else if (argc > 5 && strcmp(argv[3], "--tpm") == 0) {
        err = cmx_tpm_hmac_open(argv[4], (uint32_t)strtoul(argv[5], NULL, 0), &key, &why);
    }
    if (err)
        die("hardware key", why.text);
}

/* Fills *c with the context "bulk" from the environment variable BULK ("LOCAL_PORT REMOTE_PORT") and returns 1; returns
 * 0 if BULK is not set. */
static size_t add_bulk(struct cmx_context *c)
{
    const char *bulk = getenv("BULK");
    char *rest;

    if (!bulk)
        return 0;
    *c = (struct cmx_context){.name = "bulk", .session = "one", .high_bw = true};
    c->local_port = (uint16_t)strtoul(bulk, &rest, 10);
    c->remote_port = (uint16_t)strtoul(rest, NULL, 10);
    return 1;
}

static struct cmx_proxy *start_gateway(int argc, char **argv, uint16_t port)
{
    struct cmx_gateway g = {.host = "127.0.0.1", .key_load = cmx_identity_key_load, .want_session_id = true};
    struct cmx_context c[2] = {{.name = "attestationPort", .session = "one", .local_port = port}};
    static const char *pin;
    struct cmx_proxy *p;
    struct cmx_why why = {""};

    if (argc < 6 || strcmp(argv[argc - 5], "--gateway") != 0)
        return NULL;
    g.port = (uint16_t)strtoul(argv[argc - 4], NULL, 10);
    g.user = argv[argc - 3];
    pin = argv[argc - 2];
    g.host_keys = &pin;
    g.n_host_keys = 1;
    g.backoff_base_ms = 100;
    c[0].remote_port = (uint16_t)strtoul(argv[argc - 1], NULL, 10);
    if (cmx_proxy_create(&p, &g, c, 1 + add_bulk(&c[1]), NULL, 0, &why))
        die("gateway", why.text);
    return p;
}

int main(int argc, char **argv)
{
    static const struct cmx_linux_device device = {
        .flash_size = flash_size, .flash_read = flash_read, .hw_key_kind = key_kind, .hw_hmac = hw_hmac};
    struct cmx_mem_stats before, after;
    uint16_t port;
    sigset_t set;
    int sig;

    if (argc < 5)
        die("usage", "attest_board FLASH PORT KEY");
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    if (getenv("FLASH_US"))
        flash_us = (unsigned)strtoul(getenv("FLASH_US"), NULL, 10);
    map_flash(argv[1]);
    open_key(argc, argv);
    cmx_linux_set_device(&device);
    cmx_attest_set_facts(facts);
    port = (uint16_t)strtoul(argv[2], NULL, 10);
    proxy = start_gateway(argc, argv, port);
    if (cmx_attest_start(NULL, port))
        die("service", "does not start");
    cmx_mem_stats(&before);
    cmx_mem_reset_peak();
    printf("listening %s\n", argv[2]);
    fflush(stdout);
    sigwait(&set, &sig);
    cmx_mem_stats(&after);
    printf("heap %zu\n", after.peak_bytes - before.live_bytes);
    cmx_proxy_destroy(proxy);
    cmx_attest_stop();
    cmx_hw_key_close(key);
    return 0;
}
