/* ssh_sessions.c - many light SSH sessions in one process, for bench/gateway_scale.sh. Each logs in with its own key,
 * requests one remote forward, and then stays connected (STAY 1) or disconnects (STAY 0). With STAY 1, a session that
 * is lost logs in again, with the same delays between attempts as the product's devices (core/backoff.h, with the
 * defaults of proxy/context.h and proxy/proxy_limits.h).
 *
 *   ssh_sessions PORT USER FOLDER FIRST COUNT RATE STAY
 *
 * FOLDER/addresses has one line per device, "name address"; FOLDER/name is the device's private key. The devices are
 * COUNT lines of FOLDER/addresses, after FIRST lines that are skipped. RATE is the number of logins that begin per
 * second, even while earlier logins are in progress. With RATE 0, each thread begins a login as soon as its last one
 * has ended, and repeats failed logins.
 *
 * Prints the line "logins DONE FAILED SECONDS P50_MS P99_MS MAX_MS CPU_MS_EACH". With STAY 0 that is all. With STAY 1
 * the sessions stay until standard input ends. Then it prints "lost N": N sessions were closed since the last command.
 * If that command was back, N includes the sessions that had not come back by then. Commands are lines on standard
 * input:
 *
 *   mark        prints "marked N": N sessions were closed since the last command
 *   back LIMIT  waits at most LIMIT seconds until every session has been closed after the mark and has logged in
 *               again. Then prints "back N REFUSED TIMEOUTS SECONDS P50_MS P99_MS MAX_MS": N sessions have logged in
 *               again; meanwhile REFUSED attempts failed at once and TIMEOUTS got no answer in time; SECONDS passed
 *               from the first loss to the last return; devices were away for P50_MS (median), P99_MS and MAX_MS */
#include <libssh/libssh.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "cmxsafe/core/backoff.h"
#include "cmxsafe/proxy/context.h"
#include "cmxsafe/proxy/proxy_limits.h"

#define THREADS 48 /* threads that log in */
#define KEEPERS 8  /* threads that answer the gateway's keepalives, which must not wait for a login */
#define DEVICES_MAX 20000
#define LOGIN_S 60
#define TRIES 40
#define PORT_ON_DEVICE 81
#define RETURN_STACK (512 * 1024) /* stack size in bytes of a thread that logs one lost session in again */

static struct device {
    char name[64];
    char address[64];
    double took_ms; /* duration of the login, from the time when it was due; 0: the login failed */
    double up_s, lost_s, back_s;
    struct cmx_backoff backoff;
    atomic_int returns;
} devices[DEVICES_MAX];

static struct keeper {
    pthread_t thread;
    pthread_mutex_t lock;
    /* Only the keeper's thread uses the first n_served entries. The lock guards n and the new entries after them. */
    struct kept {
        ssh_session session;
        struct device *device;
    } * kept;
    int n, n_served;
} keepers[KEEPERS];

static const char *user, *folder;
static unsigned port;
static int first, count, stay;
static double rate, began;
static atomic_int next_device, failed, lost, refused, timeouts;
static atomic_bool stopping;

static double now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static bool authenticate(ssh_session s, const struct device *d)
{
    char path[512];
    ssh_key key = NULL;
    bool ok;

    snprintf(path, sizeof path, "%s/%s", folder, d->name);
    ok = ssh_pki_import_privkey_file(path, NULL, NULL, NULL, &key) == SSH_OK &&
         ssh_userauth_publickey(s, NULL, key) == SSH_AUTH_SUCCESS;
    ssh_key_free(key);
    return ok && ssh_channel_listen_forward(s, d->address, PORT_ON_DEVICE, NULL) == SSH_OK;
}

static ssh_session login(const struct device *d, long seconds)
{
    ssh_session s = ssh_new();
    const bool no = false;

    if (!s)
        return NULL;
    ssh_options_set(s, SSH_OPTIONS_PROCESS_CONFIG, &no);
    ssh_options_set(s, SSH_OPTIONS_HOST, "127.0.0.1");
    ssh_options_set(s, SSH_OPTIONS_PORT, &port);
    ssh_options_set(s, SSH_OPTIONS_USER, user);
    ssh_options_set(s, SSH_OPTIONS_TIMEOUT, &seconds);
    if (ssh_connect(s) == SSH_OK && authenticate(s, d))
        return s;
    ssh_disconnect(s);
    ssh_free(s);
    return NULL;
}

static ssh_session login_in_time(const struct device *d)
{
    ssh_session s = login(d, LOGIN_S);

    for (int i = 1; !s && rate == 0 && i < TRIES; i++) {
        atomic_fetch_add(&failed, 1);
        usleep((useconds_t)(250 + rand() % 750) * 1000);
        s = login(d, LOGIN_S);
    }
    if (!s)
        atomic_fetch_add(&failed, 1);
    return s;
}

static void keep(struct device *d, ssh_session s)
{
    struct keeper *k = &keepers[(d - devices) % KEEPERS];

    d->up_s = now_s();
    pthread_mutex_lock(&k->lock);
    k->kept[k->n++] = (struct kept){s, d};
    pthread_mutex_unlock(&k->lock);
}

/* Logs a device in again after its session was lost, with the waiting times of a real device (proxy/session.c). */
static void *run_return(void *arg)
{
    struct device *d = arg;
    ssh_session s = NULL;

    while (!s && !atomic_load(&stopping)) {
        uint32_t random = UINT32_MAX;
        double began_s;

        (void)!getrandom(&random, sizeof random, 0);
        usleep((useconds_t)cmx_backoff_next(&d->backoff, random) * 1000);
        began_s = now_s();
        s = login(d, CMX_PROXY_LOGIN_TIMEOUT_S);
        if (!s)
            atomic_fetch_add(now_s() - began_s < CMX_PROXY_LOGIN_TIMEOUT_S - 1 ? &refused : &timeouts, 1);
    }
    if (s) {
        d->back_s = now_s();
        keep(d, s);
        atomic_fetch_add(&d->returns, 1);
    }
    return NULL;
}

static void bring_back(struct device *d)
{
    pthread_attr_t attr;
    pthread_t thread;

    d->lost_s = now_s();
    if (d->lost_s - d->up_s >= CMX_SESSION_PROVEN_MS / 1000.0)
        cmx_backoff_reset(&d->backoff);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, RETURN_STACK);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    if (pthread_create(&thread, &attr, run_return, d) != 0)
        fprintf(stderr, "ssh_sessions: no thread for %s\n", d->name);
    pthread_attr_destroy(&attr);
}

static void drop(struct keeper *k, ssh_event event, int i)
{
    struct kept gone = k->kept[i];

    pthread_mutex_lock(&k->lock);
    k->kept[i] = k->kept[--k->n_served];
    k->kept[k->n_served] = k->kept[--k->n];
    pthread_mutex_unlock(&k->lock);
    ssh_event_remove_session(event, gone.session);
    ssh_disconnect(gone.session);
    ssh_free(gone.session);
    atomic_fetch_add(&lost, 1);
    bring_back(gone.device);
}

static void *run_keeper(void *arg)
{
    struct keeper *k = arg;
    ssh_event event = ssh_event_new();

    while (event && !atomic_load(&stopping)) {
        pthread_mutex_lock(&k->lock);
        while (k->n_served < k->n)
            ssh_event_add_session(event, k->kept[k->n_served++].session);
        pthread_mutex_unlock(&k->lock);
        if (k->n_served)
            ssh_event_dopoll(event, 200);
        else
            usleep(50000);
        for (int i = k->n_served - 1; i >= 0; i--)
            if (!ssh_is_connected(k->kept[i].session))
                drop(k, event, i);
    }
    for (int i = 0; i < k->n_served; i++) {
        ssh_event_remove_session(event, k->kept[i].session);
        ssh_disconnect(k->kept[i].session);
        ssh_free(k->kept[i].session);
    }
    if (event)
        ssh_event_free(event);
    return NULL;
}

static void *run_logins(void *arg)
{
    (void)arg;
    for (int i; (i = atomic_fetch_add(&next_device, 1)) < count;) {
        struct device *d = &devices[i];
        double due = rate > 0 ? began + i / rate : now_s();
        ssh_session s;

        while (now_s() < due)
            usleep(2000);
        s = login_in_time(d);
        if (!s)
            continue;
        d->took_ms = (now_s() - due) * 1000;
        if (stay) {
            keep(d, s);
        } else {
            ssh_disconnect(s);
            ssh_free(s);
        }
    }
    return NULL;
}

static bool start_keepers(void)
{
    for (int i = 0; i < KEEPERS; i++) {
        pthread_mutex_init(&keepers[i].lock, NULL);
        keepers[i].kept = calloc((size_t)count / KEEPERS + 1, sizeof keepers[i].kept[0]);
        if (!keepers[i].kept || pthread_create(&keepers[i].thread, NULL, run_keeper, &keepers[i]) != 0)
            return false;
    }
    return true;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static void report(double seconds)
{
    static double took[DEVICES_MAX];
    struct rusage used;
    int n = 0;
    double cpu_ms;

    getrusage(RUSAGE_SELF, &used);
    cpu_ms = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e3 +
             (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e3;
    for (int i = 0; i < count; i++)
        if (devices[i].took_ms > 0)
            took[n++] = devices[i].took_ms;
    qsort(took, (size_t)n, sizeof took[0], compare_doubles);
    printf("logins %d %d %.2f %.1f %.1f %.1f %.2f\n", n, atomic_load(&failed), seconds, n ? took[n / 2] : 0,
           n ? took[n * 99 / 100] : 0, n ? took[n - 1] : 0, n ? cpu_ms / n : 0);
    fflush(stdout);
}

/* ---- sessions that come back ---- */

static int count_returned(void)
{
    int n = 0;

    for (int i = 0; i < count; i++)
        n += atomic_load(&devices[i].returns) > 0;
    return n;
}

static void mark(void)
{
    for (int i = 0; i < count; i++)
        atomic_store(&devices[i].returns, 0);
    atomic_store(&refused, 0);
    atomic_store(&timeouts, 0);
    printf("marked %d\n", atomic_exchange(&lost, 0));
    fflush(stdout);
}

static void report_return(void)
{
    static double away_ms[DEVICES_MAX];
    double first_s = 0;
    double last_s = 0;
    int n = 0;

    for (int i = 0; i < count; i++) {
        const struct device *d = &devices[i];

        if (!atomic_load(&d->returns))
            continue;
        away_ms[n++] = (d->back_s - d->lost_s) * 1000;
        if (!first_s || d->lost_s < first_s)
            first_s = d->lost_s;
        if (d->back_s > last_s)
            last_s = d->back_s;
    }
    atomic_store(&lost, count - n);
    qsort(away_ms, (size_t)n, sizeof away_ms[0], compare_doubles);
    printf("back %d %d %d %.2f %.1f %.1f %.1f\n", n, atomic_load(&refused), atomic_load(&timeouts), last_s - first_s,
           n ? away_ms[n / 2] : 0, n ? away_ms[n * 99 / 100] : 0, n ? away_ms[n - 1] : 0);
    fflush(stdout);
}

static void take_orders(void)
{
    char line[64];
    double until;
    int seconds;

    while (fgets(line, sizeof line, stdin)) {
        if (strcmp(line, "mark\n") == 0)
            mark();
        if (sscanf(line, "back %d", &seconds) != 1)
            continue;
        until = now_s() + seconds;
        while (count_returned() < count && now_s() < until)
            usleep(20000);
        report_return();
    }
}

static bool read_devices(void)
{
    char path[512];
    char line[160];
    FILE *f;
    int i = -first;

    snprintf(path, sizeof path, "%s/addresses", folder);
    f = fopen(path, "re");
    while (f && i < count && fgets(line, sizeof line, f))
        if (i++ >= 0 && sscanf(line, "%63s %63s", devices[i - 1].name, devices[i - 1].address) != 2)
            break;
    if (f)
        fclose(f);
    return i == count;
}

int main(int argc, char **argv)
{
    pthread_t threads[THREADS];
    int n = 0;

    if (argc != 8) {
        fprintf(stderr, "usage: ssh_sessions PORT USER FOLDER FIRST COUNT RATE STAY\n");
        return 2;
    }
    port = (unsigned)atoi(argv[1]);
    user = argv[2];
    folder = argv[3];
    first = atoi(argv[4]);
    count = atoi(argv[5]);
    rate = atof(argv[6]);
    stay = atoi(argv[7]);
    if (count > DEVICES_MAX || !read_devices()) {
        fprintf(stderr, "ssh_sessions: %s/addresses has fewer than %d devices\n", folder, first + count);
        return 1;
    }
    ssh_init();
    for (int i = 0; i < count; i++)
        cmx_backoff_init(&devices[i].backoff, CMX_PROXY_BACKOFF_BASE_MS, CMX_PROXY_BACKOFF_MAX_MS);
    if (stay && !start_keepers())
        return 1;
    began = now_s();
    while (n < THREADS && pthread_create(&threads[n], NULL, run_logins, NULL) == 0)
        n++;
    for (int i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    report(now_s() - began);
    if (!stay)
        return 0;
    take_orders();
    atomic_store(&stopping, true);
    for (int i = 0; i < KEEPERS; i++)
        pthread_join(keepers[i].thread, NULL);
    printf("lost %d\n", atomic_load(&lost));
    return 0;
}
