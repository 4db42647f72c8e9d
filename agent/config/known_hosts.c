#include "agent/config/known_hosts.h"

#include <ctype.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>

#include "cmxsafe/core/base64.h"
#include "cmxsafe/core/secret.h"

#define SHA1_LEN 20 /* the file's format prescribes SHA-1, which only hides host names here */
#define NAME_MAX_LEN 320
#define REVOKED "@revoked"

static const char *skip_blank(const char *s)
{
    return s + strspn(s, " \t");
}

static const char *skip_word(const char *s)
{
    return s + strcspn(s, " \t");
}

/* Matches s against a pattern with '*' and '?' as in ssh_config(5), PATTERNS, without regard to case. Iterative, so
 * that a hostile pattern cannot exhaust the stack. */
static bool glob(const char *pattern, size_t pattern_len, const char *s)
{
    size_t p = 0, star = (size_t)-1;
    const char *retry = s;

    while (*s) {
        if (p < pattern_len && pattern[p] == '*') {
            star = p++;
            retry = s;
        } else if (p < pattern_len &&
                   (pattern[p] == '?' || tolower((unsigned char)pattern[p]) == tolower((unsigned char)*s))) {
            p++;
            s++;
        } else if (star != (size_t)-1) {
            p = star + 1;
            s = ++retry;
        } else {
            return false;
        }
    }
    while (p < pattern_len && pattern[p] == '*')
        p++;
    return p == pattern_len;
}

/* True if name matches a list of patterns, separated by commas. If a negated pattern matches, the list does not
 * match. */
static bool list_match(const char *list, size_t len, const char *name)
{
    bool found = false;

    for (const char *end = list + len; list < end;) {
        const char *comma = memchr(list, ',', (size_t)(end - list));
        const char *stop = comma ? comma : end;
        bool negated = *list == '!';
        const char *pattern = negated ? list + 1 : list;

        if (stop > pattern && glob(pattern, (size_t)(stop - pattern), name)) {
            if (negated)
                return false;
            found = true;
        }
        list = stop + 1;
    }
    return found;
}

/* Decodes base64 of exactly SHA1_LEN bytes (28 digits). */
static bool decode20(const char *text, size_t len, unsigned char out[SHA1_LEN])
{
    size_t n = 0;

    return len == 28 && cmx_base64_decode(out, SHA1_LEN, text, len, &n) == CMX_OK && n == SHA1_LEN;
}

/* Compares a name with "|1|salt|hash": hash is the HMAC-SHA1 of the name, with the salt as the key. */
static bool hash_match(const char *field, size_t len, const char *name)
{
    unsigned char salt[SHA1_LEN], want[SHA1_LEN], have[EVP_MAX_MD_SIZE];
    const char *bar = len > 3 ? memchr(field + 3, '|', len - 3) : NULL;
    unsigned n = 0;

    if (!bar || !decode20(field + 3, (size_t)(bar - field - 3), salt) ||
        !decode20(bar + 1, len - (size_t)(bar + 1 - field), want))
        return false;
    return HMAC(EVP_sha1(), salt, SHA1_LEN, (const unsigned char *)name, strlen(name), have, &n) && n == SHA1_LEN &&
           cmx_secret_equal(have, want, SHA1_LEN);
}

static bool names_match(const char *field, size_t len, const char *host, uint16_t port)
{
    char name[NAME_MAX_LEN];
    int n = port == 22 ? snprintf(name, sizeof name, "%s", host) : snprintf(name, sizeof name, "[%s]:%u", host, port);

    if (n < 0 || (size_t)n >= sizeof name)
        return false;
    for (char *c = name; *c; c++)
        *c = (char)tolower((unsigned char)*c); /* ssh hashes the name in lower case */
    if (len > 3 && strncmp(field, "|1|", 3) == 0)
        return hash_match(field, len, name);
    return list_match(field, len, name);
}

static bool line_match(const char *line, const char *host, uint16_t port, const char **key)
{
    const char *end = skip_word(line);

    *key = skip_blank(end);
    return *line && *line != '#' && **key && names_match(line, (size_t)(end - line), host, port);
}

bool known_hosts_match(const char *line, const char *host, uint16_t port)
{
    const char *key;

    line = skip_blank(line);
    return *line != '@' && line_match(line, host, port, &key);
}

bool known_hosts_revoked(const char *line, const char *host, uint16_t port, const char **key)
{
    size_t n = strlen(REVOKED);

    line = skip_blank(line);
    if (strncmp(line, REVOKED, n) != 0 || (line[n] != ' ' && line[n] != '\t'))
        return false;
    return line_match(skip_blank(line + n), host, port, key);
}

const char *known_hosts_key(const char *line)
{
    const char *key;

    line = skip_blank(line);
    key = skip_blank(skip_word(line));
    return *line && *line != '#' && *line != '@' && *key ? key : NULL;
}
