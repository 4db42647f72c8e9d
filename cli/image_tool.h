/* image_tool.h - the subcommands of `cmxsafe image`, listed in cmd_image.c's table. They return CLI_*. */
#pragma once

int image_sign(int argc, char **argv);
int image_verify(int argc, char **argv);
int image_info(int argc, char **argv);
int image_key(int argc, char **argv);
int image_manifest(int argc, char **argv);
int image_fill(int argc, char **argv);
