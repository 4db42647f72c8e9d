/* partition_table.h - finds the update slots in ESP-IDF's partition table. Pure.
 * Format: gen_esp32part.py / esp_flash_partitions.h: entries of 32 bytes at 0x8000, magic 0x50aa, ended by 0xffff or by
 * an MD5 entry (0xebeb). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"

#define CMX_PARTITION_TABLE_AT 0x8000u
#define CMX_PARTITION_TABLE_LEN 0xc00u
#define CMX_PARTITION_ENTRY_LEN 32
#define CMX_OTA_SLOTS_MAX 16

struct cmx_region {
    uint32_t offset;
    uint32_t size; /* in bytes; 0: the table has no such partition */
};

struct cmx_partitions {
    struct cmx_region otadata;
    struct cmx_region factory;
    struct cmx_region slot[CMX_OTA_SLOTS_MAX]; /* ota_0.. */
    unsigned slots;
};

/* Reads the next entry of the table; call it until *done is true. CMX_EFORMAT: the entry has a wrong magic or is the
 * second of its kind, or its region is empty, ends beyond flash_size, or is not aligned to sectors. */
CMX_MUST_USE cmx_err cmx_partition_entry(struct cmx_partitions *p, const uint8_t entry[CMX_PARTITION_ENTRY_LEN],
                                         uint32_t flash_size, bool *done);

/* Checks the table. CMX_OK: updates are possible. For this, otadata must have two sectors, and there must be at least
 * two slots, numbered without a gap. */
CMX_MUST_USE cmx_err cmx_partitions_check(const struct cmx_partitions *p);
