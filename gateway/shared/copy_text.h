/* copy_text.h - which texts the copy takes from PostgreSQL. Another gateway wrote them, which may be taken over, and
 * they are printed, and written into the files of sshd, BIRD and the packet filter. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define GW_COPY_REPLACED '?' /* stands for each character that the column may not have */

enum gw_copy_form {
    GW_COPY_WORD,  /* letters, digits and the few signs of names, addresses, keys and digests */
    GW_COPY_TEXT,  /* UTF-8 without control characters and characters that hide or reorder others */
    GW_COPY_LINES, /* the same, with newlines */
};

struct gw_copy_rule {
    enum gw_copy_form form;
    size_t max; /* bytes */
};

/* A column that is not listed as a text is a word. */
struct gw_copy_rule gw_copy_rule_of(const char *table, const char *column);

/* True if the text has the form and is not too long. */
bool gw_copy_text_is_clean(const char *text, const struct gw_copy_rule *rule);
/* The text with GW_COPY_REPLACED for each wrong character, cut to the longest length; to be freed with cmx_mem_free.
 * NULL: out of memory. */
char *gw_copy_text_clean(const char *text, const struct gw_copy_rule *rule);
/* True if the text may come from gw_copy_text_clean, so that PostgreSQL's may differ. */
bool gw_copy_text_is_replaced(const char *text, const struct gw_copy_rule *rule);
/* The pattern of SQL's LIKE that each text matches which becomes this one; to be freed with cmx_mem_free. NULL: out of
 * memory. */
char *gw_copy_text_pattern(const char *text, const struct gw_copy_rule *rule);
