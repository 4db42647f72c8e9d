/* gw_evidence_check.h - requests signed evidence from one device and verifies it, in a child process that has no
 * privileges and no secrets. Only the child parses bytes from the device. */
#pragma once

#include <sys/types.h>

#include "gateway/folder/gw_folder.h"
#include "gateway/registry/evidence_policy.h"

#define GW_CHECK_MAX_S 60 /* the caller kills a child that takes longer */

typedef enum { GW_CHECK_UNKNOWN = 0, GW_CHECK_TRUSTED = 1, GW_CHECK_UNTRUSTED = 2 } gw_check_verdict;

/* The result that the child writes into the pipe. GW_CHECK_UNKNOWN: there is no verdict, for example because the device
 * gave no answer. */
struct gw_check_result {
    uint32_t verdict; /* gw_check_verdict */
    char reason[GW_REASON_MAX];
    char firmware[GW_FIRMWARE_MAX];
    char claims[GW_CLAIMS_MAX];    /* see struct gw_attestation */
    char manifest[CMX_SHA256_HEX]; /* digest of the manifest that was compared last: the matching one if the verdict is
                                    * GW_CHECK_TRUSTED */
};

/* Starts a check in a child process. key: the device's attestation key, as a line. Returns the child's process id, and
 * sets *pipe_fd to the reading end of its pipe. -1: the check could not be started. The child has none of the parent's
 * open files, such as the registry. */
pid_t gw_check_start(const struct gw *g, const struct gw_standing *s, const struct gw_policy *p, const char *key,
                     int *pipe_fd);
/* Reads the child's result and makes its texts printable. Does not wait. Anything except one complete result is
 * GW_CHECK_UNKNOWN. */
void gw_check_read(int pipe_fd, struct gw_check_result *out);
