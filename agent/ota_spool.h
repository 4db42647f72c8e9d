/* ota_spool.h - struct cmx_slots (cmxsafe/ota/slots.h) for a Linux device: an update is kept in a file until all of it
 * has been verified, and only then handed to the handler on its standard input. */
#ifndef CMX_AGENT_OTA_SPOOL_H
#define CMX_AGENT_OTA_SPOOL_H

#include <stdbool.h>

#include "cmxsafe/ota/slots.h"
#include "ota_runner.h"

struct ota_spool {
    struct runner *runner; /* borrowed */
    int fd;                /* the update */
    int state_fd;          /* one line: "trial", "rolled-back WHY", or nothing */
    uint32_t max_len;
    bool restarts; /* the handler's work takes effect with a restart, and is on trial then */
    bool trial;    /* what runs now is */
    char version[CMX_IMAGE_TEXT_MAX];
    char rolled_back_why[24];
};

/* Opens (makes) the file and path.state beside it, and asks the runner for the running version. CMX_EIO, errno says
 * why. */
CMX_MUST_USE cmx_err ota_spool_open(struct ota_spool *s, const char *path, uint32_t max_len, bool restarts,
                                    struct runner *runner);
void ota_spool_close(struct ota_spool *s);

/* s is borrowed. */
struct cmx_slots ota_spool_slots(struct ota_spool *s);

#endif
