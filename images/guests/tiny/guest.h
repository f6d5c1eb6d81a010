/* What the tiny guest's programs share: marker lines on the console, the boot id, the uptime. */
#ifndef VMSTEAD_GUEST_H
#define VMSTEAD_GUEST_H

#include <stddef.h>

#define BOOT_ID_TEXT 36 /* xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx */

/* Writes one line to the console in a single write(), so that lines of different processes never mix. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* This boot's id, as text, from /proc/sys/kernel/random/boot_id. */
const char *boot_id(void);

/* Seconds since the kernel started. */
double uptime(void);

/* Copies the value of the kernel command line parameter `name` into `value` and returns it, or NULL without one. */
const char *parameter(const char *name, char *value, size_t size);

/* Reads a small file whole, without its last newline. Returns its length or -1. */
long slurp(const char *path, char *buffer, size_t size);

#endif
