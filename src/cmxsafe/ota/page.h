/* page.h - the update page, made from page/update.html by scripts/gen_ota_page.sh. */
#pragma once

#include <stddef.h>
#include <stdint.h>

extern const uint8_t cmx_ota_page[]; /* compressed with gzip (RFC 1952), for Content-Encoding: gzip */
extern const size_t cmx_ota_page_len;
extern const char cmx_ota_page_csp[]; /* Content-Security-Policy of the page, with the hashes of its script and style */
