/* ota_record.h - the state of an update, in a small file that survives restarts and power cuts: each change is written
 * to a new file, which is synced and renamed. ota_record_resolve is the state machine that each start of the agent
 * runs. It compares the boot identifier and the running version; a restart of the agent alone changes nothing. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"
#include "cmxsafe/ota/image.h"
#include "cmxsafe/ota/slots.h"

#define OTA_BOOT_ID_MAX 40      /* a UUID as text, with its NUL */
#define OTA_RECORD_NAME_MAX 256 /* name of the record's file, NUL included */
/* A new system is rolled back if it boots more often than this without being confirmed. */
#define OTA_TRIAL_BOOTS_MAX 3
#define OTA_ROLLBACK_BOOTS_MAX 3 /* a rollback is given up if the new system still boots this many times */

typedef enum {
    OTA_NONE,
    OTA_INSTALLING,   /* the install hook has begun */
    OTA_INSTALLED,    /* the install hook has succeeded: the next boot tries the new system */
    OTA_TRIAL,        /* the new system is running and is not confirmed yet */
    OTA_ROLLING_BACK, /* a rollback was decided; its hook has not succeeded yet */
    OTA_GOING_BACK,   /* the rollback hook has succeeded: the next boot runs the old system */
    OTA_ROLLED_BACK,  /* the old system is running again */
    OTA_PHASES
} ota_phase;

struct ota_record {
    ota_phase phase;                      /* set only by ota_record_set_phase */
    char boot[OTA_BOOT_ID_MAX];           /* identifier of the boot in which the phase began */
    char old_version[CMX_IMAGE_TEXT_MAX]; /* version before the update; empty: not known */
    char new_version[CMX_IMAGE_TEXT_MAX]; /* version of the system on trial; empty: not known */
    /* Boots of the new system since the update. During a rollback: boots of the new system since the rollback began. */
    unsigned boots;
    bool stuck;                            /* the new system is on trial and cannot be rolled back */
    uint64_t since_ms;                     /* in OTA_TRIAL: cmx_port_now_ms when the trial began in this boot */
    char why[CMX_SLOT_WHY_MAX];            /* reason for the rollback, without a newline */
    char image[CMX_SHA256_HEX];            /* digest of the update's image */
    char last_image[CMX_SHA256_HEX];       /* digest of the last image that was confirmed; empty: none */
    char last_version[CMX_IMAGE_TEXT_MAX]; /* version of the system when last_image was confirmed */
};

typedef enum {
    OTA_RESOLVED,
    OTA_UNDECIDED, /* a new boot, but the version hook failed: call the hook again before anything is confirmed */
    OTA_INTERRUPTED_INSTALL /* the last update was interrupted during its installation */
} ota_resolution;

/* Sets the phase and logs the change. The only function that sets a phase. */
void ota_record_set_phase(struct ota_record *r, ota_phase phase);

/* Sets the record's phase for this start of the agent. boot: this boot's identifier; version: version of the running
 * system, empty: not known; has_version: a version hook is configured.
 *
 * If the old version is running after a new boot, the system was rolled back. Exception: the update was the image that
 * was confirmed last, from which the old version was installed. Both systems then have the same version, so the boot
 * counts as a boot of the new system. */
ota_resolution ota_record_resolve(struct ota_record *r, const char *boot, const char *version, bool has_version,
                                  uint64_t now_ms);

/* Reads the record from the file folder/name. CMX_ENOENT: there is none; CMX_EFORMAT: the file cannot be read, or does
 * not hold a whole record. After an error all of *r is zero, so the phase is OTA_NONE. */
CMX_MUST_USE cmx_err ota_record_read(int folder, const char *name, struct ota_record *r);

/* Writes the record. A power cut leaves the old record or the new one. CMX_EIO: the file could not be written; errno
 * has the reason. */
CMX_MUST_USE cmx_err ota_record_write(int folder, const char *name, const struct ota_record *r);

/* Writes the boot identifier to out: the variable CMXSAFED_BOOT_ID, or else the content of
 * /proc/sys/kernel/random/boot_id. The packaged unit sets the variable, because its ProcSubset= hides the file.
 * CMX_EIO: the variable is too long, or the file cannot be read. */
CMX_MUST_USE cmx_err ota_boot_id(char out[OTA_BOOT_ID_MAX]);
