/* chacha.c - if mbedTLS has ChaCha20 and Poly1305, LibSSH-ESP32 5.5 calls ssh_get_chacha20poly1305_cipher, which it
 * defines only for an mbedTLS without them. Its own table has a complete entry, which this function returns. */
#include <string.h>

#include "libssh_esp32_config.h"

#include "libssh/priv.h"

#include "libssh/crypto.h"
#include "libssh/wrapper.h"

const struct ssh_cipher_struct *ssh_get_chacha20poly1305_cipher(void);

const struct ssh_cipher_struct *ssh_get_chacha20poly1305_cipher(void)
{
    const struct ssh_cipher_struct *c = ssh_get_ciphertab();

    while (c->name && strcmp(c->name, "chacha20-poly1305@openssh.com") != 0)
        c++;
    return c;
}
