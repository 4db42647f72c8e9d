#include <stdlib.h>
#include <string.h>

#include "cli/gateway/gw_enroll.h"
#include "cmxsafe/core/mem.h"
#include "gateway/registry/csv.h"
#include "gateway/registry/list.h"
#include "gateway/shared/copy_text.h"
#include "port/linux/file_read.h"

static const char about[] =
    "Enrols many devices from CSV (RFC 4180, UTF-8), all or none. The first line names the columns: name and "
    "key are required; ports, direct, address, mac and group are optional. key contains the public key or the "
    "path of its file, relative to the CSV file. Lists go in quotes: "
    "cam-17,keys/cam-17.pub,\"81,8989\".\n\nFor a device that is already enrolled, a missing column keeps "
    "its value. An empty field clears the ports, direct or group, and keeps the address. 'export' writes this "
    "format.";

#define FILE_MAX ((size_t)64 << 20)

enum { COL_NAME, COL_KEY, COL_PORTS, COL_DIRECT, COL_ADDRESS, COL_MAC, COL_GROUP, COLUMNS };
static const char *const column_names[COLUMNS] = {"name", "key", "ports", "direct", "address", "mac", "group"};

struct import_row {
    char name[GW_NAME_MAX];
    char fingerprint[GW_FINGERPRINT_MAX];
    size_t line;
};

struct import_job {
    struct gw *g;
    const char *path;        /* path of the CSV file; "-": standard input */
    int place[COLUMNS];      /* for each column, the index of its field in a line; -1: the file lacks the column */
    size_t columns;          /* number of fields in the first line */
    size_t counts[3];        /* number of devices for each outcome (gw_outcome) */
    size_t former_keys;      /* number of devices whose key in the file has been replaced in the registry */
    struct import_row *rows; /* the lines so far */
    size_t n_rows, cap_rows;
};

static cmx_err read_header(struct import_job *job, struct gw_csv *csv, struct cmx_why *e)
{
    char *fields[GW_CSV_FIELDS_MAX];
    cmx_err err = gw_csv_next(csv, fields, &job->columns, e);

    if (err == CMX_ENOENT)
        return cmx_why_fail(e, CMX_EFORMAT, "the file is empty; the first line names the columns: name,key,ports");
    if (err)
        return err;
    for (size_t c = 0; c < COLUMNS; c++)
        job->place[c] = -1;
    for (size_t i = 0; i < job->columns; i++) {
        size_t c = 0;

        if (fields[i][0] == '\0')
            continue;
        while (c < COLUMNS && strcasecmp(column_names[c], fields[i]) != 0)
            c++;
        if (strcasecmp(fields[i], "open") == 0)
            c = COL_DIRECT; /* the column's name in version 1 */
        if (c == COLUMNS)
            return cmx_why_fail(e, CMX_EFORMAT,
                                "unknown column '%.40s'; the columns are name,key,ports,direct,address,mac,group",
                                fields[i]);
        if (job->place[c] >= 0)
            return cmx_why_fail(e, CMX_EFORMAT, "the column '%s' appears twice; remove one", column_names[c]);
        job->place[c] = (int)i;
    }
    if (job->place[COL_NAME] < 0 || job->place[COL_KEY] < 0)
        return cmx_why_fail(
            e, CMX_EFORMAT,
            "the column 'name' or 'key' is missing; the first line must name the columns, for example: name,key,ports");
    return CMX_OK;
}

/* Returns the text of a column; NULL if the file does not have the column. */
static const char *field(const struct import_job *job, char **fields, size_t n, int column)
{
    int at = job->place[column];

    return at < 0 ? NULL : (size_t)at < n ? fields[at] : "";
}

/* Fails if a field belongs to no column, or if the group is a number. Such a field is usually part of a list of ports
 * that was written without quotes. If the line were accepted, these ports would be lost. */
static cmx_err check_fields(const struct import_job *job, char **fields, size_t n, struct cmx_why *e)
{
    const char *group = field(job, fields, n, COL_GROUP);

    for (size_t i = 0; i < n; i++) {
        bool known = false;

        for (size_t c = 0; c < COLUMNS; c++)
            known = known || job->place[c] == (int)i;
        if (!known && fields[i][0])
            return cmx_why_fail(e, CMX_EFORMAT,
                                "'%.40s' belongs to no column; put lists in quotes, such as \"81,8989\"", fields[i]);
    }
    if (group && group[0] && group[strspn(group, "0123456789")] == '\0')
        return cmx_why_fail(e, CMX_EFORMAT, "the group '%.40s' is a number; put lists in quotes, such as \"81,8989\"",
                            group);
    return CMX_OK;
}

/* text is a key, or the path of its file relative to the CSV file. */
static cmx_err read_key(const struct import_job *job, const char *text, struct gw_key *k, struct cmx_why *e)
{
    const char *slash = strrchr(job->path, '/');
    char path[GW_PATH_MAX];

    if (text[0] == '\0')
        return cmx_why_fail(e, CMX_EFORMAT, "the key is missing");
    if (gw_key_is_line(text))
        return gw_key_parse(k, text, e);
    if (text[0] == '/' || !slash)
        return gw_key_read(k, text, e);
    if ((size_t)snprintf(path, sizeof path, "%.*s/%s", (int)(slash - job->path), job->path, text) >= sizeof path)
        return cmx_why_fail(e, CMX_EINVAL, "the path of the key is too long");
    return gw_key_read(k, path, e);
}

static const char *or_null(const char *s)
{
    return s && s[0] ? s : NULL;
}

static int compare_names(const void *a, const void *b)
{
    const struct import_row *x = a;
    const struct import_row *y = b;
    int order = strcmp(x->name, y->name);

    return order ? order : (x->line > y->line) - (x->line < y->line);
}

static int compare_keys(const void *a, const void *b)
{
    const struct import_row *x = a;
    const struct import_row *y = b;
    int order = strcmp(x->fingerprint, y->fingerprint);

    return order ? order : (x->line > y->line) - (x->line < y->line);
}

/* Fails if two lines give one device two keys, or two devices one key. This error then replaces the registry's, which
 * can't name both lines. Otherwise returns err. */
static cmx_err check_rows(struct import_job *job, cmx_err err, struct cmx_why *e)
{
    struct import_row *rows = job->rows;

    if (job->n_rows < 2)
        return err;
    qsort(rows, job->n_rows, sizeof *rows, compare_names);
    for (size_t i = 1; i < job->n_rows; i++)
        if (strcmp(rows[i - 1].name, rows[i].name) == 0 && strcmp(rows[i - 1].fingerprint, rows[i].fingerprint) != 0)
            return cmx_why_fail(
                e, CMX_EEXIST, "lines %zu and %zu give %s two keys; remove the line whose key the device does not have",
                rows[i - 1].line, rows[i].line, rows[i].name);
    qsort(rows, job->n_rows, sizeof *rows, compare_keys);
    for (size_t i = 1; i < job->n_rows; i++)
        if (strcmp(rows[i - 1].fingerprint, rows[i].fingerprint) == 0 && strcmp(rows[i - 1].name, rows[i].name) != 0)
            return cmx_why_fail(e, CMX_EEXIST,
                                "lines %zu and %zu give %s and %s the same key; give each device a key of its own",
                                rows[i - 1].line, rows[i].line, rows[i - 1].name, rows[i].name);
    return err;
}

static cmx_err add_row(struct import_job *job, const char *name, const struct gw_key *k, size_t line)
{
    struct import_row row = {.line = line};

    snprintf(row.name, sizeof row.name, "%s", name);
    snprintf(row.fingerprint, sizeof row.fingerprint, "%s", k->fingerprint);
    return gw_list_add(&job->rows, &job->n_rows, &job->cap_rows, &row, sizeof row);
}

static cmx_err enroll_line(struct import_job *job, char **fields, size_t n, size_t line, struct cmx_why *e)
{
    struct gw_enroll_fields f = {
        .name = field(job, fields, n, COL_NAME),
        .ports = field(job, fields, n, COL_PORTS),
        .directs = field(job, fields, n, COL_DIRECT),
        /* An empty field does not clear the address, because a device always has one. */
        .address = or_null(field(job, fields, n, COL_ADDRESS)),
        .mac = or_null(field(job, fields, n, COL_MAC)),
        .group = field(job, fields, n, COL_GROUP),
        .former_key = true,
    };
    struct gw_device d;
    struct gw_key k;
    gw_outcome outcome;
    cmx_err err = check_fields(job, fields, n, e);

    if (!err)
        err = read_key(job, field(job, fields, n, COL_KEY), &k, e);
    if (!err && add_row(job, f.name, &k, line))
        err = cmx_why_fail(e, CMX_ENOMEM, "out of memory");
    if (!err)
        err = gw_enroll_fields(job->g, &f, &k, &d, &outcome, e);
    if (err)
        return err;
    job->counts[outcome]++;
    if (strcmp(d.fingerprint, k.fingerprint) != 0) {
        job->former_keys++;
        fprintf(stderr,
                "cmxsafe: note: %s: the file has a key that was replaced; the device keeps its current key %s\n",
                d.name, d.fingerprint);
    }
    return CMX_OK;
}

/* Makes the reason valid UTF-8: it may quote a field that is not. */
static void clean_reason(struct cmx_why *e)
{
    const struct gw_copy_rule rule = {GW_COPY_TEXT, CMX_WHY_MAX - 1};
    char *clean = gw_copy_text_clean(e->text, &rule);

    snprintf(e->text, sizeof e->text, "%s", clean ? clean : "out of memory");
    cmx_mem_free(clean);
}

static cmx_err import_all(struct import_job *job, char *text, size_t len, struct cmx_why *e)
{
    char *fields[GW_CSV_FIELDS_MAX];
    struct gw_csv csv;
    size_t n;
    cmx_err err = gw_csv_init(&csv, text, len, e);

    if (!err)
        err = read_header(job, &csv, e);
    if (err)
        return err;
    while (!(err = gw_csv_next(&csv, fields, &n, e))) {
        err = enroll_line(job, fields, n, csv.line, e);
        if (err) {
            cmx_why_set(e, "line %zu: %s", csv.line, e->text);
            return check_rows(job, err, e);
        }
    }
    if (err == CMX_ENOENT && check_rows(job, CMX_OK, e))
        return CMX_EEXIST;
    return err == CMX_ENOENT ? gw_command_check_identities(job->g, NULL, e) : err;
}

static void print_result(const struct gw_common *c, const struct import_job *job)
{
    struct gw_json json;

    if (!c->json) {
        printf("added %zu, changed %zu, unchanged %zu%s\n", job->counts[GW_ADDED], job->counts[GW_CHANGED],
               job->counts[GW_UNCHANGED], gw_command_dry_run(c));
        return;
    }
    gw_json_begin_stdout(&json);
    cmx_json_u64(&json.j, "added", job->counts[GW_ADDED]);
    cmx_json_u64(&json.j, "changed", job->counts[GW_CHANGED]);
    cmx_json_u64(&json.j, "unchanged", job->counts[GW_UNCHANGED]);
    cmx_json_u64(&json.j, "former_keys", job->former_keys);
    if (c->dry_run)
        cmx_json_bool(&json.j, "dry_run", true);
    gw_json_end_stdout(&json);
}

static int run(struct gw_change *x, const char *path, char *text, size_t len)
{
    struct import_job job = {.g = &x->g, .path = path};
    int status = gw_change_begin(x);
    cmx_err err;

    if (status)
        return status;
    err = import_all(&job, text, len, &x->e);
    if (err)
        clean_reason(&x->e);
    cmx_mem_free(job.rows);
    status = gw_change_finish(x, err);
    if (!status)
        print_result(&x->common, &job);
    return status;
}

int gw_cmd_import(int argc, char **argv)
{
    struct gw_change x = {.what = "nothing was imported"};
    const struct cli_option options[] = {GW_CHANGE_OPTIONS(x.common)};
    struct cli_line line = CLI_LINE("cmxsafe gateway import", "FILE|-", about, 1, 1, options);
    struct cmx_why e = {0};
    char *text = NULL;
    size_t len = 0;
    int status;

    if (cli_parse(&line, argc, argv, &status))
        return status;
    if (cmx_file_read_any(line.operand[0], FILE_MAX, &text, &len, &e))
        return gw_fail(line.operand[0], &e);
    status = run(&x, line.operand[0], text, len);
    cmx_mem_free_secret(text);
    return status;
}
