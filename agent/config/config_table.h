/* config_table.h - the table of sections and keys. Only config_reference_* do I/O. */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "agent/config/agent_config.h"

#include "cmxsafe/core/why.h"

/* The types before CONFIG_PIN_LIST store one text. */
typedef enum {
    CONFIG_TEXT,     /* char *: printable text of at most `max` chars; max 0 means 255 */
    CONFIG_COMMAND,  /* char *: like CONFIG_TEXT, but for /bin/sh; a comment on the same line is an error */
    CONFIG_NAME,     /* char *: letters, digits, '.', '_', '-'; at most CMX_PROXY_NAME_MAX - 1 chars */
    CONFIG_HOST,     /* char *: host name, IPv4 address or IPv6 address with or without brackets */
    CONFIG_GATEWAYS, /* char *: a list as in proxy/gateways.h */
    CONFIG_PATH,     /* char *: an absolute path */
    CONFIG_PIN_LIST, /* config_list: the key may be repeated; each value is "SHA256:<base64>" or a known_hosts line */
    CONFIG_NUMBER,   /* a number in [min, max], stored in `size` bytes */
    CONFIG_BYTES,    /* like CONFIG_NUMBER; a suffix k, M or G multiplies by 1024, 1024^2 or 1024^3 */
    CONFIG_DURATION, /* a duration in [min, max] ms, a multiple of `step`; suffix ms, s, m, h or d, default s */
    CONFIG_BOOL,     /* bool: yes, true, on, 1, no, false, off, 0 */
    CONFIG_CHOICE    /* an index into choices, stored in `size` bytes */
} config_type;

struct config_key {
    const char *section;
    const char *key;
    config_type type;
    size_t offset; /* offset in the section's struct */
    uint8_t size;  /* size in bytes of the number at `offset`; 0 means 8 */
    uint64_t min, max;
    uint64_t step;              /* durations: the value must be a multiple of this, in ms; 0 means 1000 */
    uint64_t unit;              /* durations: ms per unit of the stored number; 0 means 1 */
    const char *const *choices; /* NULL-terminated */
    const char *fallback;       /* the default, written as in a configuration file; NULL: no default */
    unsigned creates;  /* paths: S_IFREG or S_IFSOCK if the agent creates the file; 0: a regular file must exist */
    bool block_device; /* paths: an existing file may also be a block device */
    bool required;
    bool restart;        /* a reload keeps the old value until the agent is restarted */
    uint8_t direction;   /* contexts: 1 + the cmx_proxy_direction that uses the key; 0: both directions use it */
    const char *without; /* text for the reference: what happens without the key, if there is no default */
    const char *help;    /* what the key means, in one line */
};

/* What a reload does if a key of the section has changed. */
typedef enum {
    CONFIG_APPLIED, /* the reload applies the new value, unless the key has `restart` */
    CONFIG_DELAYED, /* the reload keeps the old value until the agent is restarted */
    CONFIG_REFUSED  /* the reload is refused, and the whole old configuration stays in force */
} config_reload;

struct config_section {
    const char *name;
    bool named;    /* the header is [name NAME]; a file may have several of these sections */
    size_t offset; /* offset of the section's struct, or of the array of named sections, in struct agent_config */
    const char *help;
    config_reload reload;
};

extern const struct config_section config_sections[];
extern const size_t config_n_sections;
extern const struct config_key config_keys[]; /* the keys of a section are adjacent */
extern const size_t config_n_keys;

const struct config_section *config_section_find(const char *name, size_t len);
const struct config_key *config_key_find(const char *section, const char *key);
size_t config_key_place(const struct config_key *k); /* the key's index in its section, for key_line */

/* Returns the number of the line that gives the key or, if no line does, of the section's header. head: the first
 * member of the section's struct. */
unsigned config_line(const struct config_head *head, const char *section, const char *key);

/* Checks text and stores its value in the section's struct; frees the old value. why: one phrase, such as "70000 is out
 * of range: 1 to 65535". CMX_EINVAL: text is not a valid value; CMX_ENOMEM. */
CMX_MUST_USE cmx_err config_set(const struct config_key *k, void *section, const char *text, struct cmx_why *why);

/* Iterates over the keys that need a restart and differ between a and b, except contexts' keys. after: the key that the
 * previous call returned, or NULL to get the first key. Returns NULL after the last key. */
const struct config_key *config_next_restart(const struct agent_config *a, const struct agent_config *b,
                                             const struct config_key *after);

/* Frees what config_set stored in the section's struct. */
void config_clear(const struct config_section *s, void *section);

/* Stores the defaults of the section. CMX_ENOMEM. */
CMX_MUST_USE cmx_err config_defaults(const struct config_section *s, void *section);

/* Describes the values of a key: "1 to 65535", "reverse or direct", ... */
void config_values(const struct config_key *k, char *out, size_t cap);

/* Writes the reference: Markdown for docs/CONFIG.md, or roff for the sections of cmxsafed.conf(5). */
void config_reference_markdown(FILE *out);
void config_reference_man(FILE *out);
