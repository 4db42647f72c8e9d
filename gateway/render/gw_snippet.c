#include "gateway/render/gw_snippet.h"

#include <string.h>

#define PINS 2

/* The pins of the gateway's host keys. A key that can't be read is left out, because devices refuse an empty pin. */
struct pins {
    char pin[PINS][GW_FINGERPRINT_MAX];
    size_t n;
};

static void read_pins(const struct gw *g, struct pins *p)
{
    static const char *const names[PINS] = {"hostkey_ed25519.pub", "hostkey_ecdsa.pub"};

    p->n = 0;
    for (size_t i = 0; i < PINS; i++) {
        gw_pin(g, names[i], p->pin[p->n]);
        if (p->pin[p->n][0])
            p->n++;
        else
            fprintf(stderr, "cmxsafe: note: %s/%s can't be read, so its pin is missing; run 'cmxsafe gateway doctor'\n",
                    g->dir, names[i]);
    }
}

static void put_pins(FILE *f, const struct pins *p, const char *before, const char *after, const char *between)
{
    for (size_t i = 0; i < p->n; i++)
        fprintf(f, "%s%s%s%s", i ? between : "", before, p->pin[i], after);
}

static bool has_port(const uint16_t *ports, size_t n, unsigned port)
{
    for (size_t i = 0; i < n; i++)
        if (ports[i] == port)
            return true;
    return false;
}

/* Chooses the local ports of the direct contexts. The first choice is the port of the remote service. If a service of
 * the device or another context uses that port, adds 10,000 and takes the next free port. */
static void choose_local_ports(const struct gw_device *d, uint16_t local[GW_DIRECTS_MAX])
{
    for (size_t i = 0; i < d->n_directs; i++) {
        unsigned port = d->directs[i].port;

        for (unsigned tries = 0; has_port(d->ports, d->n_ports, port) || has_port(local, i, port); tries++)
            port = tries ? port % 65535 + 1 : (port + 9999) % 65535 + 1;
        local[i] = (uint16_t)port;
    }
}

static void put_agent(FILE *f, const struct gw *g, const struct gw_device *d, const struct pins *p, bool hwkey)
{
    uint16_t local[GW_DIRECTS_MAX];

    choose_local_ports(d, local);
    fprintf(f,
            "# cmxsafed.conf for %s\n"
            "[gateway]\nhost = %s\nport = %u\nuser = %s\n",
            d->name, g->host, g->port, g->account);
    put_pins(f, p, "host_key = ", "\n", "");
    fputs(hwkey ? "\n# The SSH key is derived from this file. With a TPM, set tpm_handle instead.\n"
                  "[identity]\nkey_file = /etc/cmxsafe/private_key.bin\n"
                : "key_file = /etc/cmxsafe/key\n",
          f);
    for (size_t i = 0; i < d->n_ports; i++) {
        fprintf(f, "\n[context port-%u]\nlocal_port = %u\nremote_port = %u\n", d->ports[i], d->ports[i], d->ports[i]);
        if (d->address[0])
            fprintf(f, "remote_address = %s\n", d->address);
    }
    for (size_t i = 0; i < d->n_directs; i++)
        fprintf(f, "\n[context direct-%u]\ndirection = direct\nlocal_port = %u\nremote_host = %s\nremote_port = %u\n",
                local[i], local[i], d->directs[i].host, d->directs[i].port);
    /* The update service accepts host names in .cmx by default; host names in another domain must be configured. */
    if (strcmp(g->domain, "cmx") != 0 && d->address[0])
        fprintf(f, "\n[ota]\nhost = %s.%s\n", d->name, g->domain);
}

static void put_settings(FILE *f, const struct gw *g, const struct gw_device *d, const struct pins *p, bool hwkey)
{
    fprintf(f,
            "// settings.h for %s\n"
            "#define SSH_REMOTE_HOST \"%s\"\n"
            "#define SSH_REMOTE_PORT %u\n"
            "#define USERNAME1 \"%s\"\n"
            "#define SSH_HOST_KEY ",
            d->name, g->host, g->port, g->account);
    put_pins(f, p, "\"", "\"", ", ");
    fputs("\n", f);
    if (d->address[0])
        fprintf(f, "#define SSH_REMOTE_ADDRESS \"%s\"\n", d->address);
    if (hwkey)
        fprintf(f, "#define SSH_CLIENT_KEY_DERIVED 1\n");
}

static void put_kconfig(FILE *f, const struct gw *g, const struct gw_device *d, const struct pins *p, bool hwkey)
{
    fprintf(f,
            "# sdkconfig for %s\n"
            "CONFIG_CMX_GATEWAY_HOST=\"%s\"\n"
            "CONFIG_CMX_GATEWAY_PORT=%u\n"
            "CONFIG_CMX_USER=\"%s\"\n"
            "CONFIG_CMX_HOST_KEYS=\"",
            d->name, g->host, g->port, g->account);
    put_pins(f, p, "", "", " ");
    fprintf(f,
            "\"\n"
            "CONFIG_CMX_CREDENTIAL_%s=y\n"
            "CONFIG_CMX_REMOTE_ADDRESS=\"%s\"\n",
            hwkey ? "HWKEY" : "KEY", d->address);
}

bool gw_snippet_form(const char *form)
{
    return strcmp(form, "agent") == 0 || strcmp(form, "settings") == 0 || strcmp(form, "kconfig") == 0;
}

void gw_snippet(FILE *f, const struct gw *g, const struct gw_device *d, const char *form, bool hwkey)
{
    struct pins p;

    read_pins(g, &p);
    if (strcmp(form, "agent") == 0)
        put_agent(f, g, d, &p, hwkey);
    else if (strcmp(form, "settings") == 0)
        put_settings(f, g, d, &p, hwkey);
    else
        put_kconfig(f, g, d, &p, hwkey);
}
