/* copy_tables.h - the tables that gateways share, read from the copy's own schema. PostgreSQL's tables and all
 * statements are derived from it, so that each column is named only once (in registry.c). */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "gateway/registry/registry.h"
#include "gateway/shared/copy_text.h"

#define GW_COPY_TABLES_MAX 32
#define GW_COPY_COLUMNS_MAX 24
#define GW_COPY_NAME_MAX 32
#define GW_COPY_LEFT_OUT_MAX 200

struct gw_copy_column {
    char name[GW_COPY_NAME_MAX];
    char fallback[16];        /* the column's default as SQL; "": none */
    bool integer;             /* otherwise text */
    struct gw_copy_rule rule; /* of a text */
    bool not_null;
    bool key; /* the column is part of the primary key */
};

struct gw_copy_table {
    char name[GW_COPY_NAME_MAX];
    struct gw_copy_column columns[GW_COPY_COLUMNS_MAX];
    size_t n;
    const char *filter; /* SQL condition of the rows that are shared; "true" for all */
    const char
        *newest; /* the column that decides which of two observations is newer; NULL: not a table of observations */
    const char *time; /* the column with the time of an observation */
    bool rights;      /* the table's rows decide who may do what */
    bool restricts;   /* if a row of the table is missing, more may be permitted */
};

struct gw_copy_tables {
    struct gw_copy_table tables[GW_COPY_TABLES_MAX];
    size_t n;
};

/* The changes in the copy. */
struct gw_copy_changes {
    bool rows;       /* any row */
    bool rights;     /* rows that decide who may do what: the rules have to be rendered again */
    bool claims;     /* rows of claims: which gateway holds an identity */
    size_t unclean;  /* texts that were replaced */
    size_t left_out; /* rows that can't be in the copy */
    char first_left_out[GW_COPY_LEFT_OUT_MAX];
};

/* Reads the tables from the schema. CMX_ENOSPC: there are more tables or columns than fit, which is a defect. */
CMX_MUST_USE cmx_err gw_copy_tables_read(struct gw_registry *r, struct gw_copy_tables *out, struct cmx_why *e);

const struct gw_copy_table *gw_copy_table_find(const struct gw_copy_tables *t, const char *name);

/* True for a row of table meta that belongs to the fleet; the others are the gateway's own. */
bool gw_copy_meta_is_shared(const char *key);

/* Writes the columns' names: "a","b","c". */
void gw_copy_names(FILE *f, const struct gw_copy_table *t, bool keys_only);

/* Computes the digest of the table's shared rows, the same as PostgreSQL computes with gw_copy_digest_sql. It detects
 * accidental differences and does not protect against an attacker. A row with a malformed address, which only an older
 * program can have stored, is not part of the digest. The digests then differ, and the table is replaced. */
CMX_MUST_USE cmx_err gw_copy_digest(struct gw_registry *r, const struct gw_copy_table *t, uint64_t *out,
                                    struct cmx_why *e);
void gw_copy_digest_sql(FILE *f, const struct gw_copy_table *t);
