/* hardware.c - the board's eFuse (the hardware key that port.h's functions use, and the facts about the chip for
 * evidence), and the stored secret. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "board/board.h"
#include "board/idf/efuse.h"
#include "cmxsafe/core/log.h"
#include "cmxsafe/core/secret.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/device/attest_facts.h"
#include "port/linux/file_read.h"
#include "port/linux/hw_key.h"
#include "port/linux/new_file.h"

#define TAG "efuse"
#define BOOTS_FILE "boots" /* the number of boots, which a chip keeps in NVS */
#define SECRET_FILE "ssh_secret.bin"

static struct cmx_hw_key *key; /* opened once; NULL: there is no usable key */

cmx_key_kind board_key_kind(void *arg)
{
    (void)arg;
    return cmx_hw_key_kind(key);
}

cmx_err board_key_hmac(void *arg, const void *msg, size_t len, uint8_t out[CMX_SHA256_LEN])
{
    (void)arg;
    return cmx_hw_key_hmac(key, msg, len, out);
}

void board_hardware_close(void)
{
    cmx_hw_key_close(key);
    key = NULL;
}

/* ---- the secret, in NVS on a chip ---- */

cmx_err board_secret_read(void *arg, uint8_t out[CMX_PORT_SECRET_LEN])
{
    int fd = open(SECRET_FILE, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    (void)arg;
    if (fd < 0)
        return cmx_file_error(errno);
    n = read(fd, out, CMX_PORT_SECRET_LEN);
    close(fd);
    if (n == CMX_PORT_SECRET_LEN)
        return CMX_OK;
    cmx_secret_wipe(out, CMX_PORT_SECRET_LEN);
    return CMX_EIO;
}

/* Writes an unnamed file and then links it, so that a process that is killed leaves the complete secret or none. */
cmx_err board_secret_create(void *arg, const uint8_t secret[CMX_PORT_SECRET_LEN])
{
    int fd = open(".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
    char name[32];
    cmx_err err = CMX_OK;

    (void)arg;
    if (fd < 0)
        return cmx_file_error(errno);
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    if (write(fd, secret, CMX_PORT_SECRET_LEN) != CMX_PORT_SECRET_LEN || fsync(fd) != 0)
        err = CMX_EIO;
    else if (linkat(AT_FDCWD, name, AT_FDCWD, SECRET_FILE, AT_SYMLINK_FOLLOW) != 0)
        err = cmx_file_error(errno);
    close(fd);
    return err;
}

/* ---- the eFuse ---- */

static cmx_efuse_chip chip_of(const char *name)
{
    for (unsigned i = 0; board_chips[i]; i++)
        if (strcmp(name, board_chips[i]) == 0)
            return (cmx_efuse_chip)i;
    return CMX_EFUSE_ESP32S3;
}

/* Returns the chip's name as in a manifest: "ESP32-S3" for "esp32s3". */
static const char *model_of(const char *chip)
{
    static char model[16];

    if (strlen(chip) != 7)
        return chip;
    snprintf(model, sizeof model, "ESP32-%c%c", toupper((unsigned char)chip[5]), chip[6]);
    return model;
}

static uint32_t count_boot(void)
{
    char text[12] = "0";
    uint64_t boots = 0;
    FILE *f = cmx_file_open(BOOTS_FILE);
    struct cmx_new_file next;
    bool kept = false;

    if (f) {
        if (fgets(text, sizeof text, f))
            text[strcspn(text, "\n")] = '\0';
        fclose(f);
    }
    if (cmx_text_u64(text, 0, UINT32_MAX - 1, &boots) != CMX_OK)
        boots = 0;
    if (cmx_new_file_open(&next, BOOTS_FILE, NULL) == CMX_OK) {
        (void)fprintf(next.f, "%u\n", (unsigned)boots + 1); /* cmx_new_file_close reports a failed write */
        kept = cmx_new_file_close(&next, true) == CMX_OK;
    }
    if (!kept)
        cmx_log(CMX_LOG_WARN, TAG, "the number of boots cannot be stored in " BOOTS_FILE);
    return (uint32_t)boots + 1;
}

void board_hardware_open(const struct board_config *config)
{
    struct cmx_device_platform_facts facts = {.hw_model = model_of(config->chip), .boot_count = count_boot()};
    cmx_efuse_chip chip = chip_of(config->chip);
    struct cmx_efuse fuses;
    struct cmx_why why = {""};

    if (cmx_efuse_open_hw_key(config->efuse, config->efuse_key, &key, &why))
        cmx_log(CMX_LOG_WARN, TAG, "no hardware key: %s", why.text);
    if (cmx_efuse_load(config->efuse, &fuses, &why) == CMX_OK) {
        facts.secure_boot = cmx_efuse_secure_boot(&fuses);
        facts.flash_encryption = cmx_efuse_flash_encryption(&fuses);
        facts.debug = cmx_efuse_debug(&fuses, chip);
        facts.secure_version = cmx_efuse_secure_version(&fuses, chip);
    }
    cmx_device_set_platform_facts(&facts);
}
