/* partition_entry.h - for tests: writes entries of ESP-IDF's partition table, which board/idf/partition_table.h reads.
 */
#pragma once

#include <string.h>

#include "board/idf/partition_table.h"
#include "cmxsafe/ota/bytes.h"

/* Writes the n-th entry of the table in flash. Type 0 is an application, with subtype 0x10 + slot; type 1
 * is data, with subtype 0 for otadata. */
static inline void partition_entry(uint8_t *flash, unsigned n, uint8_t type, uint8_t subtype, uint32_t offset,
                                   uint32_t size)
{
    uint8_t *p = flash + CMX_PARTITION_TABLE_AT + n * CMX_PARTITION_ENTRY_LEN;

    memset(p, 0, CMX_PARTITION_ENTRY_LEN);
    cmx_put_le16(p, 0x50aa);
    p[2] = type;
    p[3] = subtype;
    cmx_put_le32(p + 4, offset);
    cmx_put_le32(p + 8, size);
}
