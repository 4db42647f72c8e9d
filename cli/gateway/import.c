#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/gateway/enroll.h"
#include "gateway/registry/csv.h"

static const char about[] = "Enrols many devices from CSV (RFC 4180), all or none. The first line names the columns: "
                            "name, key and ports are needed;\n"
                            "open, address, mac and group may be there. key holds the public key itself or the path of "
                            "its file; lists within a field\n"
                            "are in quotes: cam-17,keys/cam-17.pub,\"81,8989\". What 'export' writes can be imported.";

#define LINE_MAX_CHARS 8192

enum { COL_NAME, COL_KEY, COL_PORTS, COL_OPEN, COL_ADDRESS, COL_MAC, COL_GROUP, COLUMNS };
static const char *const column_names[COLUMNS] = {"name", "key", "ports", "open", "address", "mac", "group"};

struct import_job {
    struct gw *g;
    int place[COLUMNS]; /* which field holds the column; -1: none */
    size_t line_no;
    size_t counts[3]; /* by gw_outcome */
};

static cmx_err read_header(struct import_job *job, char *line, struct gw_error *e)
{
    char *fields[GW_CSV_FIELDS_MAX];
    size_t n;

    for (size_t c = 0; c < COLUMNS; c++)
        job->place[c] = -1;
    if (gw_csv_split(line, fields, &n))
        return gw_error_set(e, CMX_EFORMAT, NULL, "line 1 is not CSV");
    for (size_t i = 0; i < n; i++) {
        size_t c = 0;
        while (c < COLUMNS && strcmp(column_names[c], fields[i]) != 0)
            c++;
        if (c == COLUMNS)
            return gw_error_set(e, CMX_EFORMAT, "columns: name,key,ports,open,address,mac,group",
                                "there is no column '%.40s'", fields[i]);
        job->place[c] = (int)i;
    }
    if (job->place[COL_NAME] < 0 || job->place[COL_KEY] < 0 || job->place[COL_PORTS] < 0)
        return gw_error_set(e, CMX_EFORMAT, "the first line is: name,key,ports",
                            "a column name, key or ports is missing");
    return CMX_OK;
}

/* "" for a column that is not there. */
static const char *field(const struct import_job *job, char **fields, size_t n, int column)
{
    int at = job->place[column];
    return at >= 0 && (size_t)at < n ? fields[at] : "";
}

static cmx_err enroll_line(struct import_job *job, char **fields, size_t n, struct gw_error *e)
{
    const char *key = field(job, fields, n, COL_KEY);
    const char *address = field(job, fields, n, COL_ADDRESS);
    const char *mac = field(job, fields, n, COL_MAC);
    struct gw_device d = {0};
    struct gw_key k;
    gw_outcome outcome;
    cmx_err err;

    if ((size_t)snprintf(d.name, sizeof d.name, "%s", field(job, fields, n, COL_NAME)) >= sizeof d.name ||
        (size_t)snprintf(d.team, sizeof d.team, "%s", field(job, fields, n, COL_GROUP)) >= sizeof d.team)
        return gw_error_set(e, CMX_EINVAL, NULL, "the name is too long");
    err = d.team[0] ? gw_name_check(d.team, e) : CMX_OK;
    if (!err)
        err = strchr(key, ' ') ? gw_key_parse(&k, key, e) : gw_key_read(&k, key, e);
    if (!err)
        err = gw_ports_parse(&d, field(job, fields, n, COL_PORTS), e);
    if (!err)
        err = gw_directs_parse(&d, field(job, fields, n, COL_OPEN), e);
    if (!err)
        err = gw_enroll_address(job->g, &d, &k, address[0] ? address : NULL, mac[0] ? mac : NULL, e);
    if (!err)
        err = gw_device_enroll(&job->g->registry, &d, &k, &outcome, e);
    if (!err)
        job->counts[outcome]++;
    return err;
}

static cmx_err take_line(struct import_job *job, char *line, struct gw_error *e)
{
    char *fields[GW_CSV_FIELDS_MAX];
    char why[sizeof e->why];
    size_t n;
    cmx_err err;

    line[strcspn(line, "\r\n")] = '\0';
    if (job->line_no++ == 0)
        return read_header(job, line, e);
    if (line[0] == '\0')
        return CMX_OK;
    err = gw_csv_split(line, fields, &n);
    if (err)
        return gw_error_set(e, err, NULL, "line %zu is not CSV", job->line_no);
    err = enroll_line(job, fields, n, e);
    if (err) {
        snprintf(why, sizeof why, "%s", e->why);
        snprintf(e->why, sizeof e->why, "line %zu: %.220s", job->line_no, why);
    }
    return err;
}

static cmx_err import_all(struct import_job *job, FILE *f, struct gw_error *e)
{
    char line[LINE_MAX_CHARS];
    cmx_err err = CMX_OK;

    while (!err && fgets(line, sizeof line, f)) {
        if (!strchr(line, '\n') && !feof(f))
            return gw_error_set(e, CMX_EFORMAT, NULL, "line %zu is too long", job->line_no + 1);
        err = take_line(job, line, e);
    }
    if (!err && job->line_no == 0)
        return gw_error_set(e, CMX_EFORMAT, "the first line is: name,key,ports", "the file is empty");
    return err;
}

int gw_cmd_import(int argc, char **argv)
{
    struct gw_common c = {0};
    const struct gw_option options[] = {GW_DIR_OPTION(c), GW_JSON_OPTION(c), GW_DRY_RUN_OPTION(c)};
    struct gw_command_line line = GW_COMMAND_LINE("import", "FILE|-", about, 1, 1, options);
    struct gw_error e = {0};
    struct gw g;
    struct import_job job = {.g = &g};
    cmx_err err;
    FILE *f;
    int status;

    if (gw_args(&line, argc, argv, &status))
        return status;
    f = strcmp(line.operand[0], "-") == 0 ? stdin : fopen(line.operand[0], "re");
    if (!f)
        return cli_fail(line.operand[0], strerror(errno), NULL);
    if (gw_open(&g, &c, true)) {
        if (f != stdin)
            fclose(f);
        return CLI_FAILED;
    }
    err = gw_registry_begin(&g.registry, &e);
    if (!err)
        err = import_all(&job, f, &e);
    if (f != stdin)
        fclose(f);
    status = gw_finish(&g, &c, "nothing was imported", err, &e);
    if (!status)
        printf(c.json ? "{\"added\":%zu,\"changed\":%zu,\"unchanged\":%zu%s}\n"
                      : "added %zu, changed %zu, unchanged %zu%s\n",
               job.counts[GW_ADDED], job.counts[GW_CHANGED], job.counts[GW_UNCHANGED],
               !c.dry_run ? ""
               : c.json   ? ",\"dry_run\":true"
                          : gw_dry_text(&c));
    return status;
}
