/* copy_text.h - checks and cleans the texts of the shared registry before the copy stores them. Another gateway, which
 * may be compromised, may have written these texts. This gateway prints them on terminals and writes them into files
 * for sshd, BIRD and the packet filter. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define GW_COPY_REPLACED '?' /* replaces each character that the column must not contain */

enum gw_copy_form {
    GW_COPY_WORD,            /* only letters, digits and the punctuation of names, addresses, keys and digests */
    GW_COPY_UNIT,            /* the characters of GW_COPY_WORD, and backslashes, as in the names of systemd units */
    GW_COPY_TEXT,            /* UTF-8 without control characters and without characters that hide or reorder others */
    GW_COPY_LINES,           /* the characters of GW_COPY_TEXT, and newlines */
    GW_COPY_ADDRESS,         /* an IPv6 address as inet_ntop writes it; a row with any other text is left out */
    GW_COPY_ADDRESS_OR_NONE, /* GW_COPY_ADDRESS, or "" */
};

struct gw_copy_rule {
    enum gw_copy_form form;
    size_t max; /* bytes */
};

/* Returns the rule of a text column. A column without a rule of its own may contain only a GW_COPY_WORD. */
struct gw_copy_rule gw_copy_rule_of(const char *table, const char *column);
bool gw_copy_rule_is_address(const struct gw_copy_rule *rule);

/* Returns true if the text has the form and the length that the rule permits. */
bool gw_copy_text_is_clean(const char *text, const struct gw_copy_rule *rule);
/* Returns the text with GW_COPY_REPLACED for each character that the rule forbids, cut to the rule's length. Free the
 * result with cmx_mem_free. NULL: out of memory. */
char *gw_copy_text_clean(const char *text, const struct gw_copy_rule *rule);
/* Returns true if gw_copy_text_clean may have produced this text from a different one in PostgreSQL. */
bool gw_copy_text_is_replaced(const char *text, const struct gw_copy_rule *rule);
/* Returns a pattern for SQL's LIKE that matches every text that gw_copy_text_clean turns into `text`. Free the result
 * with cmx_mem_free. NULL: out of memory. */
char *gw_copy_text_pattern(const char *text, const struct gw_copy_rule *rule);
