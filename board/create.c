/* create.c - `cmxsafe-board create DIR`: makes a board with a blank eFuse and a factory image. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "board/board.h"
#include "board/idf/efuse.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/version.h"
#include "port/linux/file_read.h"

#define COMMAND "cmxsafe-board create"

static const char about[] = "Makes a board: flash.bin with ESP-IDF's partition table (nvs, otadata, phy_init, ota_0, "
                            "ota_1), a blank efuse.bin, and board.ini, which names the gateway.";

static const char notes[] =
    "To burn a hardware key, run these commands in DIR. The virtual board reads the key's bits from private_key.bin:\n"
    "  openssl rand -out private_key.bin 32\n"
    "  espefuse --chip esp32s3 --virt --path-efuse-file efuse.bin burn_key BLOCK_KEY3 private_key.bin HMAC_UP";

const char *const board_chips[] = {
    [CMX_EFUSE_ESP32S2] = "esp32s2", [CMX_EFUSE_ESP32S3] = "esp32s3", [CMX_EFUSE_ESP32C3] = "esp32c3",
    [CMX_EFUSE_ESP32C6] = "esp32c6", [CMX_EFUSE_ESP32H2] = "esp32h2", NULL};

static const char ini_template[] =
    "; board.ini - a virtual board. `cmxsafe-board run` reads it; docs/BOARD.md describes every key.\n"
    "[board]\n"
    "chip = %s\n"
    "flash = flash.bin\n"
    "efuse = efuse.bin\n"
    "efuse_key = private_key.bin\n"
    "; Added to each service's port: needed if the board shares the machine's loopback and 80 or 81 is in use.\n"
    "port_offset = 0\n"
    "\n"
    "[gateway]\n"
    "; One gateway, or several: gw1.example, gw2.example:2222 > backup.example\n"
    ";host = gateway.example\n"
    ";port = 22\n"
    ";user = camera-1\n"
    "; What `ssh-keygen -lf ssh_host_ed25519_key.pub` prints at the gateway. May be repeated.\n"
    ";host_key = SHA256:...\n"
    ";key_file = id_ed25519\n"
    "\n"
    "; Overrides the application's context for port 81.\n"
    ";[context stream]\n"
    ";local_port = 81\n"
    ";remote_port = 8081\n"
    "\n"
    "[ota]\n"
    "; The key that verifies updates, as `cmxsafe image key --key KEY` prints it.\n"
    "; Without it unsigned images are accepted.\n"
    ";public_key = 04...\n"
    "\n"
    "[net]\n"
    "; kernel: the machine's sockets. tap:NAME: lwIP over that TAP device.\n"
    "mode = kernel\n"
    ";address = 10.0.0.2/24\n"
    ";gateway = 10.0.0.1\n"
    ";address6 = fd00::2/64\n";

struct options {
    const char *dir;
    const char *chip;
    const char *image;
    uint32_t flash_size;
};

/* Parses a size such as "4MB". */
static cmx_err parse_size(const char *text, uint32_t *out)
{
    char number[8];
    size_t len = strspn(text, "0123456789");
    uint64_t mb;

    if (len == 0 || len >= sizeof number || strcmp(text + len, "MB") != 0)
        return CMX_EFORMAT;
    memcpy(number, text, len);
    number[len] = '\0';
    if (cmx_text_u64(number, 1, 128, &mb) != CMX_OK || (mb & (mb - 1)))
        return CMX_EINVAL;
    *out = (uint32_t)mb << 20;
    return CMX_OK;
}

/* Creates a file. Never replaces an existing file, which may hold a key. */
static int write_file(const char *dir, const char *name, const void *data, size_t len)
{
    char path[512];
    ssize_t n;
    int fd;

    if ((size_t)snprintf(path, sizeof path, "%s/%s", dir, name) >= sizeof path)
        return cli_fail(name, "the path is too long", NULL);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return cli_fail(path, strerror(errno), errno == EEXIST ? "choose another folder" : NULL);
    n = write(fd, data, len);
    if (close(fd) == 0 && n >= 0 && (size_t)n == len)
        return CLI_OK;
    cli_fail(path, n < 0 ? strerror(errno) : "no room left", NULL);
    (void)unlink(path);
    return CLI_FAILED;
}

static int place_image(uint8_t *flash, uint32_t size, const char *path)
{
    FILE *f = cmx_file_open(path);
    size_t n;
    bool more;

    if (!f)
        return cli_fail(path, strerror(errno), NULL);
    n = fread(flash + BOARD_APP_AT, 1, board_slot_size(size), f);
    more = fgetc(f) != EOF;
    fclose(f);
    if (n == 0 || more)
        return cli_fail(path, n ? "larger than the slot" : "empty or unreadable", NULL);
    return CLI_OK;
}

static int place_factory_image(uint8_t *flash, const char *chip)
{
    uint8_t image[BOARD_FACTORY_LEN];
    size_t len;
    cmx_err err = board_factory_image(image, chip, CMX_VERSION, &len);

    if (err != CMX_OK)
        return cli_fail("flash.bin", cmx_err_text(err), NULL);
    memcpy(flash + BOARD_APP_AT, image, len);
    return CLI_OK;
}

static int write_flash(const struct options *o)
{
    uint8_t *flash = cmx_mem_alloc(o->flash_size);
    int rc = CLI_OK;

    if (!flash)
        return cli_fail("flash.bin", cmx_err_text(CMX_ENOMEM), NULL);
    memset(flash, 0xff, o->flash_size);
    if (board_ptable_make(flash + CMX_PARTITION_TABLE_AT, o->flash_size) != CMX_OK)
        rc = cli_fail("flash.bin", "not a valid flash size", "choose 4MB");
    if (rc == CLI_OK)
        rc = o->image ? place_image(flash, o->flash_size, o->image) : place_factory_image(flash, o->chip);
    if (rc == CLI_OK)
        rc = write_file(o->dir, "flash.bin", flash, o->flash_size);
    cmx_mem_free(flash);
    return rc;
}

static void remove_file(const char *dir, const char *name)
{
    char path[512];

    snprintf(path, sizeof path, "%s/%s", dir, name);
    (void)unlink(path);
}

/* A board that could not be completed is removed, so that the command can be repeated. */
static int create(const struct options *o)
{
    static const uint8_t blank[CMX_EFUSE_FILE_LEN]; /* all bits 0: no bit is burned */
    char ini[sizeof ini_template + 32];
    int n = snprintf(ini, sizeof ini, ini_template, o->chip);
    bool made = mkdir(o->dir, 0700) == 0;
    int rc;

    if (!made && errno != EEXIST)
        return cli_fail(o->dir, strerror(errno), NULL);
    rc = write_file(o->dir, "board.ini", ini, (size_t)n);
    if (rc == CLI_OK) {
        rc = write_file(o->dir, "efuse.bin", blank, sizeof blank);
        if (rc == CLI_OK) {
            rc = write_flash(o);
            if (rc != CLI_OK)
                remove_file(o->dir, "efuse.bin");
        }
        if (rc != CLI_OK)
            remove_file(o->dir, "board.ini");
    }
    if (rc != CLI_OK && made)
        (void)rmdir(o->dir);
    if (rc == CLI_OK)
        printf("%s: %s with %u MB of flash; name its gateway in %s/board.ini\n", o->dir, o->chip, o->flash_size >> 20,
               o->dir);
    return rc;
}

int board_cmd_create(int argc, char **argv)
{
    struct options o = {.chip = "esp32s3"};
    const char *size = "4MB";
    const struct cli_option options[] = {
        CLI_TEXT("flash-size", "SIZE", "size of the flash: 1MB, 2MB, 4MB, ... or 128MB", &size),
        CLI_TEXT("chip", "NAME", "the chip", &o.chip, .choices = board_chips),
        CLI_TEXT("image", "FILE",
                 "the application image for ota_0; default: an image that reports this program's version", &o.image),
    };
    struct cli_line line = CLI_LINE(COMMAND, "DIR", about, 1, 1, options);
    int status;

    line.notes = notes;
    if (cli_parse(&line, argc, argv, &status))
        return status;
    if (parse_size(size, &o.flash_size) != CMX_OK)
        return cli_usage(COMMAND, "--flash-size '%s': give 1MB, 2MB, 4MB, ... or 128MB", size);
    o.dir = line.operand[0];
    return create(&o);
}
