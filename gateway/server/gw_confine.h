/* gw_confine.h - what a session's sshd, all of whose processes run as the gateway's account, may not do to the rest:
 * write to any file (control groups among them, so that it stays in its own), trace other sessions or the server, or
 * signal them. By Landlock, for the calling process and its descendants, for good. */
#ifndef GW_CONFINE_H
#define GW_CONFINE_H

#include <stdbool.h>

/* The rules, for all sessions. -1: the kernel has no Landlock. */
int gw_confine_ruleset(void);
/* In the child, before it runs sshd. Makes no allocation. False: not confined. */
bool gw_confine(int ruleset);

#endif
