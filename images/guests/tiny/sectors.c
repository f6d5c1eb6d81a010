/*
 * Writes a record every 10 ms into a ring of 4 KiB slots at the start of a disk, past every cache, and says now and
 * then which one was acknowledged. Each record names its boot, its place in the disk's whole history and the boot
 * before, so that two writers, lost writes and stale writes show afterwards. test/guests/sectors.ts is the judge;
 * README.md has the layout.
 *
 *   sectors DEVICE|serial:SERIAL
 */
#define _GNU_SOURCE
#include "guest.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <linux/fs.h>
#include <time.h>
#include <unistd.h>

#define SLOT 4096
#define CHUNK (256 * SLOT)
#define DEFAULT_SLOTS 16384 /* 64 MiB, 164 s at the default pace */
#define DEFAULT_REPORT 100  /* acknowledged writes between two reports: 1 s */
#define INTERVAL_NS 10000000
#define WAIT_FOR_DISK_MS 10000

struct record {
  char magic[8];
  uint32_t slots;
  uint32_t reserved;
  uint8_t boot[16];
  uint8_t previous_boot[16];
  uint64_t position; /* counts every record ever written to this disk */
  uint64_t sequence; /* counts this boot's */
  uint64_t first_position;
  uint64_t wall_ns;
  uint64_t monotonic_ns;
  uint32_t header_crc; /* of all before */
  uint32_t body_crc;   /* of all after */
  uint64_t body[(SLOT - 96) / 8];
};
_Static_assert(sizeof(struct record) == SLOT, "a record fills its slot");

static const char magic[8] = "VMSTSEC1";
static volatile sig_atomic_t stop;
static void on_stop(int signal) { (void)signal; stop = 1; }

static uint32_t crc32(const void *data, size_t length) {
  static uint32_t table[256];
  if (!table[1])
    for (uint32_t i = 0; i < 256; i++) {
      uint32_t value = i;
      for (int bit = 0; bit < 8; bit++) value = value & 1 ? value >> 1 ^ 0xedb88320 : value >> 1;
      table[i] = value;
    }
  uint32_t crc = ~0u;
  for (const uint8_t *byte = data; length--; byte++) crc = crc >> 8 ^ table[(crc ^ *byte) & 255];
  return ~crc;
}

static uint64_t nanoseconds(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return now.tv_sec * 1000000000ull + now.tv_nsec;
}

static void parse_boot_id(uint8_t out[16]) {
  const char *text = boot_id();
  for (int i = 0; i < 16; i++) {
    if (*text == '-') text++;
    sscanf(text, "%2hhx", &out[i]);
    text += 2;
  }
}

static void format_boot_id(const uint8_t id[16], char *out) {
  for (int i = 0; i < 16; i++) {
    if (i == 4 || i == 6 || i == 8 || i == 10) *out++ = '-';
    out += sprintf(out, "%02x", id[i]);
  }
}

static int has_serial(const char *disk, const char *serial) {
  char path[384], found[64];
  snprintf(path, sizeof path, "/sys/block/%s/serial", disk);
  return slurp(path, found, sizeof found) > 0 && strcmp(found, serial) == 0;
}

/* The disk's driver may still be probing: waits for its node to appear. */
static int open_disk(const char *name, char *path, size_t size) {
  for (int waited = 0; waited < WAIT_FOR_DISK_MS; waited += 20) {
    snprintf(path, size, "%s", name);
    if (strncmp(name, "serial:", 7) == 0) {
      *path = 0;
      DIR *disks = opendir("/sys/block");
      for (struct dirent *entry; disks && (entry = readdir(disks)) != NULL;)
        if (has_serial(entry->d_name, name + 7)) snprintf(path, size, "/dev/%s", entry->d_name);
      if (disks) closedir(disks);
    }
    int fd = *path ? open(path, O_RDWR | O_DIRECT | O_DSYNC | O_CLOEXEC) : -1;
    if (fd >= 0) return fd;
    usleep(20000);
  }
  return -1;
}

static int header_valid(const struct record *record) {
  return memcmp(record->magic, magic, 8) == 0 && record->header_crc == crc32(record, offsetof(struct record, header_crc));
}

/* Reads the ring; returns the newest whole record in `last`, or 0 when there is none. */
static int find_last(int fd, uint8_t *chunk, uint64_t slots, struct record *last) {
  int found = 0;
  for (uint64_t slot = 0; slot < slots; slot += CHUNK / SLOT) {
    ssize_t length = pread(fd, chunk, CHUNK, slot * SLOT);
    for (ssize_t offset = 0; offset + SLOT <= length && slot + offset / SLOT < slots; offset += SLOT) {
      const struct record *record = (const void *)(chunk + offset);
      if (!header_valid(record) || record->position % record->slots != slot + offset / SLOT) continue;
      if (found && record->position <= last->position) continue;
      if (record->body_crc != crc32(record->body, sizeof record->body)) continue;
      *last = *record;
      found = 1;
    }
  }
  return found;
}

static void fill_record(struct record *record) {
  record->wall_ns = nanoseconds(CLOCK_REALTIME);
  record->monotonic_ns = nanoseconds(CLOCK_MONOTONIC);
  for (size_t i = 0; i < sizeof record->body / 8; i++) record->body[i] = record->position * 0x9e3779b97f4a7c15ull + i;
  record->header_crc = crc32(record, offsetof(struct record, header_crc));
  record->body_crc = crc32(record->body, sizeof record->body);
}

static uint64_t number(const char *name, uint64_t otherwise) {
  char value[32];
  return parameter(name, value, sizeof value) ? strtoull(value, NULL, 10) : otherwise;
}

int main(int argc, char **argv) {
  char path[384];
  uint64_t size = 0;
  if (argc != 2) return 2;
  int fd = open_disk(argv[1], path, sizeof path);
  if (fd < 0 || ioctl(fd, BLKGETSIZE64, &size) < 0 || size < 16 * SLOT) {
    say("VMSTEAD-SECTOR-ERROR boot_id=%s no usable disk %s: %s", boot_id(), argv[1], strerror(errno));
    return 1;
  }
  signal(SIGTERM, on_stop);
  uint64_t slots = number("vmstead.sectors.slots", DEFAULT_SLOTS), report = number("vmstead.sectors.report", DEFAULT_REPORT);
  if (slots > size / SLOT) slots = size / SLOT;
  if (report == 0) report = 1;

  uint8_t *chunk = aligned_alloc(SLOT, CHUNK);
  struct record *record = aligned_alloc(SLOT, SLOT), *last = aligned_alloc(SLOT, SLOT);
  memset(record, 0, SLOT);
  memcpy(record->magic, magic, 8);
  parse_boot_id(record->boot);
  if (find_last(fd, chunk, slots, last)) {
    char id[BOOT_ID_TEXT + 1];
    format_boot_id(last->boot, id);
    say("VMSTEAD-SECTOR-FOUND boot_id=%s seq=%llu pos=%llu", id, (unsigned long long)last->sequence,
        (unsigned long long)last->position);
    slots = last->slots; /* a disk keeps the ring that it began with */
    memcpy(record->previous_boot, last->boot, 16);
    record->position = last->position + 1;
  } else {
    say("VMSTEAD-SECTOR-FOUND none");
  }
  record->slots = slots;
  record->first_position = record->position;

  struct timespec next;
  clock_gettime(CLOCK_MONOTONIC, &next);
  uint64_t failures = 0;
  while (!stop) {
    fill_record(record);
    if (pwrite(fd, record, SLOT, record->position % slots * SLOT) == SLOT) {
      failures = 0;
      if (record->sequence % report == 0)
        say("VMSTEAD-SECTOR boot_id=%s acked=%llu pos=%llu", boot_id(), (unsigned long long)record->sequence,
            (unsigned long long)record->position);
      record->position++;
      record->sequence++;
    } else if (failures++ % 100 == 0) {
      /* Not acknowledged: the same record is tried again, so that the history has no hole. */
      say("VMSTEAD-SECTOR-ERROR boot_id=%s seq=%llu %s", boot_id(), (unsigned long long)record->sequence, strerror(errno));
    }
    next.tv_nsec += INTERVAL_NS;
    if (next.tv_nsec >= 1000000000) next.tv_sec++, next.tv_nsec -= 1000000000;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (now.tv_sec > next.tv_sec || (now.tv_sec == next.tv_sec && now.tv_nsec > next.tv_nsec)) next = now;
    else clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
  }
  if (record->sequence > 0)
    say("VMSTEAD-SECTOR boot_id=%s acked=%llu pos=%llu final", boot_id(), (unsigned long long)record->sequence - 1,
        (unsigned long long)record->position - 1);
  return 0;
}
