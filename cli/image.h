/* image.h - the subcommands of `cmxsafe image`; the table in cmd_image.c names them. Each returns CLI_*. */
#ifndef CLI_IMAGE_H
#define CLI_IMAGE_H

int image_manifest(int argc, char **argv);
int image_fill(int argc, char **argv);

#endif
