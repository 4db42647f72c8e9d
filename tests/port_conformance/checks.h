/* checks.h - shared by the parts of the conformance test. */
#pragma once

#include <stdbool.h>

#include "conformance.h"

/* If the check fails, counts and reports it. The test continues. */
#define CHECK(ok) conformance_check((ok), #ok, __FILE__, __LINE__)
void conformance_check(bool ok, const char *what, const char *file, int line);

void conformance_time(void);
void conformance_tasks(void);
void conformance_flash(const struct cmx_conformance *c);
void conformance_hw_key(const struct cmx_conformance *c);
void conformance_crypto(void);
void conformance_sockets(void);
