/* new_file.h - writes a file that appears, or replaces another, only when it is complete. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "cmxsafe/core/err.h"

#define CMX_NEW_FILE_PATH_MAX 4096

/* Creates a file of mode 0600 in the folder of path. If the file system permits it, the file has no name, so that
 * nothing remains if the process is killed. temp: the file's name, or empty if it has none. Returns a descriptor, or
 * -1; errno has the reason. */
int cmx_file_temp_open(const char *path, char temp[CMX_NEW_FILE_PATH_MAX]);

/* Gives the file the name path, in place of the file that has it. False: path is unchanged, the file then has no name,
 * and errno has the reason. Does not close fd. */
CMX_MUST_USE bool cmx_file_temp_keep(int fd, char temp[CMX_NEW_FILE_PATH_MAX], const char *path);

/* Removes the file's name, if it has one. Keeps errno. */
void cmx_file_temp_drop(const char *temp);

/* Writes all the bytes. False: errno has the reason. */
CMX_MUST_USE bool cmx_file_write_all(int fd, const void *data, size_t len);

struct cmx_new_file {
    FILE *f;                          /* write here */
    char path[CMX_NEW_FILE_PATH_MAX]; /* the file at the end of all symbolic links; "": f writes directly to a device, a
                                         pipe or a link without target */
    char temp[CMX_NEW_FILE_PATH_MAX]; /* as in cmx_file_temp_open */
};

/* Creates the file that will appear at path. Follows symbolic links. The new file gets the mode of the file that it
 * replaces and, if root runs the program, that file's owner too. If no file is replaced, the umask gives the mode.
 * Changes the umask for a moment: call it while no other thread creates files. keep: a file that must not be replaced,
 * such as the key, or NULL. CMX_EIO: errno has the reason (EEXIST: path is `keep`). */
CMX_MUST_USE cmx_err cmx_new_file_open(struct cmx_new_file *n, const char *path, const char *keep);

/* Closes the file. complete: true moves it to path, false removes it. CMX_EIO: the file could not be completed and was
 * removed; errno has the reason. A file that is written directly is neither moved nor removed. */
CMX_MUST_USE cmx_err cmx_new_file_close(struct cmx_new_file *n, bool complete);

/* Replaces the file `name` in the folder (a descriptor, or AT_FDCWD) by one with these bytes and mode 0600. Writes and
 * syncs the file `name`.new, then renames it: a power cut leaves the old content or the new. Does not follow a symbolic
 * link. CMX_EIO: the old file is unchanged; errno has the reason. */
CMX_MUST_USE cmx_err cmx_file_replace(int folder, const char *name, const void *data, size_t len);
