/* gw_locks.h - ends sessions that lock the registry. SQLite locks the file with fcntl(2), for which the right to read
 * the file suffices. sshd's helper, which runs before the login, needs that right. After the login, no process of a
 * session reads the registry, so a lock means that the session's sshd was taken over. gw_confine.h prevents locks that
 * have no process id. */
#pragma once

#include "gateway/server/gw_server.h"

/* Ends each session that locks the registry, except during its login. May be called at any rate: reads /proc/locks at
 * most once a second. */
void gw_locks_check(struct gw_server *s, uint64_t now_ms);
