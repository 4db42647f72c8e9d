/* attest_bare.c - does only the necessary work of a device's attestation service. For /hash, OpenSSL computes
 * HMAC-SHA256 over H || chunk || challenge for each 4 KB chunk of an image in memory, where H is the previous result.
 * One keyed context is restarted for each message. With the argument copy, each chunk is first copied into the message,
 * as a device does when it reads its flash. With the argument sha256, OpenSSL instead computes one SHA-256 over the
 * image, which is the necessary work of /evidence.
 *
 *     attest_bare ROUNDS KEY IMAGE [copy|sha256]
 *
 * Prints the shortest time of a round in microseconds. With 0 rounds it only starts and ends. */
#include <fcntl.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS_MAX 1000
#define CHUNK 4096

static const char challenge[] = "string_to_use_as_challenge";

static double now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static const unsigned char *map(const char *path, size_t *len)
{
    int fd = open(path, O_RDONLY);
    struct stat st;

    if (fd < 0 || fstat(fd, &st))
        exit(1);
    *len = (size_t)st.st_size;
    return mmap(NULL, *len, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
}

static EVP_MAC_CTX *keyed(const unsigned char *key)
{
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                           OSSL_PARAM_construct_end()};
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(mac);

    if (!ctx || EVP_MAC_init(ctx, key, 32, params) != 1)
        exit(1);
    EVP_MAC_free(mac);
    return ctx;
}

static void work(EVP_MAC_CTX *ctx, const unsigned char *image, size_t len, unsigned char h[32])
{
    memset(h, 0, 32);
    for (size_t at = 0; at < len; at += CHUNK) {
        size_t n;

        EVP_MAC_update(ctx, h, 32);
        EVP_MAC_update(ctx, image + at, len - at < CHUNK ? len - at : CHUNK);
        EVP_MAC_update(ctx, (const unsigned char *)challenge, sizeof challenge - 1);
        if (EVP_MAC_final(ctx, h, &n, 32) != 1 || EVP_MAC_init(ctx, NULL, 0, NULL) != 1)
            exit(1);
    }
}

static void work_on_copies(EVP_MAC_CTX *ctx, const unsigned char *image, size_t len, unsigned char h[32])
{
    static unsigned char message[32 + CHUNK + sizeof challenge - 1];

    memset(h, 0, 32);
    for (size_t at = 0; at < len; at += CHUNK) {
        size_t n = len - at < CHUNK ? len - at : CHUNK;

        memcpy(message, h, 32);
        memcpy(message + 32, image + at, n);
        memcpy(message + 32 + n, challenge, sizeof challenge - 1);
        EVP_MAC_update(ctx, message, 32 + n + sizeof challenge - 1);
        if (EVP_MAC_final(ctx, h, &n, 32) != 1 || EVP_MAC_init(ctx, NULL, 0, NULL) != 1)
            exit(1);
    }
}

static void digest(const unsigned char *image, size_t len, unsigned char h[32])
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    if (!ctx || EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) != 1 || EVP_DigestUpdate(ctx, image, len) != 1 ||
        EVP_DigestFinal_ex(ctx, h, NULL) != 1)
        exit(1);
    EVP_MD_CTX_free(ctx);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    static double took[ROUNDS_MAX];
    const unsigned char *key, *image;
    size_t key_len, len;
    unsigned char h[32];
    EVP_MAC_CTX *ctx;
    int rounds;

    const char *what;

    if (argc != 4 && argc != 5)
        return 2;
    what = argc == 5 ? argv[4] : "";
    rounds = (int)strtol(argv[1], NULL, 10);
    if (rounds < 0 || rounds > ROUNDS_MAX)
        return 2;
    if (rounds == 0)
        return 0;
    key = map(argv[2], &key_len);
    image = map(argv[3], &len);
    if (key_len != 32)
        return 2;
    ctx = keyed(key);
    for (int i = 0; i < rounds; i++) {
        double start = now_us();

        if (strcmp(what, "sha256") == 0)
            digest(image, len, h);
        else if (strcmp(what, "copy") == 0)
            work_on_copies(ctx, image, len, h);
        else
            work(ctx, image, len, h);
        took[i] = now_us() - start;
    }
    qsort(took, (size_t)rounds, sizeof took[0], ascending);
    printf("%.0f\n", took[0]);
    EVP_MAC_CTX_free(ctx);
    return 0;
}
