#include "gateway/server/gw_locks.h"

#include <stdio.h>
#include <sys/stat.h>

#define CHECK_MS 1000
#define LOGIN_MAX_MS 60000 /* longer than sshd lets a login take (LoginGraceTime) */

void gw_locks_check(struct gw_server *s, uint64_t now_ms)
{
    char path[GW_PATH_MAX];
    char line[160];
    struct stat st;
    FILE *f;

    if (now_ms - s->locks_checked_ms < CHECK_MS || !s->sessions)
        return;
    s->locks_checked_ms = now_ms;
    f = stat(gw_path(s->g, "registry.db", path), &st) == 0 ? fopen("/proc/locks", "re") : NULL;
    while (f && fgets(line, sizeof line, f)) {
        unsigned long long inode;
        struct gw_session *x;
        int pid;

        if (sscanf(line, "%*d: POSIX %*s %*s %d %*x:%*x:%llu", &pid, &inode) != 2 || inode != st.st_ino)
            continue;
        x = gw_session_of_process(s, pid);
        if (x && (x->up || now_ms - x->started_ms > LOGIN_MAX_MS))
            gw_session_end(s, x, "its sshd locks the registry, which only an sshd under an attacker's control does");
    }
    if (f)
        fclose(f);
}
