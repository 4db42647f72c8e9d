/* next_config.h - reads the configuration for a reload in a thread of its own, because a file that it names may be on a
 * file system that does not answer. A process has one reader. All functions are called by the agent's thread. */
#pragma once

#include "agent/config/agent_config.h"

#define NEXT_CONFIG_ERROR_MAX 256

/* Starts to read the configuration file `file`, which must stay valid. wake: an eventfd, written when the reader has
 * finished. CMX_EBUSY: the reader has not finished yet; CMX_ENOMEM. */
CMX_MUST_USE cmx_err next_config_start(const char *file, int wake);

/* True in the first call after the reader has finished. *out is then the configuration, which the caller owns, or NULL
 * after an error; all errors were logged, and `error` gets the first one. */
bool next_config_take(struct agent_config **out, char error[NEXT_CONFIG_ERROR_MAX]);

/* True if the reader has been reading for at least ms milliseconds and has not finished. */
bool next_config_hangs(uint64_t ms);
