/* cmxsafe image - signs, checks and describes firmware images. */
#include "cli/cmd.h"
#include "cli/image_tool.h"
#include "port/linux/cli.h"

int cmd_image(int argc, char **argv)
{
    static const struct cli_command table[] = {
        {"sign", image_sign, "append the signature that devices require"},
        {"verify", image_verify, "check an image and its signature as a device does"},
        {"info", image_info, "print an image's description"},
        {"key", image_key, "print the public half of a signing key, for a device's configuration"},
        {"manifest", image_manifest, "make the reference values for attestation"},
        {"fill", image_fill, "fill free flash with keyed filler"},
    };

    return cli_dispatch("cmxsafe image", table, sizeof table / sizeof table[0], argc, argv);
}
