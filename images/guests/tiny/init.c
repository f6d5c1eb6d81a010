/*
 * PID 1 of the tiny guest: says that it is up, loads drivers, starts the rest, and ends the machine when told to.
 *
 * It is C and not a script because its first line on the console is what start-up times are measured by,
 * and under emulation each process of a script costs milliseconds.
 */
#define _GNU_SOURCE
#include "guest.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/input.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define READY_PORT "io.vmstead.guest.0"
#define UDP_ECHO_PORT 7
#define MAX_SHELLS 4
#define MAX_INPUTS 8
#define STOP_SECONDS 2 /* what the sector writer gets to finish the write in flight and report it */

static struct { char tty[32]; pid_t pid; } shells[MAX_SHELLS];
static int shell_count;
static pid_t sector_writer;
static int ready_port = -1;
static int ready_said;

static char *const environment[] = {"PATH=/sbin:/bin", "HOME=/", "TERM=vt102", "ENV=/etc/profile", NULL};

static pid_t start(char *const argv[]) {
  pid_t pid = fork();
  if (pid != 0) return pid;
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  setsid();
  int console = open("/dev/console", O_RDWR | O_NOCTTY);
  if (console >= 0)
    for (int fd = 0; fd < 3; fd++) dup2(console, fd);
  execve(argv[0], argv, environment);
  say("VMSTEAD-ERROR cannot run %s: %s", argv[0], strerror(errno));
  _exit(127);
}

/* A shell that owns its terminal, so that job control and Ctrl-C work on the serial console. */
static pid_t start_shell(const char *tty) {
  pid_t pid = fork();
  if (pid != 0) return pid;
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  setsid();
  char path[64];
  snprintf(path, sizeof path, "/dev/%s", tty);
  int fd = open(path, O_RDWR);
  if (fd < 0) _exit(1);
  ioctl(fd, TIOCSCTTY, 1);
  struct winsize size = {.ws_row = 24, .ws_col = 80}; /* else ash asks the terminal, which may be a log file */
  ioctl(fd, TIOCSWINSZ, &size);
  for (int i = 0; i < 3; i++) dup2(fd, i);
  char *const argv[] = {"-sh", NULL};
  execve("/bin/sh", argv, environment);
  _exit(127);
}

static void start_shells(void) {
  char active[256];
  if (slurp("/sys/class/tty/console/active", active, sizeof active) < 0) return;
  char *rest = active;
  for (char *tty; (tty = strsep(&rest, " ")) != NULL;) {
    /* tty0 is the screen, and nobody types there. */
    if (!*tty || strncmp(tty, "tty0", 4) == 0 || shell_count == MAX_SHELLS) continue;
    snprintf(shells[shell_count].tty, sizeof shells[0].tty, "%s", tty);
    shells[shell_count].pid = start_shell(tty);
    shell_count++;
  }
}

static void mount_all(void) {
  mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
  mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
  mount("devtmpfs", "/dev", "devtmpfs", MS_NOSUID, "mode=0755"); /* EBUSY where the kernel did it already */
  mkdir("/dev/pts", 0755);
  mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, NULL);
  mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777");
  mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755");
}

/* Loads the modules of one list, in its order. A module that is there already, or has no device, is no error. */
static void load_modules(const char *set) {
  char path[128], list[4096];
  snprintf(path, sizeof path, "/lib/modules/%s.list", set);
  if (slurp(path, list, sizeof list) < 0) return;
  char *rest = list;
  for (char *name; (name = strsep(&rest, "\n")) != NULL;) {
    if (!*name) continue;
    snprintf(path, sizeof path, "/lib/modules/%s.ko", name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) continue;
    if (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST && errno != ENODEV)
      say("VMSTEAD-ERROR module %s: %s", name, strerror(errno));
    close(fd);
  }
}

/* True when a device of that bus has that attribute, compared by prefix. */
static int has_device(const char *bus, const char *attribute, const char *prefix) {
  char path[384], value[64];
  snprintf(path, sizeof path, "/sys/bus/%s/devices", bus);
  DIR *devices = opendir(path);
  if (!devices) return 0;
  int found = 0;
  for (struct dirent *entry; !found && (entry = readdir(devices)) != NULL;) {
    snprintf(path, sizeof path, "/sys/bus/%s/devices/%s/%s", bus, entry->d_name, attribute);
    found = slurp(path, value, sizeof value) > 0 && strncmp(value, prefix, strlen(prefix)) == 0;
  }
  closedir(devices);
  return found;
}

/* Slow to probe (links, targets), so this runs in a process beside the boot; then the seed is looked for. */
static void start_disk_drivers_and_seed(void) {
  if (fork() != 0) return;
  if (has_device("virtio", "device", "0x0008")) load_modules("virtio-scsi");
  if (has_device("pci", "class", "0x010601")) load_modules("ahci");
  if (has_device("pci", "class", "0x0101")) load_modules("ide");
  char *const seed[] = {"/sbin/seed", NULL};
  execve(seed[0], seed, environment);
  _exit(127);
}

/* Opens the host's port and has the kernel send SIGIO whenever the host connects or leaves. */
static int open_ready_port(void) {
  DIR *ports = opendir("/sys/class/virtio-ports");
  if (!ports) return -1;
  int fd = -1;
  for (struct dirent *entry; fd < 0 && (entry = readdir(ports)) != NULL;) {
    char path[384], name[64];
    snprintf(path, sizeof path, "/sys/class/virtio-ports/%s/name", entry->d_name);
    if (slurp(path, name, sizeof name) < 0 || strcmp(name, READY_PORT) != 0) continue;
    snprintf(path, sizeof path, "/dev/%s", entry->d_name);
    fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
  }
  closedir(ports);
  if (fd >= 0) {
    fcntl(fd, F_SETOWN, getpid());
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_ASYNC);
  }
  return fd;
}

/* Tells the host once per connection: a launcher that was restarted asks by connecting anew. */
static void say_ready(void) {
  char value[8];
  if (parameter("vmstead.ready", value, sizeof value) && strcmp(value, "off") == 0) return;
  if (ready_port < 0 && (ready_port = open_ready_port()) < 0) return;
  struct pollfd port = {.fd = ready_port, .events = POLLOUT};
  poll(&port, 1, 0);
  if (port.revents & POLLHUP) {
    ready_said = 0;
    return;
  }
  if (!ready_said && write(ready_port, "READY=1\n", 8) == 8) ready_said = 1;
}

static void start_services(void) {
  char value[256];
  char *const network[] = {"/sbin/network", NULL};
  start(network);
  char *const web[] = {"/sbin/web", NULL};
  start(web);
  if (parameter("vmstead.sectors", value, sizeof value)) {
    char *const sectors[] = {"/sbin/sectors", value, NULL};
    sector_writer = start(sectors);
  }
}

static int open_power_buttons(struct pollfd *inputs, int space) {
  int count = 0;
  for (int i = 0; i < 16 && count < space; i++) {
    char path[32];
    snprintf(path, sizeof path, "/dev/input/event%d", i);
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0) inputs[count++] = (struct pollfd){.fd = fd, .events = POLLIN};
  }
  return count;
}

static int power_pressed(int fd) {
  struct input_event event;
  int pressed = 0;
  while (read(fd, &event, sizeof event) == (ssize_t)sizeof event)
    if (event.type == EV_KEY && event.code == KEY_POWER && event.value == 1) pressed = 1;
  return pressed;
}

static int open_udp_echo(void) {
  int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0); /* takes IPv4 too */
  struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(UDP_ECHO_PORT)};
  if (fd >= 0 && bind(fd, (struct sockaddr *)&any, sizeof any) == 0) return fd;
  return -1;
}

static void answer_udp(int fd) {
  char payload[1024], answer[1200];
  struct sockaddr_storage peer;
  socklen_t peer_size = sizeof peer;
  ssize_t length = recvfrom(fd, payload, sizeof payload, 0, (struct sockaddr *)&peer, &peer_size);
  if (length < 0) return;
  int head = snprintf(answer, sizeof answer, "VMSTEAD-UDP boot_id=%s ", boot_id());
  memcpy(answer + head, payload, length);
  sendto(fd, answer, head + length, 0, (struct sockaddr *)&peer, peer_size);
}

static void end_machine(int how, const char *reason) {
  if (sector_writer > 0) {
    kill(sector_writer, SIGTERM);
    for (int i = 0; i < STOP_SECONDS * 100 && waitpid(sector_writer, NULL, WNOHANG) == 0; i++) usleep(10000);
  }
  sync();
  say("VMSTEAD-GUEST-DOWN boot_id=%s reason=%s uptime=%.2f", boot_id(), reason, uptime());
  int console = open("/dev/console", O_WRONLY | O_NOCTTY);
  if (console >= 0) ioctl(console, TCSBRK, 1); /* tcdrain: let the line out */
  reboot(how);
}

static void panic_now(void) {
  int fd = open("/proc/sysrq-trigger", O_WRONLY);
  if (fd >= 0 && write(fd, "c", 1) < 0) say("VMSTEAD-ERROR sysrq: %s", strerror(errno));
}

static void reap(void) {
  for (pid_t pid; (pid = waitpid(-1, NULL, WNOHANG)) > 0;) {
    if (pid == sector_writer) sector_writer = 0;
    for (int i = 0; i < shell_count; i++)
      if (shells[i].pid == pid) shells[i].pid = start_shell(shells[i].tty);
  }
}

/* Seconds of uptime at which something asked for on the command line is due; a negative number is never. */
static double due(const char *name, double otherwise) {
  char value[32];
  return parameter(name, value, sizeof value) ? strtod(value, NULL) : otherwise;
}

static void handle_signal(int fd) {
  struct signalfd_siginfo info;
  while (read(fd, &info, sizeof info) == (ssize_t)sizeof info) {
    switch (info.ssi_signo) { /* what busybox' poweroff, reboot and halt send to PID 1 */
      case SIGUSR2: end_machine(RB_POWER_OFF, "poweroff"); break;
      case SIGTERM: end_machine(RB_AUTOBOOT, "reboot"); break;
      case SIGUSR1: end_machine(RB_HALT_SYSTEM, "halt"); break;
      case SIGIO: say_ready(); break;
      case SIGCHLD: reap(); break;
    }
  }
}

static int block_signals(void) {
  sigset_t signals;
  sigemptyset(&signals);
  const int handled[] = {SIGUSR1, SIGUSR2, SIGTERM, SIGIO, SIGCHLD};
  for (size_t i = 0; i < sizeof handled / sizeof *handled; i++) sigaddset(&signals, handled[i]);
  sigprocmask(SIG_BLOCK, &signals, NULL);
  return signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
}

int main(void) {
  reboot(RB_DISABLE_CAD);
  mount_all();
  char name[64];
  if (slurp("/etc/hostname", name, sizeof name) > 0) sethostname(name, strlen(name));
  struct sysinfo info;
  sysinfo(&info);
  say("VMSTEAD-GUEST-UP boot_id=%s uptime=%.2f cpus=%ld memory_mib=%lu", boot_id(), uptime(),
      sysconf(_SC_NPROCESSORS_ONLN), info.totalram * info.mem_unit >> 20);
  int signals = block_signals();
  say_ready();
  load_modules("base");
  start_services();
  start_disk_drivers_and_seed();
  start_shells();

  struct pollfd fds[2 + MAX_INPUTS] = {{.fd = signals, .events = POLLIN}, {.fd = open_udp_echo(), .events = POLLIN}};
  int count = 2 + open_power_buttons(fds + 2, MAX_INPUTS);
  char value[8];
  int ignore_power = parameter("vmstead.power-button", value, sizeof value) && strcmp(value, "ignore") == 0;
  double interval = due("vmstead.heartbeat", 10), poweroff_at = due("vmstead.poweroff", -1);
  double reboot_at = due("vmstead.reboot", -1), panic_at = due("vmstead.panic", -1);
  double heartbeat_at = interval > 0 ? uptime() : -1;
  unsigned long beats = 0;

  for (;;) {
    double now = uptime(), next = now + 3600;
    if (heartbeat_at >= 0 && now >= heartbeat_at) {
      say("VMSTEAD-HEARTBEAT boot_id=%s seq=%lu uptime=%.3f", boot_id(), beats++, now);
      heartbeat_at += interval;
      if (heartbeat_at < now) heartbeat_at = now + interval; /* after a pause: no burst of late ones */
    }
    if (poweroff_at >= 0 && now >= poweroff_at) end_machine(RB_POWER_OFF, "vmstead.poweroff");
    if (reboot_at >= 0 && now >= reboot_at) end_machine(RB_AUTOBOOT, "vmstead.reboot");
    if (panic_at >= 0 && now >= panic_at) panic_now();
    const double dues[] = {heartbeat_at, poweroff_at, reboot_at, panic_at};
    for (int i = 0; i < 4; i++)
      if (dues[i] >= 0 && dues[i] < next) next = dues[i];
    /* The port's name comes from the host a little after the driver: look again soon, until it was told. */
    if (!ready_said && ready_port < 0 && now < 10 && next > now + 0.05) {
      say_ready();
      next = now + 0.05;
    }
    struct timespec wait = {.tv_sec = (time_t)(next - now)};
    wait.tv_nsec = (long)((next - now - wait.tv_sec) * 1e9);
    if (next <= now) wait = (struct timespec){0};
    if (ppoll(fds, count, &wait, NULL) <= 0) continue;
    if (fds[0].revents) handle_signal(fds[0].fd);
    if (fds[1].revents) answer_udp(fds[1].fd);
    for (int i = 2; i < count; i++) {
      if (!fds[i].revents || !power_pressed(fds[i].fd)) continue;
      say("VMSTEAD-POWER-BUTTON boot_id=%s %s", boot_id(), ignore_power ? "ignored" : "pressed");
      if (!ignore_power) end_machine(RB_POWER_OFF, "power-button");
    }
  }
}
