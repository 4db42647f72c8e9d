/* Parses any bytes as an SSH certificate, which any client may offer. The texts of an accepted certificate must be safe
 * to print, and its principals must be within the certificate. The first byte of the input chooses the type; the others
 * are the certificate. */
#include <stdio.h>
#include <string.h>

#include "cmxsafe/core/base64.h"
#include "fuzz/must.h"
#include "gateway/registry/certificate.h"

static const char *const types[] = {
    "ssh-ed25519-cert-v01@openssh.com",
    "ecdsa-sha2-nistp256-cert-v01@openssh.com",
    "ssh-rsa-cert-v01@openssh.com",
    "sk-ssh-ed25519-cert-v01@openssh.com",
    "sk-ecdsa-sha2-nistp256-cert-v01@openssh.com",
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char text[GW_CERTIFICATE_TEXT_MAX];
    static struct gw_certificate c;
    char principal[64];
    struct cmx_buf b;
    const char *line;
    size_t total = 0;
    size_t at = 0;

    if (size < 1)
        return 0;
    cmx_buf_init(&b, text, sizeof text);
    if (cmx_buf_printf(&b, "%s ", types[data[0] % 5]) || cmx_base64_encode(&b, data + 1, size - 1, 0) ||
        cmx_buf_cstr(&b, &line) || gw_certificate_parse(&c, line, NULL))
        return 0;
    must(c.raw_len == size - 1 && strlen(c.fingerprint) == 50 && strlen(c.authority) == 50);
    must(strlen(c.id) < sizeof c.id && !strpbrk(c.id, "\"\\{}[]\n'"));
    must(c.principals_at + c.principals_len <= c.raw_len);
    while (gw_certificate_principal(&c, &at, principal, sizeof principal))
        total += strlen(principal) + 4;
    must(at <= c.principals_len && total <= c.principals_len);
    return 0;
}
