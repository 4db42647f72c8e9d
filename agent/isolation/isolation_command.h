/* isolation_command.h - `cmxsafed isolation`: shows, checks, applies, confirms and removes the rules, and loads them at
 * boot. */
#ifndef CMX_AGENT_ISOLATION_COMMAND_H
#define CMX_AGENT_ISOLATION_COMMAND_H

int cmd_isolation(int argc, char **argv);

#endif
