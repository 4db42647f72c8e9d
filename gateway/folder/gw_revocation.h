/* gw_revocation.h - checks keys against a KRL with ssh-keygen, so that cmxsafe needs no parser for KRLs. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"
#include "cmxsafe/core/why.h"

#define GW_REVOCATION_KEYS_MAX 64 /* maximum number of keys in one call */

/* Finds which of n keys ("TYPE BASE64") the KRL revokes; n is at most GW_REVOCATION_KEYS_MAX. With n 0, only checks
 * that ssh-keygen can read the KRL. CMX_EFORMAT: not a KRL. CMX_EIO: ssh-keygen can't be run, or did not report a
 * result for each key. After an error, all keys count as revoked. */
CMX_MUST_USE cmx_err gw_revocation_ask(const uint8_t *krl, size_t len, const char *const keys[], size_t n,
                                       bool revoked[], struct cmx_why *e);
