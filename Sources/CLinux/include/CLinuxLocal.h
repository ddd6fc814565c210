// Stream connections to a path (AF_UNIX), for the command line.
#pragma once
#include <stddef.h>
#include <stdint.h>

/// A connected, close-on-exec, blocking stream socket, or -1 with errno. Reads and writes give up after the time-outs.
int afloat_connect_local(const char *path, int timeout_milliseconds);

/// From now on SIGINT writes these words, which must stay where they are, to standard error and ends the process with 130.
void afloat_on_interrupt(const uint8_t *words, ptrdiff_t count);
