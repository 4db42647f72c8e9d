/* status_command.h - `cmxsafed status`: asks the running agent for the state of its contexts. */
#pragma once

int cmd_status(int argc, char **argv);
