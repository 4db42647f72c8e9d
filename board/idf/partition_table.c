#include "board/idf/partition_table.h"

#include "cmxsafe/ota/bytes.h"

enum { MAGIC = 0x50aa, MAGIC_MD5 = 0xebeb, END = 0xffff, TYPE_APP = 0, TYPE_DATA = 1, SECTOR = 4096 };
enum { APP_FACTORY = 0x00, APP_OTA_0 = 0x10, APP_OTA_15 = 0x1f, DATA_OTA = 0x00 };

static struct cmx_region *region_of(struct cmx_partitions *p, uint8_t type, uint8_t subtype)
{
    if (type == TYPE_APP && subtype == APP_FACTORY)
        return &p->factory;
    if (type == TYPE_APP && subtype >= APP_OTA_0 && subtype <= APP_OTA_15)
        return &p->slot[subtype - APP_OTA_0];
    if (type == TYPE_DATA && subtype == DATA_OTA)
        return &p->otadata;
    return NULL;
}

cmx_err cmx_partition_entry(struct cmx_partitions *p, const uint8_t entry[CMX_PARTITION_ENTRY_LEN], uint32_t flash_size,
                            bool *done)
{
    uint16_t magic = cmx_le16(entry);
    uint32_t offset = cmx_le32(entry + 4), size = cmx_le32(entry + 8);
    struct cmx_region *r;

    *done = magic == END || magic == MAGIC_MD5;
    if (*done)
        return CMX_OK;
    if (magic != MAGIC)
        return CMX_EFORMAT;
    r = region_of(p, entry[2], entry[3]);
    if (!r)
        return CMX_OK;
    if (r->size != 0 || size == 0 || offset % SECTOR || size % SECTOR || offset > flash_size ||
        size > flash_size - offset)
        return CMX_EFORMAT;
    r->offset = offset;
    r->size = size;
    if (entry[2] == TYPE_APP && entry[3] >= APP_OTA_0)
        p->slots++;
    return CMX_OK;
}

cmx_err cmx_partitions_check(const struct cmx_partitions *p)
{
    if (p->otadata.size < 2 * SECTOR || p->slots < 2)
        return CMX_EFORMAT;
    for (unsigned i = 0; i < p->slots; i++)
        if (p->slot[i].size == 0)
            return CMX_EFORMAT;
    return CMX_OK;
}
