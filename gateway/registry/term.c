#include "gateway/registry/term.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cmxsafe/core/text.h"

#define CLOCK_SLACK_S 120 /* how far the clock may be behind the latest stored time; NTP corrections are smaller */

void gw_now(struct gw_now *now)
{
    static char boot_id[GW_BOOT_MAX]; /* read once: it does not change while this process runs */
    struct timespec boot = {0};
    FILE *f = boot_id[0] ? NULL : fopen("/proc/sys/kernel/random/boot_id", "re");

    memset(now, 0, sizeof *now);
    now->wall = (int64_t)time(NULL);
    if (clock_gettime(CLOCK_BOOTTIME, &boot) == 0)
        now->boot_s = (int64_t)boot.tv_sec;
    if (f) {
        if (!fgets(boot_id, sizeof boot_id, f))
            boot_id[0] = '\0';
        fclose(f);
        boot_id[strcspn(boot_id, "\n")] = '\0';
    }
    memcpy(now->boot, boot_id, sizeof now->boot);
}

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t gw_term_left(const struct gw_term *t, const struct gw_now *now, int64_t latest)
{
    int64_t wall_left = t->ends - now->wall;
    int64_t left;

    if (now->boot[0] && t->boot && strcmp(t->boot, now->boot) == 0) {
        left = min64(wall_left, t->boot_ends - now->boot_s);
    } else {
        bool behind = now->wall < (latest > t->given ? latest : t->given) - CLOCK_SLACK_S;
        left = behind ? 0 : min64(wall_left, t->ends - t->given);
    }
    return left > 0 ? left : 0;
}

cmx_err gw_term_parse_length(const char *text, int64_t *seconds, struct cmx_why *e)
{
    static const struct {
        char letter;
        int64_t s;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 604800}};
    char digits[16];
    size_t len = strlen(text);
    uint64_t n;

    if (len >= 2 && len < sizeof digits) {
        memcpy(digits, text, len - 1);
        digits[len - 1] = '\0';
        for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
            if (units[i].letter == text[len - 1] &&
                cmx_text_u64(digits, 1, (uint64_t)(GW_TERM_MAX_S / units[i].s), &n) == CMX_OK) {
                *seconds = (int64_t)n * units[i].s;
                return CMX_OK;
            }
    }
    return cmx_why_fail(e, CMX_EINVAL, "'%.40s' is not a length of time; give one such as 90s, 30m, 8h, 2d or 1w",
                        text);
}

cmx_err gw_term_parse_time(const char *text, int64_t *at, struct cmx_why *e)
{
    static const char *const forms[] = {"%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M:%SZ", "%Y-%m-%dT%H:%M:%S",
                                        "%Y-%m-%d %H:%M:%S",  "%Y-%m-%dT%H:%MZ",    "%Y-%m-%d %H:%MZ",
                                        "%Y-%m-%dT%H:%M",     "%Y-%m-%d %H:%M",     "%Y-%m-%d"};

    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        struct tm given = {0};
        struct tm real;
        const char *end = strptime(text, forms[i], &given);

        if (!end || *end)
            continue;
        real = given;
        *at = (int64_t)timegm(&real); /* timegm normalizes the date: February 30 becomes another day */
        if (real.tm_mday == given.tm_mday && real.tm_mon == given.tm_mon && *at > 0)
            return CMX_OK;
    }
    return cmx_why_fail(e, CMX_EINVAL, "'%.40s' is not a time; give a time in UTC such as '2026-11-28 18:30'", text);
}

void gw_term_length_text(int64_t s, char out[GW_LENGTH_TEXT_MAX])
{
    if (s >= 86400)
        snprintf(out, GW_LENGTH_TEXT_MAX, "%lldd %lldh", (long long)(s / 86400), (long long)(s % 86400 / 3600));
    else if (s >= 3600)
        snprintf(out, GW_LENGTH_TEXT_MAX, "%lldh %lldm", (long long)(s / 3600), (long long)(s % 3600 / 60));
    else if (s >= 60)
        snprintf(out, GW_LENGTH_TEXT_MAX, "%lldm %llds", (long long)(s / 60), (long long)(s % 60));
    else
        snprintf(out, GW_LENGTH_TEXT_MAX, "%llds", (long long)s);
}
