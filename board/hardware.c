/* hardware.c - the board's eFuse: the hardware key behind port.h, and what evidence says of the chip. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "board.h"
#include "cmxsafe/core/log.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/device/attest_facts.h"
#include "hw_key.h"

#define TAG "efuse"
#define BOOTS_FILE "boots" /* how often the board has booted, as NVS would keep it */

static struct cmx_hw_key *key; /* for as long as the program runs; NULL: no usable one */

cmx_key_kind board_key_kind(void *arg)
{
    (void)arg;
    return cmx_hw_key_kind(key);
}

cmx_err board_key_hmac(void *arg, const void *msg, size_t len, uint8_t out[32])
{
    (void)arg;
    return cmx_hw_key_hmac(key, msg, len, out);
}

void board_hardware_close(void)
{
    cmx_hw_key_close(key);
    key = NULL;
}

static cmx_efuse_chip chip_of(const char *name)
{
    static const char *const names[] = {
        [CMX_EFUSE_ESP32S2] = "esp32s2", [CMX_EFUSE_ESP32S3] = "esp32s3", [CMX_EFUSE_ESP32C3] = "esp32c3",
        [CMX_EFUSE_ESP32C6] = "esp32c6", [CMX_EFUSE_ESP32H2] = "esp32h2",
    };

    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(name, names[i]) == 0)
            return (cmx_efuse_chip)i;
    return CMX_EFUSE_ESP32S3;
}

/* "esp32s3" is "ESP32-S3" to people and in a manifest. */
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
    FILE *f = fopen(BOOTS_FILE, "re");

    if (f) {
        if (fgets(text, sizeof text, f))
            text[strcspn(text, "\n")] = '\0';
        fclose(f);
    }
    if (cmx_text_u64(text, 0, UINT32_MAX - 1, &boots) != CMX_OK)
        boots = 0;
    f = fopen(BOOTS_FILE, "we");
    if (!f || fprintf(f, "%u\n", (unsigned)boots + 1) < 0)
        cmx_log(CMX_LOG_WARN, TAG, "the number of boots cannot be kept");
    if (f)
        fclose(f);
    return (uint32_t)boots + 1;
}

void board_hardware_open(const struct board_config *config)
{
    struct cmx_device_platform_facts facts = {.hw_model = model_of(config->chip), .boot_count = count_boot()};
    cmx_efuse_chip chip = chip_of(config->chip);
    struct cmx_efuse fuses;
    char why[512];

    if (cmx_hw_key_open_efuse(config->efuse, config->efuse_key, &key, why, sizeof why))
        cmx_log(CMX_LOG_WARN, TAG, "no hardware key: %s", why);
    if (cmx_efuse_load(config->efuse, &fuses, why, sizeof why) == CMX_OK) {
        facts.secure_boot = cmx_efuse_secure_boot(&fuses);
        facts.flash_encryption = cmx_efuse_flash_encryption(&fuses);
        facts.debug = cmx_efuse_debug(&fuses, chip);
        facts.secure_version = cmx_efuse_secure_version(&fuses, chip);
    }
    cmx_device_set_platform_facts(&facts);
}
