/* cmd.h - the commands of cmxsafe: one file each (cmd_NAME.c), listed in main.c's table. They return CLI_*. */
#pragma once

int cmd_attest(int argc, char **argv);
int cmd_identity(int argc, char **argv);
int cmd_image(int argc, char **argv);
int cmd_gateway(int argc, char **argv);
int cmd_update(int argc, char **argv);
int cmd_version(int argc, char **argv);
