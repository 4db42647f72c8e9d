#include "gateway/shared/copy_text.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <string.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/identity/attest_key.h"
#include "gateway/registry/authority.h"
#include "gateway/registry/evidence_policy.h"
#include "gateway/registry/grant.h"
#include "gateway/registry/plain_text.h"
#include "gateway/registry/registry_device.h"

#define CONTENT_MAX (GW_KRL_MAX / 3 * 4 + 4) /* length of the longest KRL in base64 */
#define REASON_MAX 1024                      /* maximum bytes of a reason or other text without a limit of its own */

static const struct {
    const char *table; /* NULL: any table */
    const char *column;
    struct gw_copy_rule rule;
} rules[] = {
    {"attestation",
     "detail",
     {GW_COPY_LINES, sizeof((struct gw_attestation *)0)->detail + GW_CLAIMS_MAX}}, /* a reason, then claims */
    {"consumer", "name", {GW_COPY_UNIT, GW_CONSUMER_MAX - 1}},
    {"krl", "content", {GW_COPY_WORD, CONTENT_MAX}},
    {"port", "address", {GW_COPY_ADDRESS_OR_NONE, GW_ADDRESS_MAX - 1}},
    {NULL, "address", {GW_COPY_ADDRESS, GW_ADDRESS_MAX - 1}},
    {NULL, "attest_key", {GW_COPY_TEXT, CMX_ATTEST_KEY_LINE_MAX - 1}},
    {NULL, "blob", {GW_COPY_WORD, GW_KEY_BLOB_MAX - 1}},
    {NULL, "client", {GW_COPY_TEXT, REASON_MAX}},
    {NULL, "detail", {GW_COPY_TEXT, REASON_MAX}},
    {NULL, "firmware", {GW_COPY_TEXT, REASON_MAX}},
    {NULL, "host", {GW_COPY_WORD, GW_HOST_MAX - 1}},
    {NULL, "manifest", {GW_COPY_TEXT, REASON_MAX}},
    {NULL, "manifests", {GW_COPY_TEXT, REASON_MAX}},
    {NULL, "name", {GW_COPY_WORD, GW_NAME_MAX - 1}},
    {NULL, "node", {GW_COPY_WORD, GW_NAME_MAX - 1}},
    {NULL, "path", {GW_COPY_TEXT, GW_POLICY_PATH_MAX - 1}},
    {NULL, "reason", {GW_COPY_TEXT, REASON_MAX}},
    {NULL, "source", {GW_COPY_TEXT, REASON_MAX}},
    {NULL, "target", {GW_COPY_WORD, GW_NAME_MAX - 1}},
    {NULL, "team", {GW_COPY_WORD, GW_NAME_MAX - 1}},
    {NULL, "type", {GW_COPY_WORD, GW_KEY_TYPE_MAX - 1}},
    {NULL, "version", {GW_COPY_TEXT, REASON_MAX}},
    {NULL, "who", {GW_COPY_TEXT, REASON_MAX}},
    {NULL, "why", {GW_COPY_TEXT, REASON_MAX}},
};

struct gw_copy_rule gw_copy_rule_of(const char *table, const char *column)
{
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
        if ((!rules[i].table || strcmp(rules[i].table, table) == 0) && strcmp(rules[i].column, column) == 0)
            return rules[i].rule;
    return (struct gw_copy_rule){GW_COPY_WORD, REASON_MAX};
}

bool gw_copy_rule_is_address(const struct gw_copy_rule *rule)
{
    return rule->form == GW_COPY_ADDRESS || rule->form == GW_COPY_ADDRESS_OR_NONE;
}

static bool is_word(uint32_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c > 0 && c < 0x80 && strchr("._-@/:+=,[]", (int)c));
}

static bool may_have(enum gw_copy_form form, uint32_t c)
{
    if (form != GW_COPY_TEXT && form != GW_COPY_LINES)
        return is_word(c) || (form == GW_COPY_UNIT && c == '\\');
    return !gw_text_is_deceptive(c) || (form == GW_COPY_LINES && c == '\n');
}

/* Accepts only the canonical form, because the tables compare addresses as texts. */
static bool is_address(const char *text)
{
    char canonical[INET6_ADDRSTRLEN];
    uint8_t raw[CMX_IPV6_LEN];

    return inet_pton(AF_INET6, text, raw) == 1 && inet_ntop(AF_INET6, raw, canonical, sizeof canonical) &&
           strcmp(text, canonical) == 0;
}

bool gw_copy_text_is_clean(const char *text, const struct gw_copy_rule *rule)
{
    uint32_t c;

    if (strlen(text) > rule->max)
        return false;
    if (gw_copy_rule_is_address(rule))
        return is_address(text) || (!*text && rule->form == GW_COPY_ADDRESS_OR_NONE);
    for (size_t len; *text; text += len) {
        len = gw_text_next(text, &c);
        if (!may_have(rule->form, c))
            return false;
    }
    return true;
}

char *gw_copy_text_clean(const char *text, const struct gw_copy_rule *rule)
{
    char *out = cmx_mem_alloc(rule->max + 1);
    size_t n = 0;
    uint32_t c;

    for (size_t len; out && *text; text += len) {
        bool good;

        len = gw_text_next(text, &c);
        good = may_have(rule->form, c);
        if (n + (good ? len : 1) > rule->max)
            break;
        if (good)
            memcpy(out + n, text, len);
        else
            out[n] = GW_COPY_REPLACED;
        n += good ? len : 1;
    }
    return out; /* NUL-terminated, because cmx_mem_alloc zeroes the memory */
}

/* A text is cut before the first character that would exceed the bound. A character has up to four bytes, so a text
 * that was cut may be up to three bytes shorter than the bound. */
static bool may_be_cut(const char *text, const struct gw_copy_rule *rule)
{
    return strlen(text) + 4 > rule->max;
}

bool gw_copy_text_is_replaced(const char *text, const struct gw_copy_rule *rule)
{
    return strchr(text, GW_COPY_REPLACED) != NULL || may_be_cut(text, rule);
}

char *gw_copy_text_pattern(const char *text, const struct gw_copy_rule *rule)
{
    char *out = cmx_mem_alloc(2 * strlen(text) + 2);
    size_t n = 0;

    for (const char *s = text; out && *s; s++) {
        if (strchr("%_\\", *s))
            out[n++] = '\\';
        out[n++] = *s == GW_COPY_REPLACED ? '_' : *s;
    }
    if (out && may_be_cut(text, rule))
        out[n] = '%';
    return out;
}
