/* ota_spool.h - struct cmx_slots (cmxsafe/ota/slots.h) for a Linux device. A file holds an update until all of it has
 * been verified. Only then does the install hook get it, on standard input. A record beside it (ota_record.h) holds the
 * update's state. */
#pragma once

#include <stdbool.h>

#include "agent/ota/ota_record.h"
#include "agent/ota/ota_runner.h"
#include "cmxsafe/core/why.h"
#include "cmxsafe/ota/slots.h"

struct ota_spool_config {
    const char *path;      /* path of the file; borrowed during ota_spool_open */
    uint32_t max_len;      /* maximum length of an update, in bytes */
    bool restarts;         /* an update takes effect with a restart, and is then on trial */
    bool has_version;      /* a version hook is configured */
    struct runner *runner; /* borrowed */
};

struct ota_spool {
    struct ota_spool_config config;
    int fd;     /* descriptor of the spool file */
    int folder; /* descriptor of the spool file's folder */
    char record_name[OTA_RECORD_NAME_MAX];
    struct ota_record record;
    bool undecided;         /* the version hook has not succeeded since the boot; until it does, nothing is confirmed */
    bool confirm_tried;     /* `confirm` was called while `undecided` was set */
    uint64_t now_ms;        /* when the spool was opened */
    struct cmx_why problem; /* what went wrong with the last update or its record; empty: nothing */
    char boot[OTA_BOOT_ID_MAX];
    char version[CMX_IMAGE_TEXT_MAX];
};

/* Opens or creates the file. Empties it, because a killed agent may have left an upload there. Reads the record, runs
 * the version hook, and writes the record. If the record cannot be read or written, the status shows this as the
 * problem. CMX_EIO: a file cannot be opened, or the boot is not known. CMX_EBUSY: another agent uses the file. *why has
 * the reason. */
CMX_MUST_USE cmx_err ota_spool_open(struct ota_spool *s, const struct ota_spool_config *config, struct cmx_why *why);
void ota_spool_close(struct ota_spool *s);

/* True while an update is on trial: its system is running or going back, but not confirmed. Any thread. */
bool ota_spool_on_trial(const struct ota_spool *s);

/* Empties the file, so that an update that was refused does not occupy the disk. Does nothing while a process of a hook
 * still reads the file. Call it between two updates. */
void ota_spool_empty(struct ota_spool *s);

/* s is borrowed. */
struct cmx_slots ota_spool_slots(struct ota_spool *s);
