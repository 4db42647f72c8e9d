#include "cli/gateway/gw_fleet_answer.h"

#include <arpa/inet.h>
#include <string.h>

#include "cli/common/json_get.h"
#include "cmxsafe/core/base64.h"
#include "cmxsafe/core/text.h"
#include "gateway/folder/gw_json.h"
#include "gateway/registry/certificate.h"
#include "gateway/registry/grant.h"
#include "gateway/registry/sshkey.h"
#include "gateway/server/gw_server.h"

#define VALUE_MAX 256
#define TIME_MAX_S UINT64_C(253402300799) /* the end of the year 9999 */
#define TIME_MAX_MS (TIME_MAX_S * UINT64_C(1000) + UINT64_C(999))
#define COUNT_MAX ((uint64_t)INT64_MAX)

typedef enum { NAME, ADDRESS, ENDPOINT, FINGERPRINT, WORD, TEXT, NUMBER } value_type;

struct member {
    const char *key;
    value_type type;
    uint64_t max; /* the largest number, or the greatest length of a text */
    bool required;
};

static const struct member session_members[] = {
    {"name", NAME, GW_CONSUMER_MAX - 1, true},
    {"identity", ADDRESS, GW_ADDRESS_MAX - 1, false},
    {"from", ENDPOINT, GW_SOURCE_TEXT_MAX - 1, false},
    {"key", FINGERPRINT, GW_FINGERPRINT_MAX - 1, false},
    {"client", TEXT, GW_CLIENT_MAX - 1, false},
    {"ca", NAME, GW_NAME_MAX - 1, false},
    {"certificate", TEXT, GW_CERTIFICATE_ID_MAX - 1, false},
    {"serial", WORD, 20, false},
    {"certificate_ends", NUMBER, TIME_MAX_S, false},
    {"since", NUMBER, TIME_MAX_S, true},
    {"pid", NUMBER, INT32_MAX, false},
    {"bytes_in", NUMBER, COUNT_MAX, false},
    {"bytes_out", NUMBER, COUNT_MAX, false},
    {"rtt_us", NUMBER, UINT32_MAX, false},
    {"refused", NUMBER, COUNT_MAX, false},
};

static const struct member record_members[] = {
    {"event", WORD, 15, true},
    {"at", NUMBER, TIME_MAX_MS, true},
    {"since", NUMBER, TIME_MAX_MS, false},
    {"consumer", ADDRESS, GW_ADDRESS_MAX - 1, false},
    {"target", ADDRESS, GW_ADDRESS_MAX - 1, false},
    {"port", NUMBER, UINT16_MAX, false},
    {"bytes_in", NUMBER, COUNT_MAX, false},
    {"bytes_out", NUMBER, COUNT_MAX, false},
    {"count", NUMBER, COUNT_MAX, false},
};

static const struct member minute_members[] = {
    {"at", NUMBER, TIME_MAX_S, true},        {"length_ms", NUMBER, COUNT_MAX, false},
    {"sessions", NUMBER, COUNT_MAX, false},  {"bytes_in", NUMBER, COUNT_MAX, false},
    {"bytes_out", NUMBER, COUNT_MAX, false}, {"denied", NUMBER, COUNT_MAX, false},
};

static const struct member party_members[] = {
    {"name", NAME, GW_CONSUMER_MAX - 1, true},       {"sessions", NUMBER, COUNT_MAX, false},
    {"bytes_in", NUMBER, COUNT_MAX, false},          {"bytes_out", NUMBER, COUNT_MAX, false},
    {"refused", NUMBER, COUNT_MAX, false},           {"denied", NUMBER, COUNT_MAX, false},
    {"takeovers_refused", NUMBER, COUNT_MAX, false},
};

static bool consists_of(const char *text, const char *chars)
{
    return text[strspn(text, chars)] == '\0';
}

/* True if the type allows the text. A gateway writes an empty text for a value that it does not have. */
static bool is_valid(value_type type, const char *text)
{
    struct gw_consumer consumer;
    uint8_t raw[CMX_IPV6_LEN];

    switch (type) {
    case NAME: /* the name of a device, a platform or a principal */
        return !strchr(text, ':') && gw_consumer_parse(&consumer, text, NULL) == CMX_OK;
    case ADDRESS:
        return !text[0] || inet_pton(AF_INET6, text, raw) == 1;
    case ENDPOINT:
        return consists_of(text, "0123456789abcdef.:[]");
    case FINGERPRINT:
        return !text[0] || cmx_base64_is_fingerprint(text, strlen(text));
    case WORD:
        return text[0] && consists_of(text, "abcdefghijklmnopqrstuvwxyz0123456789-");
    case TEXT:
        return true;
    case NUMBER:
        break;
    }
    return false;
}

/* The put functions below return false if the object is malformed. They find a fault only after they have written the
 * members before it. So call them with j NULL first, which checks the object and writes nothing. */
static bool put_member(struct cmx_json *j, const char *object, const struct member *m)
{
    const char *value = json_find(object, m->key);
    char text[VALUE_MAX];
    uint64_t number;

    if (!value)
        return !m->required;
    if ((*value == '"') != (m->type != NUMBER) || json_get(value, "", text, sizeof text))
        return false;
    if (m->type == NUMBER) {
        if (cmx_text_u64(text, 0, m->max, &number))
            return false;
        if (j)
            cmx_json_u64(j, m->key, number);
        return true;
    }
    if (strlen(text) > m->max || !is_valid(m->type, text))
        return false;
    if (j)
        cmx_json_str(j, m->key, text);
    return true;
}

/* Writes the listeners, "[ADDRESS]:PORT". */
static bool put_forwards(struct cmx_json *j, const char *object)
{
    const char *list = json_find(object, "forwards");
    char text[GW_ADDRESS_MAX + 12];
    size_t n = 0;

    if (list && *list != '[')
        return false;
    if (j)
        cmx_json_array(j, "forwards");
    for (const char *f = list ? json_first(list, "") : NULL; f; f = json_next(f)) {
        if (*f != '"' || ++n > GW_SESSION_FORWARDS_MAX || json_get(f, "", text, sizeof text) ||
            !is_valid(ENDPOINT, text))
            return false;
        if (j)
            cmx_json_str(j, NULL, text);
    }
    if (j)
        cmx_json_end(j);
    return true;
}

/* A list in a gateway's answer. */
struct list {
    const char *key;
    const struct member *members; /* the members of each object in the list */
    size_t n;
    bool has_forwards;
};

static const struct list sessions = {"sessions", session_members, GW_COUNT(session_members), true};
static const struct list minutes = {"minutes", minute_members, GW_COUNT(minute_members), false};
static const struct list parties = {"parties", party_members, GW_COUNT(party_members), false};
static const struct list records = {"", record_members, GW_COUNT(record_members), false};

static bool put_element(struct cmx_json *j, const char *object, const struct list *l)
{
    if (*object != '{')
        return false;
    for (size_t i = 0; i < l->n; i++)
        if (!put_member(j, object, &l->members[i]))
            return false;
    return !l->has_forwards || put_forwards(j, object);
}

/* Writes the valid objects of the list. */
static void put_list(struct cmx_json *j, const char *text, const struct list *l, size_t *malformed)
{
    cmx_json_array(j, l->key);
    for (const char *object = json_first(text, l->key); object; object = json_next(object)) {
        if (!put_element(NULL, object, l)) {
            (*malformed)++;
            continue;
        }
        cmx_json_object(j, NULL);
        (void)put_element(j, object, l); /* succeeds: the object was checked above */
        cmx_json_end(j);
    }
    cmx_json_end(j);
}

static bool has_array(const char *text, const struct list *l)
{
    const char *value = json_is_whole(text) ? json_find(text, l->key) : NULL;

    return value && *value == '[';
}

/* Writes the lists a and b of the answer. b may be NULL. */
static cmx_err put_lists(const char *text, FILE *out, const struct list *a, const struct list *b, size_t *malformed)
{
    struct gw_json json;

    if (!has_array(text, a) || (b && !has_array(text, b)))
        return CMX_EFORMAT;
    gw_json_begin(&json, out);
    cmx_json_object(&json.j, NULL);
    put_list(&json.j, text, a, malformed);
    if (b)
        put_list(&json.j, text, b, malformed);
    cmx_json_end(&json.j);
    return gw_json_end(&json) ? CMX_OK : CMX_ENOMEM;
}

cmx_err gw_fleet_answer_status(const char *text, FILE *out, size_t *malformed)
{
    return put_lists(text, out, &sessions, NULL, malformed);
}

cmx_err gw_fleet_answer_traffic(const char *text, FILE *out, size_t *malformed)
{
    return put_lists(text, out, &minutes, &parties, malformed);
}

cmx_err gw_fleet_answer_record(const char *line, FILE *out)
{
    struct gw_json json;

    if (!json_is_whole(line) || !put_element(NULL, line, &records))
        return CMX_EFORMAT;
    gw_json_begin(&json, out);
    cmx_json_object(&json.j, NULL);
    (void)put_element(&json.j, line, &records); /* succeeds: the line was checked above */
    cmx_json_end(&json.j);
    return gw_json_end(&json) ? CMX_OK : CMX_ENOMEM;
}
