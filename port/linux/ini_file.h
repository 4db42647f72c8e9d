/* ini_file.h - reads the text of an INI file, for cmxsafed.conf and board.ini alike.
 *
 * A line is '[section]', 'key = value' or 'key: value'. '#' and ';' begin a comment at the start of a line, and ';'
 * after white space within a line. Any other line, a line that is too long and a control character outside a comment
 * are errors; no setting is cut or skipped silently. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define CMX_INI_FILE_MAX (512 * 1024) /* maximum size of a file, in bytes: 1 KB for each of 512 contexts */
#define CMX_INI_LINE_MAX 4096         /* size of a line's buffer; a known_hosts line of an RSA key has some 800 bytes */

/* Functions that cmx_ini_parse calls in the order of the lines. line: the line's number, counted from 1. Texts are
 * valid during the call. */
struct cmx_ini_handler {
    void *arg;
    /* text: the text between the brackets, without white space around it. False: the section's keys are skipped. */
    bool (*section)(void *arg, unsigned line, const char *text, size_t len);
    /* comment: the first 63 bytes of the comment after the value, with its ';'; "" if there is none. */
    void (*pair)(void *arg, unsigned line, const char *key, const char *value, const char *comment);
    void (*error)(void *arg, unsigned line, const char *what);
};

/* Returns the first '#' that follows white space in the value, or NULL. Such a '#' was probably meant to begin a
 * comment. */
const char *cmx_ini_hash(const char *value);

/* Reads the text. Reports errors in it to h->error, and continues with the next line. */
void cmx_ini_parse(const char *text, size_t len, const struct cmx_ini_handler *h);
