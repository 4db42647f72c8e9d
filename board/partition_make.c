/* partition_make.c - makes a partition table. Format: ESP-IDF's gen_esp32part.py and esp_flash_partitions.h. */
#include <openssl/evp.h>
#include <string.h>

#include "board/board.h"
#include "cmxsafe/core/buf.h"

#define SLOT_ALIGN 0x10000u /* an application begins on a page of the flash cache */

enum { TYPE_APP = 0, TYPE_DATA = 1 };

struct partition {
    const char *label;
    uint8_t type, subtype;
    uint32_t offset, size;
};

static cmx_err put_le32(struct cmx_buf *b, uint32_t v)
{
    uint8_t bytes[4] = {(uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24)};

    return cmx_buf_put(b, bytes, sizeof bytes);
}

static cmx_err put_entry(struct cmx_buf *b, const struct partition *p)
{
    const uint8_t magic[2] = {0xaa, 0x50};
    char label[16] = "";
    cmx_err err = cmx_buf_put(b, magic, sizeof magic);

    memcpy(label, p->label, strlen(p->label));
    err = err ? err : cmx_buf_put_u8(b, p->type);
    err = err ? err : cmx_buf_put_u8(b, p->subtype);
    err = err ? err : put_le32(b, p->offset);
    err = err ? err : put_le32(b, p->size);
    err = err ? err : cmx_buf_put(b, label, sizeof label);
    return err ? err : put_le32(b, 0); /* the entry's flags */
}

/* Appends the MD5 of the entries before it. */
static cmx_err put_md5(struct cmx_buf *b)
{
    uint8_t entry[32] = {0xeb, 0xeb};
    unsigned len = 0;

    memset(entry + 2, 0xff, 14);
    if (EVP_Digest(cmx_buf_data(b), cmx_buf_len(b), entry + 16, &len, EVP_md5(), NULL) != 1 || len != 16)
        return CMX_EIO;
    return cmx_buf_put(b, entry, sizeof entry);
}

uint32_t board_slot_size(uint32_t flash_size)
{
    return (flash_size - BOARD_APP_AT) / 2 / SLOT_ALIGN * SLOT_ALIGN;
}

cmx_err board_ptable_make(uint8_t out[BOARD_PTABLE_LEN], uint32_t flash_size)
{
    const uint32_t slot = board_slot_size(flash_size);
    const struct partition table[] = {
        {"nvs", TYPE_DATA, 0x02, 0x9000, 0x4000},
        {"otadata", TYPE_DATA, 0x00, 0xd000, 0x2000},
        {"phy_init", TYPE_DATA, 0x01, 0xf000, 0x1000},
        {"ota_0", TYPE_APP, 0x10, BOARD_APP_AT, slot},
        {"ota_1", TYPE_APP, 0x11, BOARD_APP_AT + slot, slot},
    };
    struct cmx_buf b;
    cmx_err err = CMX_OK;

    if (flash_size < 1u << 20 || flash_size > 128u << 20 || (flash_size & (flash_size - 1)))
        return CMX_EINVAL;
    memset(out, 0xff, BOARD_PTABLE_LEN);
    cmx_buf_init(&b, out, BOARD_PTABLE_LEN);
    for (size_t i = 0; i < sizeof table / sizeof table[0] && err == CMX_OK; i++)
        err = put_entry(&b, &table[i]);
    return err ? err : put_md5(&b);
}
