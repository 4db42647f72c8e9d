/* libssh_floor.c - transfers bulk data with libssh alone, without a relay, a local socket or an event loop: the lowest
 * cost that a reverse forward can have. Serves loadgen's protocol on the channel: after "S" it reads until the end and
 * answers with a byte; after "G" and a 64-bit number it sends that many bytes.
 *
 *   libssh_floor HOST PORT USER KEYFILE REMOTE-PORT CIPHER CHUNK
 *
 * Runs in blocking mode and serves one connection after the other until the session ends. Does not check the host key,
 * because the measurement itself starts the gateway. */
#include <libssh/libssh.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char buffer[256 * 1024];

static void die(const char *what, ssh_session s)
{
    fprintf(stderr, "libssh_floor: %s: %s\n", what, s ? ssh_get_error(s) : "no memory");
    exit(1);
}

static ssh_session login(const char *host, unsigned port, const char *user, const char *key_file, const char *cipher)
{
    const bool no = false;
    ssh_session s = ssh_new();
    ssh_key key = NULL;

    if (!s)
        die("ssh_new", NULL);
    ssh_options_set(s, SSH_OPTIONS_PROCESS_CONFIG, &no);
    ssh_options_set(s, SSH_OPTIONS_HOST, host);
    ssh_options_set(s, SSH_OPTIONS_PORT, &port);
    ssh_options_set(s, SSH_OPTIONS_USER, user);
    ssh_options_set(s, SSH_OPTIONS_CIPHERS_C_S, cipher);
    ssh_options_set(s, SSH_OPTIONS_CIPHERS_S_C, cipher);
    if (ssh_connect(s) != SSH_OK || ssh_pki_import_privkey_file(key_file, NULL, NULL, NULL, &key) != SSH_OK ||
        ssh_userauth_publickey(s, NULL, key) != SSH_AUTH_SUCCESS)
        die("login", s);
    ssh_key_free(key);
    return s;
}

static void serve(ssh_channel c, size_t chunk)
{
    uint64_t left;
    char mode;

    if (ssh_channel_read(c, &mode, 1, 0) != 1)
        return;
    if (mode == 'S') {
        while (ssh_channel_read(c, buffer, (uint32_t)chunk, 0) > 0)
            ;
        ssh_channel_write(c, "D", 1);
    } else if (mode == 'G' && ssh_channel_read(c, &left, sizeof left, 0) == sizeof left) {
        while (left > 0) {
            int n = ssh_channel_write(c, buffer, (uint32_t)(left < chunk ? left : chunk));

            if (n <= 0)
                return;
            left -= (uint64_t)n;
        }
    }
}

int main(int argc, char **argv)
{
    ssh_session s;
    ssh_channel c;

    if (argc != 8) {
        fprintf(stderr, "usage: libssh_floor HOST PORT USER KEYFILE REMOTE-PORT CIPHER CHUNK\n");
        return 2;
    }
    s = login(argv[1], (unsigned)atoi(argv[2]), argv[3], argv[4], argv[6]);
    if (ssh_channel_listen_forward(s, "localhost", atoi(argv[5]), NULL) != SSH_OK)
        die("forward", s);
    while (ssh_is_connected(s)) {
        c = ssh_channel_accept_forward(s, 1000, NULL);
        if (!c)
            continue;
        serve(c, strtoul(argv[7], NULL, 0) < sizeof buffer ? strtoul(argv[7], NULL, 0) : sizeof buffer);
        ssh_channel_send_eof(c);
        ssh_channel_close(c);
        ssh_channel_free(c);
    }
    ssh_free(s);
    return 0;
}
