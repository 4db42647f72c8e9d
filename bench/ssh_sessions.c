/* ssh_sessions.c - many light SSH sessions in one process, for bench/gateway_scale.sh. Each logs in with its own key,
 * requests one remote forward, and stays connected or disconnects.
 *
 *   ssh_sessions PORT USER FOLDER FIRST COUNT RATE STAY
 *
 * FOLDER/addresses has "name address" a line, and FOLDER/name the private key; FIRST and COUNT choose lines. RATE:
 * logins offered a second, whether the former ones are done or not; 0: each thread begins the next one at once, and
 * repeats failed ones. STAY 1: prints the line "logins DONE FAILED SECONDS P50_MS P99_MS MAX_MS CPU_MS_EACH", keeps the
 * sessions until its standard input ends, and prints "lost N". STAY 0: prints the first line only. */
#include <libssh/libssh.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define THREADS 48 /* threads that log in */
#define KEEPERS 8  /* threads that answer the gateway's keepalives, which must not wait for a login */
#define DEVICES_MAX 20000
#define LOGIN_S 60
#define TRIES 40
#define PORT_ON_DEVICE 81

static struct device {
    char name[64];
    char address[64];
    double took_ms; /* duration, measured from the time when the login was due; 0: it failed */
} devices[DEVICES_MAX];

static struct keeper {
    pthread_t thread;
    pthread_mutex_t lock;
    ssh_session *sessions; /* the first n_served belong to the thread; new ones follow them, guarded by the lock */
    int n, n_served;
} keepers[KEEPERS];

static const char *user, *folder;
static unsigned port;
static int first, count, stay;
static double rate, began;
static atomic_int next_device, failed, lost;
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

static ssh_session login(const struct device *d)
{
    ssh_session s = ssh_new();
    const bool no = false;
    const long seconds = LOGIN_S;

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
    ssh_session s = login(d);

    for (int i = 1; !s && rate == 0 && i < TRIES; i++) {
        atomic_fetch_add(&failed, 1);
        usleep((useconds_t)(250 + rand() % 750) * 1000);
        s = login(d);
    }
    if (!s)
        atomic_fetch_add(&failed, 1);
    return s;
}

static void keep(struct keeper *k, ssh_session s)
{
    pthread_mutex_lock(&k->lock);
    k->sessions[k->n++] = s;
    pthread_mutex_unlock(&k->lock);
}

static void *run_keeper(void *arg)
{
    struct keeper *k = arg;
    ssh_event event = ssh_event_new();

    while (event && !atomic_load(&stopping)) {
        pthread_mutex_lock(&k->lock);
        while (k->n_served < k->n)
            ssh_event_add_session(event, k->sessions[k->n_served++]);
        pthread_mutex_unlock(&k->lock);
        if (k->n_served)
            ssh_event_dopoll(event, 200);
        else
            usleep(50000);
    }
    for (int i = 0; i < k->n_served; i++) {
        atomic_fetch_add(&lost, !ssh_is_connected(k->sessions[i]));
        ssh_event_remove_session(event, k->sessions[i]);
        ssh_disconnect(k->sessions[i]);
        ssh_free(k->sessions[i]);
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
            keep(&keepers[i % KEEPERS], s);
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
        keepers[i].sessions = calloc((size_t)count / KEEPERS + 1, sizeof keepers[i].sessions[0]);
        if (!keepers[i].sessions || pthread_create(&keepers[i].thread, NULL, run_keeper, &keepers[i]) != 0)
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
    char byte;

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
    while (read(0, &byte, 1) > 0)
        ;
    atomic_store(&stopping, true);
    for (int i = 0; i < KEEPERS; i++)
        pthread_join(keepers[i].thread, NULL);
    printf("lost %d\n", atomic_load(&lost));
    return 0;
}
