/* A name service for scenarios: libnss_slow.so.2. It has the accounts of /etc/nss-accounts, in passwd's format, and
 * does not answer while /etc/nss-hangs exists. */
#include <errno.h>
#include <grp.h>
#include <nss.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum nss_status _nss_slow_getpwnam_r(const char *name, struct passwd *pw, char *mem, size_t len, int *error);
enum nss_status _nss_slow_getpwuid_r(uid_t uid, struct passwd *pw, char *mem, size_t len, int *error);
enum nss_status _nss_slow_getgrnam_r(const char *name, struct group *gr, char *mem, size_t len, int *error);
enum nss_status _nss_slow_getgrgid_r(gid_t gid, struct group *gr, char *mem, size_t len, int *error);

static void wait_while_hanging(void)
{
    while (access("/etc/nss-hangs", F_OK) == 0)
        usleep(100000);
}

/* name NULL: finds the account by its uid. */
static enum nss_status find(const char *name, uid_t uid, struct passwd *pw, char *mem, size_t len, int *error)
{
    struct passwd *found = NULL;
    FILE *f;

    wait_while_hanging();
    f = fopen("/etc/nss-accounts", "re");
    while (f && fgetpwent_r(f, pw, mem, len, &found) == 0 && found)
        if (name ? strcmp(pw->pw_name, name) == 0 : pw->pw_uid == uid)
            break;
    if (f)
        fclose(f);
    *error = found ? 0 : ENOENT;
    return found ? NSS_STATUS_SUCCESS : NSS_STATUS_NOTFOUND;
}

enum nss_status _nss_slow_getpwnam_r(const char *name, struct passwd *pw, char *mem, size_t len, int *error)
{
    return find(name, 0, pw, mem, len, error);
}

enum nss_status _nss_slow_getpwuid_r(uid_t uid, struct passwd *pw, char *mem, size_t len, int *error)
{
    return find(NULL, uid, pw, mem, len, error);
}

static enum nss_status no_group(int *error)
{
    wait_while_hanging();
    *error = ENOENT;
    return NSS_STATUS_NOTFOUND;
}

enum nss_status _nss_slow_getgrnam_r(const char *name, struct group *gr, char *mem, size_t len, int *error)
{
    (void)name, (void)gr, (void)mem, (void)len;
    return no_group(error);
}

enum nss_status _nss_slow_getgrgid_r(gid_t gid, struct group *gr, char *mem, size_t len, int *error)
{
    (void)gid, (void)gr, (void)mem, (void)len;
    return no_group(error);
}
