/* gw_revocation.h - checks keys against a KRL with ssh-keygen, so that cmxsafe needs no parser for the format. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"
#include "cmxsafe/core/why.h"

#define GW_REVOCATION_KEYS_MAX 64 /* keys in one call */

/* Finds which of n keys ("TYPE BASE64", at most GW_REVOCATION_KEYS_MAX of them; n 0: only whether ssh-keygen can read
 * the KRL) are revoked. CMX_EFORMAT: not a KRL. CMX_EIO: ssh-keygen can't be run, or gave no answer for each key; all
 * are then revoked. */
CMX_MUST_USE cmx_err gw_revocation_ask(const uint8_t *krl, size_t len, const char *const keys[], size_t n,
                                       bool revoked[], struct cmx_why *e);
