#include "gateway/shared/pg_link.h"

#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "cmxsafe/port/port.h"
#include "gateway/registry/registry.h"

#define PARAMETERS_MAX 16
#define QUERY_CANCELED "57014" /* PostgreSQL's error code when statement_timeout expires (manual, appendix A) */

/* A gateway that is cut off while it holds the lock loses it after IDLE_MAX_S. Another gateway's command, such as a
 * revocation, waits longer for the lock, for LOCK_PATIENCE_S. Even a long change, such as an import, ends within that
 * time. The limit is a statement_timeout, because a lock_timeout begins again when a command that waits behind another
 * one becomes the first. */
#define IDLE_MAX_S 10
#define LOCK_PATIENCE_S 12
_Static_assert(LOCK_PATIENCE_S > IDLE_MAX_S, "a gateway that is cut off would make the commands of others fail");
_Static_assert(LOCK_PATIENCE_S * 1000 < GW_PG_PATIENCE_MS, "a held lock would look like a lost connection");

#define TEXT_OF(number) #number
#define SECONDS(number) "'" TEXT_OF(number) "s'"

/* Runs once for each connection. */
/* clang-format off */
static const char session_setup[] =
    "SET search_path = cmxsafe; SET statement_timeout = " SECONDS(LOCK_PATIENCE_S) ";"
    "SET idle_in_transaction_session_timeout = " SECONDS(IDLE_MAX_S) "; SET client_min_messages = warning";
/* clang-format on */

/* Defaults for parameters that the URL does not set: a lost server is detected within seconds, and a standby server is
 * not used. */
static const struct {
    const char *name, *value;
} defaults[] = {{"connect_timeout", "3"},    {"keepalives_idle", "5"},       {"keepalives_interval", "2"},
                {"keepalives_count", "3"},   {"tcp_user_timeout", "10000"},  {"target_session_attrs", "read-write"},
                {"client_encoding", "UTF8"}, {"application_name", "cmxsafe"}};

static const char *option_of(const PQconninfoOption *options, const char *name)
{
    for (const PQconninfoOption *o = options; o && o->keyword; o++)
        if (strcmp(o->keyword, name) == 0 && o->val && o->val[0])
            return o->val;
    return NULL;
}

static cmx_err parse_url(PQconninfoOption **out, const char *url, struct cmx_why *e)
{
    char *why = NULL;
    cmx_err err = CMX_OK;

    *out = NULL;
    if (strncmp(url, "postgresql://", 13) != 0 && strncmp(url, "postgres://", 11) != 0)
        return cmx_why_fail(e, CMX_EINVAL,
                            "'%.60s' is not the URL of a registry; give one such as "
                            "postgresql://cmxsafe@db.example/cmxsafe",
                            url);
    if (strlen(url) >= GW_REGISTRY_URL_MAX)
        return cmx_why_fail(e, CMX_EINVAL, "the URL of the registry is longer than %d bytes", GW_REGISTRY_URL_MAX - 1);
    *out = PQconninfoParse(url, &why);
    if (!*out)
        err = cmx_why_fail(e, CMX_EINVAL, "the URL of the registry is not valid: %.200s", why ? why : "out of memory");
    PQfreemem(why);
    if (!err && (option_of(*out, "password") || option_of(*out, "sslpassword")))
        err = cmx_why_fail(e, CMX_EINVAL,
                           "the URL of the registry holds a password, which would be stored in plain text; put the "
                           "password into a file in the format of .pgpass, mode 0600, and end the URL with "
                           "'?passfile=FILE'");
    if (err) {
        PQconninfoFree(*out);
        *out = NULL;
    }
    return err;
}

cmx_err gw_pg_url_check(const char *url, struct cmx_why *e)
{
    PQconninfoOption *options;
    cmx_err err = parse_url(&options, url, e);

    PQconninfoFree(options);
    return err;
}

/* True if each host in the list is a UNIX socket's folder or the loopback. */
static bool is_local(const char *hosts)
{
    char list[GW_REGISTRY_URL_MAX];
    char *rest = list;

    snprintf(list, sizeof list, "%s", hosts);
    for (char *host = strsep(&rest, ","); host; host = strsep(&rest, ","))
        if (host[0] && host[0] != '/' && host[0] != '@' && strcmp(host, "localhost") != 0 &&
            strncmp(host, "127.", 4) != 0 && strcmp(host, "::1") != 0)
            return false;
    return true;
}

/* The registry decides who may log in, so a server on another machine must prove its identity with TLS, unless the URL,
 * the environment or a service file sets another mode. */
static bool needs_tls(const PQconninfoOption *options)
{
    const char *host = option_of(options, "host");
    const char *address = option_of(options, "hostaddr");

    if (!host)
        host = getenv("PGHOST");
    return !option_of(options, "sslmode") && !option_of(options, "service") && !getenv("PGSSLMODE") &&
           !getenv("PGSERVICE") && !(is_local(host ? host : "") && is_local(address ? address : ""));
}

/* Copies entry n, counted from 0, of a list separated by commas. False: the list is shorter. */
static bool list_entry(const char *list, size_t n, char out[GW_REGISTRY_URL_MAX])
{
    for (; list && n; n--)
        list = (list = strchr(list, ',')) ? list + 1 : NULL;
    snprintf(out, GW_REGISTRY_URL_MAX, "%.*s", list ? (int)strcspn(list, ",") : 0, list ? list : "");
    return list != NULL;
}

/* nth: the only server of the URL to connect to, counted from 1; 0: the first one that accepts writes. */
static PGconn *connect_with(const PQconninfoOption *options, const char *url, size_t nth)
{
    static const char *const lists[] = {"host", "hostaddr", "port"};
    char entries[3][GW_REGISTRY_URL_MAX];
    const char *names[PARAMETERS_MAX];
    const char *values[PARAMETERS_MAX];
    size_t n = 0;

    for (size_t i = 0; i < sizeof defaults / sizeof defaults[0]; i++)
        if (!option_of(options, defaults[i].name)) {
            names[n] = defaults[i].name;
            values[n++] = defaults[i].value;
        }
    if (needs_tls(options)) {
        names[n] = "sslmode";
        values[n++] = "verify-full";
    }
    names[n] = "dbname"; /* the value may be a URL, because the call sets expand_dbname */
    values[n++] = url;
    for (size_t i = 0; nth && i < sizeof lists / sizeof lists[0]; i++) {
        const char *list = option_of(options, lists[i]);

        /* A list of ports may have one entry, for all servers. */
        if (list && strchr(list, ',') && list_entry(list, nth - 1, entries[i])) {
            names[n] = lists[i];
            values[n++] = entries[i];
        }
    }
    names[n] = NULL;
    values[n] = NULL;
    return PQconnectdbParams(names, values, 1);
}

/* libpq's messages end with a newline, and may have several lines. */
static cmx_err away(struct cmx_why *e, const char *text)
{
    char line[200];

    snprintf(line, sizeof line, "%s", text && text[0] ? text : "it does not answer");
    for (size_t n = strlen(line); n && line[n - 1] == '\n'; n--)
        line[n - 1] = '\0';
    for (char *p = line; *p; p++)
        if (*p == '\n' || *p == '\t')
            *p = ' ';
    return cmx_why_fail(e, CMX_ECLOSED, "the registry in PostgreSQL can't be reached (%s)", line);
}

static void drop_notice(void *arg, const PGresult *result)
{
    (void)arg;
    (void)result;
}

static cmx_err read_server(void *arg, const PGresult *rows, struct cmx_why *e)
{
    struct gw_pg_server *s = arg;

    (void)e;
    if (PQresultStatus(rows) == PGRES_TUPLES_OK && PQntuples(rows) == 1) {
        snprintf(s->system, sizeof s->system, "%s", PQgetvalue(rows, 0, 0));
        s->timeline = strtoll(PQgetvalue(rows, 0, 1), NULL, 10);
    }
    return CMX_OK;
}

/* *former: true if *known has replaced the connection's server. A server that does not report its system and timeline
 * is used; some hosted servers do not. */
static cmx_err check_server(PGconn *c, struct gw_pg_server *known, bool *former, struct cmx_why *e)
{
    struct gw_pg_server now = {0};
    cmx_err err = gw_pg_run(c,
                            "SELECT system_identifier, ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))"
                            "::bit(32)::int FROM pg_control_system()",
                            read_server, &now, NULL);

    *former = !err && strcmp(now.system, known->system) == 0 && now.timeline < known->timeline;
    if (*former)
        return cmx_why_fail(e, CMX_ECLOSED,
                            "the PostgreSQL server %.60s port %.6s is out of date, because a standby has replaced it; "
                            "stop it, or make it a standby of the new server (docs/SCALE_OUT.md)",
                            PQhost(c), PQport(c));
    if (!err)
        *known = now;
    return CMX_OK;
}

static cmx_err open_server(PGconn **out, const PQconninfoOption *options, const char *url, size_t nth,
                           struct gw_pg_server *server, bool *former, struct cmx_why *e)
{
    cmx_err err = CMX_OK;

    *former = false;
    *out = connect_with(options, url, nth);
    if (PQstatus(*out) != CONNECTION_OK)
        err = away(e, PQerrorMessage(*out));
    PQsetNoticeReceiver(*out, drop_notice, NULL);
    if (!err && PQserverVersion(*out) < 120000)
        err = cmx_why_fail(
            e, CMX_ENOTSUP,
            "the registry needs PostgreSQL 12 or newer, but this server has version %d; upgrade the server",
            PQserverVersion(*out) / 10000);
    if (!err && PQsetnonblocking(*out, 1) != 0)
        err = away(e, PQerrorMessage(*out));
    if (!err)
        err = gw_pg_run(*out, session_setup, NULL, NULL, e);
    if (!err)
        err = check_server(*out, server, former, e);
    if (err) {
        PQfinish(*out);
        *out = NULL;
    }
    return err;
}

cmx_err gw_pg_open(PGconn **out, const char *url, struct gw_pg_server *server, struct cmx_why *e)
{
    PQconninfoOption *options;
    struct cmx_why ignored = {0};
    char host[GW_REGISTRY_URL_MAX];
    bool former = false;
    bool other;
    cmx_err err = parse_url(&options, url, e);

    *out = NULL;
    if (!err)
        err = open_server(out, options, url, 0, server, &former, e);
    /* libpq connects to the first server that accepts writes, even if a server later in the list has replaced it. */
    for (size_t i = 1; err && former && option_of(options, "host") && strchr(option_of(options, "host"), ',') &&
                       list_entry(option_of(options, "host"), i - 1, host);
         i++)
        if (open_server(out, options, url, i, server, &other, &ignored) == CMX_OK)
            err = CMX_OK;
    PQconninfoFree(options);
    return err;
}

static bool wait_socket(PGconn *c, short events, uint64_t deadline)
{
    struct pollfd p = {.fd = PQsocket(c), .events = events};
    uint64_t now = cmx_port_now_ms();

    return now < deadline && poll(&p, 1, (int)(deadline - now)) > 0;
}

/* Sends all queued bytes. Also reads what the server sends meanwhile; otherwise both sides could wait for each
 * other. */
static bool flush_all(PGconn *c, uint64_t deadline)
{
    int left;

    while ((left = PQflush(c)) > 0)
        if (!wait_socket(c, POLLIN | POLLOUT, deadline) || !PQconsumeInput(c))
            return false;
    return left == 0;
}

/* True for the codes of an undefined table, column or schema (PostgreSQL's appendix "Error Codes"). */
static bool is_missing(const char *code)
{
    return strcmp(code, "42P01") == 0 || strcmp(code, "42703") == 0 || strcmp(code, "3F000") == 0;
}

static cmx_err take_result(const PGresult *result, gw_pg_result_fn each, void *arg, struct cmx_why *e)
{
    ExecStatusType status = PQresultStatus(result);
    const char *code;

    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK)
        return each ? each(arg, result, e) : CMX_OK;
    code = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    if (code && strcmp(code, QUERY_CANCELED) == 0)
        return cmx_why_fail(e, CMX_EBUSY,
                            "another gateway has been changing the registry for a long time; repeat the command later");
    return cmx_why_fail(e, CMX_EIO, "PostgreSQL refused a statement (%.200s); %s",
                        code ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : "no reason given",
                        code && is_missing(code)
                            ? "its tables were changed by hand: restore a backup in PostgreSQL, or replace them as "
                              "docs/SCALE_OUT.md describes"
                            : "see PostgreSQL's log");
}

cmx_err gw_pg_run(PGconn *c, const char *sql, gw_pg_result_fn each, void *arg, struct cmx_why *e)
{
    uint64_t deadline = cmx_port_now_ms() + GW_PG_PATIENCE_MS;
    cmx_err first = CMX_OK;
    PGresult *result;

    if (!PQsendQuery(c, sql) || !flush_all(c, deadline))
        return away(e, PQerrorMessage(c));
    for (;;) {
        while (PQisBusy(c))
            if (!wait_socket(c, POLLIN, deadline) || !PQconsumeInput(c))
                return away(e, PQerrorMessage(c));
        result = PQgetResult(c);
        if (!result)
            break;
        if (!first)
            first = take_result(result, each, arg, e);
        PQclear(result);
    }
    return PQstatus(c) == CONNECTION_OK ? first : away(e, PQerrorMessage(c));
}

cmx_err gw_pg_run_made(PGconn *c, sqlite3_str *sql, gw_pg_result_fn each, void *arg, struct cmx_why *e)
{
    char *text = sqlite3_str_finish(sql);
    cmx_err err = text ? gw_pg_run(c, text, each, arg, e) : cmx_why_fail(e, CMX_ENOMEM, "out of memory");

    sqlite3_free(text);
    return err;
}

static bool ends_with(const char *text, const char *end)
{
    size_t len = strlen(text);
    size_t end_len = strlen(end);

    return end_len > 0 && len >= end_len && strcmp(text + len - end_len, end) == 0;
}

cmx_err gw_pg_wait(PGconn *c, const char *except, int timeout_ms, struct cmx_why *e)
{
    uint64_t deadline = cmx_port_now_ms() + (uint64_t)timeout_ms;
    PGnotify *n;
    bool any = false;

    for (;;) {
        if (!PQconsumeInput(c))
            return away(e, PQerrorMessage(c));
        while ((n = PQnotifies(c)) != NULL) {
            any |= !ends_with(n->extra, except);
            PQfreemem(n);
        }
        if (any)
            return CMX_OK;
        if (!wait_socket(c, POLLIN, deadline))
            return CMX_ETIMEOUT;
    }
}
