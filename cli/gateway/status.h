/* status.h - reading what the running gateway answers to `status`: JSON of our own making (control.c), flat objects. */
#ifndef CLI_GW_STATUS_H
#define CLI_GW_STATUS_H

#include "cli/gateway/gw.h"

/* The answer, to be freed with free(). CLI_*; errors are printed. */
int gw_ask_status(const struct gw *g, char **answer);

/* Where the list of sessions begins. */
char *gw_answer_sessions(char *answer);
/* Cuts the next session out of the list; NULL: no more. */
char *gw_answer_next(char **rest);
/* A member of an object; "" and 0 when it is not there. */
bool gw_answer_text(const char *object, const char *key, char *out, size_t cap);
int64_t gw_answer_number(const char *object, const char *key);

#endif
