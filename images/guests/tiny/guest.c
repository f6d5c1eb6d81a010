#define _GNU_SOURCE
#include "guest.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

void say(const char *format, ...) {
  static int console = -1;
  if (console < 0) console = open("/dev/console", O_WRONLY | O_NOCTTY | O_CLOEXEC);
  char line[512];
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(line, sizeof line - 1, format, arguments);
  va_end(arguments);
  if (length < 0) return;
  if (length > (int)sizeof line - 2) length = sizeof line - 2;
  line[length++] = '\n';
  if (write(console, line, length) < 0) { /* no console: nobody to tell */
  }
}

long slurp(const char *path, char *buffer, size_t size) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  ssize_t length = read(fd, buffer, size - 1);
  close(fd);
  if (length < 0) return -1;
  if (length > 0 && buffer[length - 1] == '\n') length--;
  buffer[length] = 0;
  return length;
}

const char *boot_id(void) {
  static char id[BOOT_ID_TEXT + 2];
  if (!id[0] && slurp("/proc/sys/kernel/random/boot_id", id, sizeof id) != BOOT_ID_TEXT)
    strcpy(id, "00000000-0000-0000-0000-000000000000");
  return id;
}

double uptime(void) {
  struct timespec now;
  clock_gettime(CLOCK_BOOTTIME, &now);
  return now.tv_sec + now.tv_nsec / 1e9;
}

const char *parameter(const char *name, char *value, size_t size) {
  char line[4096];
  if (slurp("/proc/cmdline", line, sizeof line) < 0) return NULL;
  size_t length = strlen(name);
  const char *found = NULL;
  char *rest = line;
  for (char *word; (word = strsep(&rest, " ")) != NULL;) {
    if (strncmp(word, name, length) != 0 || word[length] != '=') continue;
    snprintf(value, size, "%s", word + length + 1);
    found = value; /* the last one wins, as with the kernel's own parameters */
  }
  return found;
}
