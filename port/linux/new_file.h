/* new_file.h - writes a file that appears, or replaces another, only when it is complete. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "cmxsafe/core/err.h"

struct cmx_new_file {
    FILE *f;         /* write here */
    char path[4096]; /* the file at the end of all symbolic links */
    char temp[4096]; /* "": f writes directly to a device, a pipe or a link without target */
};

/* Creates the file that will appear at path. Follows symbolic links. The new file gets the mode of the file that it
 * replaces. If root runs the program, the new file gets the owner too. If no file is replaced, the umask gives the
 * mode. Changes the umask for a moment: call it while no other thread creates files. keep: a file that must not be
 * replaced, such as the key, or NULL. CMX_EIO: errno has the reason (EEXIST: path is `keep`). */
CMX_MUST_USE cmx_err cmx_new_file_open(struct cmx_new_file *n, const char *path, const char *keep);

/* Closes the file. complete: true moves it to path, false removes it. CMX_EIO: the file could not be completed and was
 * removed; errno has the reason. A file that is written directly is neither moved nor removed. */
CMX_MUST_USE cmx_err cmx_new_file_close(struct cmx_new_file *n, bool complete);

/* Replaces the file `name` in the folder (a descriptor, or AT_FDCWD) by one with these bytes and mode 0600. Writes and
 * syncs the file `name`.new, then renames it: a power cut leaves the old content or the new. Does not follow a symbolic
 * link. CMX_EIO: the old file is unchanged; errno has the reason. */
CMX_MUST_USE cmx_err cmx_file_replace(int folder, const char *name, const void *data, size_t len);
