/* agent.h - the agent of a Linux device. */
#pragma once

/* Runs until SIGTERM or SIGINT. Returns the exit code. */
int agent_run(const char *config_file);
