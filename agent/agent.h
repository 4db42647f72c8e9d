/* agent.h - the agent of a Linux device. */
#ifndef CMX_AGENT_AGENT_H
#define CMX_AGENT_AGENT_H

/* Runs until SIGTERM or SIGINT. Returns the exit code. */
int agent_run(const char *config_file);

#endif
