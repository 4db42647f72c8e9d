/* config_table.h - the one table of sections and keys. Pure. */
#ifndef CMX_AGENT_CONFIG_TABLE_H
#define CMX_AGENT_CONFIG_TABLE_H

#include <stdbool.h>
#include <stdio.h>

#include "config.h"

typedef enum {
    CONFIG_TEXT,     /* char *: printable, at most max chars (0: 255) */
    CONFIG_NAME,     /* char *: letters, digits, '.', '_', '-'; at most CMX_PROXY_NAME_MAX - 1 */
    CONFIG_HOST,     /* char *: host name, IPv4 address or IPv6 address with or without brackets */
    CONFIG_PATH,     /* char *: absolute */
    CONFIG_PIN_LIST, /* config_list: repeatable, "SHA256:<base64>" or a known_hosts line */
    CONFIG_NUMBER,   /* uint64_t in [min, max] */
    CONFIG_BYTES,    /* uint64_t in [min, max]; k, M, G: times 1024 */
    CONFIG_DURATION, /* uint64_t, ms in [min, max]; ms, s, m, h, d; a bare number is seconds; whole steps */
    CONFIG_BOOL,     /* bool: yes, true, on, 1, no, false, off, 0 */
    CONFIG_CHOICE    /* uint64_t: index into choices */
} config_type;

struct config_key {
    const char *section;
    const char *key;
    config_type type;
    size_t offset; /* in the section's struct */
    uint64_t min, max;
    uint64_t step;              /* durations: ms; 0: 1000 */
    const char *const *choices; /* NULL-terminated */
    const char *fallback;       /* the default, as it would be written; NULL: none */
    bool required;
    const char *without; /* what holds when there is no default and no value, for the reference */
    const char *help;    /* one line */
};

struct config_section {
    const char *name;
    bool named;    /* [name NAME], any number */
    size_t offset; /* in struct agent_config; of the array if named */
    const char *help;
};

extern const struct config_section config_sections[];
extern const size_t config_n_sections;
extern const struct config_key config_keys[]; /* those of a section are neighbours */
extern const size_t config_n_keys;

const struct config_section *config_section_find(const char *name, size_t len);
const struct config_key *config_key_find(const char *section, const char *key);
size_t config_key_place(const struct config_key *k); /* in its section: index of key_line */

/* Checks text and stores it at the key's place in the section's struct; a former value is freed. why: one phrase such
 * as "must be between 1 and 65535". CMX_EINVAL, CMX_ENOSPC (a full list), CMX_ENOMEM. */
CMX_MUST_USE cmx_err config_set(const struct config_key *k, void *section, const char *text, char *why, size_t why_cap);

/* Frees what config_set stored in the section's struct. */
void config_clear(const struct config_section *s, void *section);

/* Stores the defaults of the section. CMX_ENOMEM. */
CMX_MUST_USE cmx_err config_defaults(const struct config_section *s, void *section);

/* What values a key takes, for people: "1 to 65535", "reverse or direct", ... */
void config_values(const struct config_key *k, char *out, size_t cap);

/* The reference, from the table: Markdown for docs/CONFIG.md, or the roff of cmxsafed.conf(5)'s sections. */
void config_reference_markdown(FILE *out);
void config_reference_man(FILE *out);

#endif
