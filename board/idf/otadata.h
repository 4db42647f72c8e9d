/* otadata.h - decides which slot boots, from ESP-IDF's otadata partition: two sectors with a 32-byte record each. Reads
 * records and makes plans, which are lists of flash operations; the caller executes them. Pure.
 *
 * Offsets in a record (esp_ota_select_entry_t): 0 sequence, 4 label (20 bytes, free), 24 state, 28 CRC-32 of the
 * sequence alone. The valid record with the higher sequence is active; slot = (sequence - 1) % slots. Decisions are
 * those of ESP-IDF's bootloader (bootloader_utility.c) and esp_ota_ops.c with CONFIG_BOOTLOADER_APP_ROLLBACK_ENABLE.
 *
 * The CRC does not cover the state. So that an interrupted write cannot change a record's meaning, a plan first breaks
 * the old CRC, then erases, then writes everything but the CRC, and the CRC last. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"

#define CMX_OTADATA_RECORD_LEN 32
#define CMX_OTADATA_SECTOR 4096
#define CMX_OTADATA_LABEL_LEN 20
#define CMX_OTA_FACTORY (-1) /* stands for the factory partition wherever a slot's number (0, 1, ...) is expected */
#define CMX_OTADATA_STEPS_MAX 12

typedef enum {
    CMX_OTA_NEW = 0,            /* the image is written and not booted yet */
    CMX_OTA_PENDING_VERIFY = 1, /* the image was booted once and is not confirmed */
    CMX_OTA_VALID = 2,
    CMX_OTA_INVALID = 3, /* the application rolled the image back */
    CMX_OTA_ABORTED = 4, /* the image restarted before it was confirmed */
    CMX_OTA_UNDEFINED = -1
} cmx_ota_state;

struct cmx_otadata {
    uint8_t record[2][CMX_OTADATA_RECORD_LEN]; /* the first bytes of each sector */
};

/* One flash operation within the otadata partition. */
struct cmx_otadata_step {
    bool erase; /* true: erases a sector; data is unused */
    uint32_t offset;
    uint32_t len;
    uint8_t data[CMX_OTADATA_RECORD_LEN];
};

struct cmx_otadata_plan {
    size_t n;
    struct cmx_otadata_step step[CMX_OTADATA_STEPS_MAX];
};

/* ---- reading ---- */

cmx_ota_state cmx_otadata_state(const struct cmx_otadata *d, int record);

/* Returns the active record: 0, 1, or -1 if none is valid. */
int cmx_otadata_active(const struct cmx_otadata *d);

/* Returns the slot that a record names; slots > 0. */
unsigned cmx_otadata_slot(const struct cmx_otadata *d, int record, unsigned slots);

/* Returns the record of an image that was tried and failed (INVALID, ABORTED) and that is newer than the active record;
 * -1: there is none. */
int cmx_otadata_failed(const struct cmx_otadata *d);

/* Copies a record's label to out, made printable. */
void cmx_otadata_label(const struct cmx_otadata *d, int record, char out[CMX_OTADATA_LABEL_LEN + 1]);

/* ---- planning ---- */

/* Makes the plan to execute before a slot is written. Afterwards no valid record names the slot. The plan may be
 * empty. */
void cmx_otadata_plan_release(const struct cmx_otadata *d, unsigned slot, unsigned slots,
                              struct cmx_otadata_plan *plan);

/* Makes the plan that writes a record in state NEW for slot: the next boot tries that slot. */
void cmx_otadata_plan_activate(const struct cmx_otadata *d, unsigned slot, unsigned slots,
                               struct cmx_otadata_plan *plan);

/* Makes the plan that confirms the running image; it is empty if the image is confirmed already. CMX_ENOENT: there is
 * no active record. */
CMX_MUST_USE cmx_err cmx_otadata_plan_confirm(const struct cmx_otadata *d, struct cmx_otadata_plan *plan);

/* Makes the plan that marks the running image invalid, and stores `why` in the record's label, cut to the label's
 * length. CMX_ENOENT: there is no active record. */
CMX_MUST_USE cmx_err cmx_otadata_plan_rollback(const struct cmx_otadata *d, const char *why,
                                               struct cmx_otadata_plan *plan);

/* ---- booting ---- */

struct cmx_boot {
    struct cmx_otadata_plan plan; /* operations to execute before the image starts */
    int first;                    /* the first partition to try: a slot, or CMX_OTA_FACTORY */
    bool initial;                 /* there is no record: once an image is chosen, execute cmx_otadata_plan_initial */
    bool aborted;                 /* an image restarted before it was confirmed; this boot gives it up */
};

/* Decides what to boot, as ESP-IDF's bootloader does. */
void cmx_boot_decide(const struct cmx_otadata *d, unsigned slots, bool has_factory, struct cmx_boot *out);

/* Finds the k-th partition to try, k from 0; the board boots the first one with a valid image. The order: the slots
 * from `first` down to 0; then the factory image, if there is one; then the slots above `first`. False: there is no
 * k-th candidate. */
bool cmx_boot_candidate(int first, unsigned slots, bool has_factory, unsigned k, int *out);

/* Makes the plan that writes the first record, for a board that booted `slot` without a record. */
void cmx_otadata_plan_initial(unsigned slot, struct cmx_otadata_plan *plan);
