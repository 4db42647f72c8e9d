/* isolation_command.h - `cmxsafed isolation`: shows, checks, applies, confirms and removes the rules, and loads them at
 * boot. */
#pragma once

int cmd_isolation(int argc, char **argv);
