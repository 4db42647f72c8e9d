/* Runs the gateway's text parsers (public keys, CSV, sshd's log, names, ports, prefixes, the state of the registry's
 * copy) on any text. The first byte chooses the parser. Accepted text must be valid for the registry, and must not
 * contain a character that could end a quoted option. */
#include <string.h>

#include "fuzz/must.h"
#include "gateway/registry/address.h"
#include "gateway/registry/copy_state.h"
#include "gateway/registry/csv.h"
#include "gateway/registry/grant.h"
#include "gateway/registry/registry_device.h"
#include "gateway/registry/sshdlog.h"

static void check_key(const char *text)
{
    struct gw_key k;

    if (gw_key_parse(&k, text, NULL))
        return;
    must(strlen(k.fingerprint) == 50);
    must(!strpbrk(k.blob, " \"\n,") && !strpbrk(k.type, " \"\n,"));
}

static void check_csv(char *text)
{
    char *fields[GW_CSV_FIELDS_MAX];
    struct gw_csv csv;
    size_t n;
    size_t len = strlen(text);

    if (gw_csv_init(&csv, text, len, NULL))
        return;
    while (gw_csv_next(&csv, fields, &n, NULL) == CMX_OK) {
        must(n >= 1 && n <= GW_CSV_FIELDS_MAX);
        for (size_t i = 0; i < n; i++)
            must(fields[i] >= text && fields[i] + strlen(fields[i]) <= text + len);
    }
}

static void check_log(const char *text)
{
    struct gw_log_line l;

    gw_sshdlog_parse(&l, text);
    must(l.kind != GW_LOG_ACCEPTED || strncmp(l.fingerprint, "SHA256:", 7) == 0);
    for (const char *p = l.detail; *p; p++)
        must(*p >= 0x20 && *p < 0x7f);
}

static void check_device(const char *text)
{
    static struct gw_device d;

    if (gw_device_parse_directs(&d, text, NULL) == CMX_OK)
        for (size_t i = 0; i < d.n_directs; i++)
            must(d.directs[i].port && d.directs[i].host[0] && !strpbrk(d.directs[i].host, "\" ,*?\n"));
    if (gw_device_parse_ports(&d, text, NULL) == CMX_OK)
        must(d.n_ports <= GW_PORTS_MAX);
    if (gw_registry_name_check(text, NULL) == CMX_OK)
        must(!strpbrk(text, "\" .,\n/"));
}

static void check_address(const char *text)
{
    struct gw_consumer c;
    struct gw_fleet f;
    char out[GW_ADDRESS_MAX];

    if (gw_fleet_parse(&f, text, NULL) == CMX_OK)
        must(f.bits >= 16 && f.bits <= 64);
    if (gw_fleet_from_mac(&f, "fd00", text, NULL) == CMX_OK && gw_address_from_mac(&f, text, out, NULL) == CMX_OK)
        must(gw_address_given(&f, out, out, NULL) == CMX_OK);
    if (gw_consumer_parse(&c, text, NULL) == CMX_OK)
        must(!strpbrk(c.name, "\" \n;{}"));
}

static void check_copy_state(const char *text)
{
    struct gw_copy_state s;
    struct gw_copy_state again;
    char out[GW_COPY_STATE_MAX];

    if (gw_copy_state_parse(&s, text))
        return;
    gw_copy_state_text(&s, out);
    must(gw_copy_state_parse(&again, out) == CMX_OK && again.confirmed.wall == s.confirmed.wall);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char text[4096];

    if (size < 1 || size > sizeof text)
        return 0;
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    switch (data[0] % 6) {
    case 0:
        check_key(text);
        break;
    case 1:
        check_csv(text);
        break;
    case 2:
        check_log(text);
        break;
    case 3:
        check_device(text);
        break;
    case 4:
        check_address(text);
        break;
    default:
        check_copy_state(text);
        break;
    }
    return 0;
}
