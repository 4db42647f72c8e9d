/* commands.h - the subcommands of cmxsafed: a file each (agent/cmd_NAME.c), a row each in main.c. */
#ifndef CMX_AGENT_COMMANDS_H
#define CMX_AGENT_COMMANDS_H

#include <stdio.h>

struct agent_command {
    const char *name;
    int (*run)(int argc, char **argv); /* argv[0] is the name; returns the exit code: 0, 1 failed, 2 usage */
    const char *summary;
};

int cmd_status(int argc, char **argv);
int cmd_isolation(int argc, char **argv);

/* Asks the agent at path: one line out, the whole answer to `to`. Prints what went wrong to stderr. Returns the exit
 * code; 1 also where the answer is {"error":...}, which goes to stderr. */
int control_ask(const char *path, const char *line, FILE *to);

/* The control socket of a configuration file, for a client: copied into out. file NULL: the default file if it can be
 * read, else the default socket. Returns the exit code. */
int control_path(const char *file, char *out, size_t cap);

#endif
