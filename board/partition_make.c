/* partition_make.c - makes a partition table. Format: ESP-IDF's gen_esp32part.py and esp_flash_partitions.h. */
#include <openssl/evp.h>
#include <string.h>

#include "board/board.h"
#include "cmxsafe/ota/bytes.h"

#define SLOT_ALIGN 0x10000u /* an application begins on a page of the flash cache */

enum { TYPE_APP = 0, TYPE_DATA = 1 };

struct partition {
    const char *label;
    uint8_t type, subtype;
    uint32_t offset, size;
};

static void put_entry(uint8_t *at, const struct partition *p)
{
    memset(at, 0, CMX_PARTITION_ENTRY_LEN);
    cmx_put_le16(at, 0x50aa);
    at[2] = p->type;
    at[3] = p->subtype;
    cmx_put_le32(at + 4, p->offset);
    cmx_put_le32(at + 8, p->size);
    memcpy(at + 12, p->label, strlen(p->label));
}

/* Writes to `at` the MD5 of the entries, which lie in out up to `at`. */
static cmx_err put_md5(const uint8_t *out, uint8_t *at)
{
    unsigned len = 0;

    cmx_put_le16(at, 0xebeb);
    return EVP_Digest(out, (size_t)(at - out), at + 16, &len, EVP_md5(), NULL) == 1 && len == 16 ? CMX_OK : CMX_EIO;
}

uint32_t board_slot_size(uint32_t flash_size)
{
    return (flash_size - BOARD_APP_AT) / 2 / SLOT_ALIGN * SLOT_ALIGN;
}

cmx_err board_ptable_make(uint8_t out[CMX_PARTITION_TABLE_LEN], uint32_t flash_size)
{
    const uint32_t slot = board_slot_size(flash_size);
    const struct partition table[] = {
        {"nvs", TYPE_DATA, 0x02, 0x9000, 0x4000},
        {"otadata", TYPE_DATA, 0x00, 0xd000, 0x2000},
        {"phy_init", TYPE_DATA, 0x01, 0xf000, 0x1000},
        {"ota_0", TYPE_APP, 0x10, BOARD_APP_AT, slot},
        {"ota_1", TYPE_APP, 0x11, BOARD_APP_AT + slot, slot},
    };
    uint8_t *at = out;

    if (flash_size < 1u << 20 || flash_size > 128u << 20 || (flash_size & (flash_size - 1)))
        return CMX_EINVAL;
    memset(out, 0xff, CMX_PARTITION_TABLE_LEN);
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++, at += CMX_PARTITION_ENTRY_LEN)
        put_entry(at, &table[i]);
    return put_md5(out, at);
}
