/* create.c - `cmxsafe-board create DIR`: a board as it leaves the factory. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "board.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/ota/image.h"
#include "cmxsafe/version.h"

#define EFUSE_LEN 512 /* what `espefuse --virt --path-efuse-file` keeps; zeros are blank */

static const char help[] =
    "usage: cmxsafe-board create DIR [OPTION ...]\n"
    "\n"
    "Makes a board: flash.bin with ESP-IDF's partition table (nvs, otadata, phy_init, ota_0, ota_1), a blank "
    "efuse.bin,\n"
    "and board.ini, where its gateway is named.\n"
    "\n"
    "  --flash-size SIZE  1MB, 2MB, 4MB (default), 8MB, ... 128MB\n"
    "  --chip NAME        esp32s3 (default), esp32s2, esp32c3, esp32c6 or esp32h2\n"
    "  --image FILE       an application image for ota_0 (default: one that says it is this program)\n"
    "\n"
    "A hardware key is burned as on a real board, in DIR, where private_key.bin then stands for the bits in the "
    "silicon:\n"
    "  openssl rand -out private_key.bin 32\n"
    "  espefuse --chip esp32s3 --virt --path-efuse-file efuse.bin burn_key BLOCK_KEY3 private_key.bin HMAC_UP\n";

static const char ini_template[] =
    "; board.ini - a virtual board. `cmxsafe-board run` reads it; docs/BOARD.md says what can stand here.\n"
    "[board]\n"
    "chip = %s\n"
    "flash = flash.bin\n"
    "efuse = efuse.bin\n"
    "efuse_key = private_key.bin\n"
    "; Services listen at their port plus this, where the board shares the machine's loopback and 80 and 81 are not "
    "free.\n"
    "port_offset = 0\n"
    "\n"
    "[gateway]\n"
    ";host = gateway.example\n"
    ";port = 22\n"
    ";user = camera-1\n"
    "; What `ssh-keygen -lf ssh_host_ed25519_key.pub` prints at the gateway. May stand more than once.\n"
    ";host_key = SHA256:...\n"
    ";key_file = id_ed25519\n"
    "\n"
    "; Overrides the application's context for port 81.\n"
    ";[context stream]\n"
    ";local_port = 81\n"
    ";remote_port = 8081\n"
    "\n"
    "[ota]\n"
    "; Who may sign updates: what `cmxsafe image key --key KEY` prints. Without it unsigned images are accepted.\n"
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

/* "4MB". */
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

static bool chip_is_known(const char *chip)
{
    static const char *const chips[] = {"esp32s2", "esp32s3", "esp32c3", "esp32c6", "esp32h2"};

    for (size_t i = 0; i < sizeof chips / sizeof chips[0]; i++)
        if (strcmp(chip, chips[i]) == 0)
            return true;
    return false;
}

/* A new file of one's own; never over an old one, which may hold a key. */
static int write_file(const char *dir, const char *name, const void *data, size_t len)
{
    char path[512];
    ssize_t n;
    int fd;

    if ((size_t)snprintf(path, sizeof path, "%s/%s", dir, name) >= sizeof path)
        return board_fail(name, "the path is too long", NULL);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return board_fail(path, strerror(errno), errno == EEXIST ? "choose another folder" : NULL);
    n = write(fd, data, len);
    if (close(fd) || n < 0 || (size_t)n != len)
        return board_fail(path, n < 0 ? strerror(errno) : "no room left", NULL);
    return BOARD_OK;
}

static int place_image(uint8_t *flash, uint32_t size, const char *path)
{
    FILE *f = fopen(path, "re");
    size_t n;
    bool more;

    if (!f)
        return board_fail(path, strerror(errno), NULL);
    n = fread(flash + BOARD_APP_AT, 1, board_slot_size(size), f);
    more = fgetc(f) != EOF;
    fclose(f);
    if (n == 0 || more)
        return board_fail(path, n ? "larger than the slot" : "empty or unreadable", NULL);
    return BOARD_OK;
}

static int place_factory_image(uint8_t *flash, const char *chip)
{
    uint8_t image[BOARD_FACTORY_LEN];
    uint16_t chip_id;
    size_t len;
    cmx_err err = cmx_image_chip_id(chip, &chip_id);

    if (err == CMX_OK)
        err = board_factory_image(image, chip_id, CMX_VERSION, &len);
    if (err != CMX_OK)
        return board_fail("flash.bin", cmx_err_text(err), NULL);
    memcpy(flash + BOARD_APP_AT, image, len);
    return BOARD_OK;
}

static int write_flash(const struct options *o)
{
    uint8_t *flash = cmx_mem_alloc(o->flash_size);
    int rc = BOARD_OK;

    if (!flash)
        return board_fail("flash.bin", cmx_err_text(CMX_ENOMEM), NULL);
    memset(flash, 0xff, o->flash_size);
    if (board_ptable_make(flash + BOARD_PTABLE_AT, o->flash_size) != CMX_OK)
        rc = board_fail("flash.bin", "no partition table for that size", "choose 4MB");
    if (rc == BOARD_OK)
        rc = o->image ? place_image(flash, o->flash_size, o->image) : place_factory_image(flash, o->chip);
    if (rc == BOARD_OK)
        rc = write_file(o->dir, "flash.bin", flash, o->flash_size);
    cmx_mem_free(flash);
    return rc;
}

static int create(const struct options *o)
{
    static const uint8_t blank[EFUSE_LEN];
    char ini[sizeof ini_template + 32];
    int n = snprintf(ini, sizeof ini, ini_template, o->chip);
    int rc;

    if (mkdir(o->dir, 0700) && errno != EEXIST)
        return board_fail(o->dir, strerror(errno), NULL);
    rc = write_file(o->dir, "board.ini", ini, (size_t)n);
    rc = rc ? rc : write_file(o->dir, "efuse.bin", blank, sizeof blank);
    rc = rc ? rc : write_flash(o);
    if (rc == BOARD_OK)
        printf("%s: %s with %u MB of flash; name its gateway in %s/board.ini\n", o->dir, o->chip, o->flash_size >> 20,
               o->dir);
    return rc;
}

int board_cmd_create(int argc, char **argv)
{
    static const struct option longopts[] = {
        {"flash-size", required_argument, NULL, 'f'},
        {"chip", required_argument, NULL, 'c'},
        {"image", required_argument, NULL, 'i'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    struct options o = {.chip = "esp32s3", .flash_size = 4u << 20};
    int c;

    opterr = 0;
    while ((c = getopt_long(argc, argv, "h", longopts, NULL)) != -1)
        switch (c) {
        case 'f':
            if (parse_size(optarg, &o.flash_size) != CMX_OK)
                return board_usage("flash size '%s': not 1MB, 2MB, 4MB ... 128MB", optarg);
            break;
        case 'c':
            if (!chip_is_known(optarg))
                return board_usage("chip '%s': not esp32s2, esp32s3, esp32c3, esp32c6 or esp32h2", optarg);
            o.chip = optarg;
            break;
        case 'i':
            o.image = optarg;
            break;
        case 'h':
            fputs(help, stdout);
            return BOARD_OK;
        default:
            return board_usage("create: option '%s' is not known or lacks its value", argv[optind - 1]);
        }
    if (optind + 1 != argc)
        return board_usage("create: one folder is needed");
    o.dir = argv[optind];
    return create(&o);
}
