/* copy_tables.h - describes the tables that gateways share, as read from the schema of the copy. The tables in
 * PostgreSQL and all statements are derived from this description, so that each column is named only in registry.c. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "gateway/registry/registry.h"
#include "gateway/shared/copy_text.h"

#define GW_COPY_TABLES_MAX 32
#define GW_COPY_COLUMNS_MAX 24
#define GW_COPY_NAME_MAX 32
#define GW_COPY_DEFAULT_MAX 16
#define GW_COPY_LEFT_OUT_MAX 200

struct gw_copy_column {
    char name[GW_COPY_NAME_MAX];
    char fallback[GW_COPY_DEFAULT_MAX]; /* the column's default as SQL; "": none */
    bool integer;                       /* false: the column holds text */
    struct gw_copy_rule rule;           /* what the text may contain; unused if `integer` is set */
    bool not_null;
    bool key; /* the column is part of the primary key */
};

struct gw_copy_table {
    char name[GW_COPY_NAME_MAX];
    struct gw_copy_column columns[GW_COPY_COLUMNS_MAX];
    size_t n;
    const char *filter; /* SQL condition that is true for the shared rows; "true": all rows are shared */
    /* Rows can be decisions of operators, or observations that gateways record. newest: the column that decides which
     * of two observations is newer; NULL: the rows are decisions. time: the column with an observation's time. */
    const char *newest;
    const char *time;
    bool rights;    /* the table's rows decide who may do what */
    bool restricts; /* the table's rows restrict rights, so a missing row would permit more */
};

struct gw_copy_tables {
    struct gw_copy_table tables[GW_COPY_TABLES_MAX];
    size_t n;
};

/* What a transfer from PostgreSQL changed in the copy. */
struct gw_copy_changes {
    bool rows;       /* any row */
    bool rights;     /* a row that decides who may do what: the rules must be rendered again */
    bool claims;     /* a row of table claim, which names the gateway that holds an identity */
    size_t unclean;  /* number of texts that were cut, or in which characters were replaced */
    size_t left_out; /* number of rows that the copy can't store */
    char first_left_out[GW_COPY_LEFT_OUT_MAX];
};

/* Reads the tables from the schema. CMX_ENOSPC: the schema has more tables or columns than *out has room for, which is
 * a bug in this program. */
CMX_MUST_USE cmx_err gw_copy_tables_read(struct gw_registry *r, struct gw_copy_tables *out, struct cmx_why *e);

const struct gw_copy_table *gw_copy_table_find(const struct gw_copy_tables *t, const char *name);

/* True if the gateways share the row of table meta with this key. The other rows are settings of one gateway. */
bool gw_copy_meta_is_shared(const char *key);

/* Writes the names of the columns, or with keys_only those of the primary key: "a","b","c". */
void gw_copy_names(sqlite3_str *sql, const struct gw_copy_table *t, bool keys_only);

/* Computes the digest of the table's shared rows. gw_copy_digest_sql writes the statement with which PostgreSQL
 * computes the same digest. The digest detects accidental differences and does not protect against an attacker.
 * gw_copy_digest leaves out a row with a malformed address, which only an older program can have stored. The digests
 * then differ, and the table is replaced. */
CMX_MUST_USE cmx_err gw_copy_digest(struct gw_registry *r, const struct gw_copy_table *t, uint64_t *out,
                                    struct cmx_why *e);
void gw_copy_digest_sql(sqlite3_str *sql, const struct gw_copy_table *t);
