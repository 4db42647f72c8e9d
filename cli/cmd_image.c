/* cmxsafe image - makes and looks at what goes into a device's flash. */
#include "cli.h"
#include "image.h"

int cmd_image(int argc, char **argv)
{
    static const struct cli_command table[] = {
        {"sign", image_sign, "append a signature that devices ask for"},
        {"verify", image_verify, "check an image and its signature as a device does"},
        {"info", image_info, "print what an image says of itself"},
        {"key", image_key, "print the public half of a signing key, for a device's configuration"},
        {"manifest", image_manifest, "make the reference values for attestation"},
        {"fill", image_fill, "fill free flash so that nothing can hide there"},
    };

    return cli_dispatch("cmxsafe image", table, sizeof table / sizeof table[0], argc, argv);
}
