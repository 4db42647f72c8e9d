/* ota_board - for tests: a device that has only the update service and a flash file. It chooses the image as ESP-IDF's
 * bootloader does and runs the service. When the service restarts the device, both steps repeat in the same process.
 *
 *     ota_board FLASH PORT [--key FILE] [--init IMAGE] [--chip N] [--deadline MS] [--idle S] [--up FILE] [--slow US]
 *
 * --init creates a 4 MB flash that runs IMAGE. --up: sessions count as up while FILE exists (without --up: always).
 * --deadline: a new image is rolled back unless it is confirmed within MS milliseconds. --idle: an upload is ended if
 * it sends nothing for S seconds. --slow: each flash operation takes US microseconds. Prints "listening PORT" when the
 * service accepts connections, and "heap PEAK" before each restart and at exit. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "board/idf/slots_flash.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/ota/bytes.h"
#include "cmxsafe/ota/service.h"
#include "port/linux/linux_port.h"
#include "tests/support/partition_entry.h"

enum { FLASH = 4 << 20, OTADATA = 0xe000, SLOT_0 = 0x10000, SLOT_LEN = 0x1e0000 };

static uint8_t *flash;
static unsigned long slow_us;
static volatile sig_atomic_t stop, restart;

static uint32_t flash_size(void *arg)
{
    (void)arg;
    return FLASH;
}

static cmx_err flash_read(void *arg, uint32_t offset, void *out, size_t len)
{
    (void)arg;
    memcpy(out, flash + offset, len);
    return CMX_OK;
}

static cmx_err flash_write(void *arg, uint32_t offset, const void *data, size_t len)
{
    const uint8_t *p = data;

    (void)arg;
    for (size_t i = 0; i < len; i++)
        flash[offset + i] &= p[i];
    usleep((useconds_t)slow_us);
    return CMX_OK;
}

static cmx_err flash_erase(void *arg, uint32_t offset, size_t len)
{
    (void)arg;
    memset(flash + offset, 0xff, len);
    usleep((useconds_t)slow_us);
    return CMX_OK;
}

static cmx_err on_restart(struct cmx_why *why)
{
    (void)why;
    restart = 1;
    return CMX_OK;
}

static void on_signal(int sig)
{
    (void)sig;
    stop = 1;
}

static void die(const char *what)
{
    fprintf(stderr, "ota_board: %s\n", what);
    exit(1);
}

static size_t file_read(const char *path, void *out, size_t cap)
{
    FILE *f = fopen(path, "rb");
    size_t n = f ? fread(out, 1, cap, f) : 0;

    if (!f || n == 0)
        die(path);
    fclose(f);
    return n;
}

static void format(const char *image)
{
    memset(flash, 0xff, FLASH);
    partition_entry(flash, 0, 1, 2, 0x9000, 0x5000);
    partition_entry(flash, 1, 1, 0, OTADATA, 0x2000);
    partition_entry(flash, 2, 0, 0x10, SLOT_0, SLOT_LEN);
    partition_entry(flash, 3, 0, 0x11, SLOT_0 + SLOT_LEN, SLOT_LEN);
    (void)file_read(image, flash + SLOT_0, SLOT_LEN);
}

static void run(const char *up, struct cmx_ota_config *config, uint16_t *port)
{
    struct cmx_slots_flash slots;
    struct cmx_boot_report report;
    struct cmx_ota_service *service;
    struct cmx_mem_stats mem;

    if (cmx_slots_flash_open(&slots) != CMX_OK ||
        cmx_slots_flash_boot(&slots, config->policy.chip_id, &report) != CMX_OK)
        die("nothing boots");
    printf("boot slot=%d version=%s pending=%d\n", slots.running, report.info.version, report.pending);
    cmx_slots_flash_interface(&slots, &config->slots);
    config->port = *port;
    cmx_mem_reset_peak();
    if (cmx_ota_start(&service, config) != CMX_OK)
        die("the service does not start");
    *port = cmx_ota_port(service); /* the port is unchanged after a restart */
    printf("listening %u\n", *port);
    fflush(stdout);
    while (!stop && !restart) {
        const struct cmx_confirm_facts facts = {.sessions_up = !up || access(up, F_OK) == 0, .isolation_active = true};

        (void)cmx_ota_watch(service, &facts);
        usleep(20000);
    }
    restart = 0;
    cmx_mem_stats(&mem);
    cmx_ota_stop(service);
    printf("heap %zu\n", mem.peak_bytes);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    struct cmx_ota_config config = {.name = "camera-17", .policy = {.chip_id = 5}, .restart = on_restart};
    const struct cmx_linux_device device = {
        .flash_size = flash_size, .flash_read = flash_read, .flash_write = flash_write, .flash_erase = flash_erase};
    const char *up = NULL, *init = NULL;
    char key[4096] = "";
    uint16_t port;
    int fd;

    if (argc < 3)
        die("usage: ota_board FLASH PORT ...");
    port = (uint16_t)strtoul(argv[2], NULL, 10);
    for (int i = 3; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--key") == 0) {
            key[file_read(argv[i + 1], key, sizeof key - 1)] = '\0';
            /* A hexadecimal key ends at the first newline; a PEM key, which begins with '-', has several lines. */
            key[strcspn(key, "-\n") ? strcspn(key, "\n") : strlen(key)] = '\0';
            if (cmx_ota_keys_add(&config.policy.keys, key) != CMX_OK)
                die("--key: not a public key");
        } else if (strcmp(argv[i], "--init") == 0) {
            init = argv[i + 1];
        } else if (strcmp(argv[i], "--chip") == 0) {
            config.policy.chip_id = (uint16_t)strtoul(argv[i + 1], NULL, 0);
        } else if (strcmp(argv[i], "--deadline") == 0) {
            config.confirm_deadline_ms = (uint32_t)strtoul(argv[i + 1], NULL, 10);
        } else if (strcmp(argv[i], "--idle") == 0) {
            config.idle_timeout_s = (unsigned)strtoul(argv[i + 1], NULL, 10);
        } else if (strcmp(argv[i], "--up") == 0) {
            up = argv[i + 1];
        } else if (strcmp(argv[i], "--slow") == 0) {
            slow_us = strtoul(argv[i + 1], NULL, 10);
        }
    }
    fd = open(argv[1], O_RDWR | O_CREAT, 0600);
    if (fd < 0 || ftruncate(fd, FLASH) != 0)
        die(argv[1]);
    flash = mmap(NULL, FLASH, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (flash == MAP_FAILED)
        die("mmap");
    if (init)
        format(init);
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    cmx_linux_set_device(&device);
    while (!stop)
        run(up, &config, &port);
    munmap(flash, FLASH);
    close(fd);
    return 0;
}
