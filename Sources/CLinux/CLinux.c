// Bodies of the shims: here _GNU_SOURCE is on, in the headers it is not.
#define _GNU_SOURCE
#include "CLinux.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <sched.h>
#include <spawn.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

int afloat_bind(int descriptor, const void *address, socklen_t length) { return bind(descriptor, address, length); }
int afloat_connect(int descriptor, const void *address, socklen_t length) { return connect(descriptor, address, length); }
int afloat_accept4(int descriptor, void *address, socklen_t *length, int flags) {
  return accept4(descriptor, address, length, flags);
}
int afloat_getsockname(int descriptor, void *address, socklen_t *length) {
  return getsockname(descriptor, address, length);
}
int afloat_getpeername(int descriptor, void *address, socklen_t *length) {
  return getpeername(descriptor, address, length);
}
ssize_t afloat_sendto(int descriptor, const void *bytes, size_t count, int flags, const void *address, socklen_t length) {
  return sendto(descriptor, bytes, count, flags, address, length);
}
int afloat_memfd_create(const char *name, unsigned flags) { return memfd_create(name, flags); }

int afloat_sealable_memory_file(const char *name) { return memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING); }
int afloat_seal_size(int descriptor) {
  return fcntl(descriptor, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
}

int afloat_pidfd_open(pid_t pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }
int afloat_pidfd_send_signal(int pidfd, int signal) { return (int)syscall(SYS_pidfd_send_signal, pidfd, signal, 0, 0); }
void afloat_set_thread_name(const char *name) { prctl(PR_SET_NAME, name, 0, 0, 0); }

int afloat_set_fifo(int priority) {
  struct sched_param parameter = {.sched_priority = priority};
  return sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &parameter);
}

int afloat_set_normal(void) {
  struct sched_param parameter = {.sched_priority = 0};
  return sched_setscheduler(0, SCHED_OTHER | SCHED_RESET_ON_FORK, &parameter);
}

int afloat_fifo_priority(void) {
  struct sched_param parameter = {.sched_priority = 0};
  if ((sched_getscheduler(0) & ~SCHED_RESET_ON_FORK) != SCHED_FIFO || sched_getparam(0, &parameter) != 0) return 0;
  return parameter.sched_priority;
}

int afloat_set_turn(uint64_t nanoseconds) {
  // struct sched_attr as Linux 3.14 has it; only newer C libraries know it.
  struct {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
  } attributes = {.nice = getpriority(PRIO_PROCESS, 0), .runtime = nanoseconds};
  attributes.size = sizeof attributes;
  attributes.flags = 0x08;  // SCHED_FLAG_KEEP_POLICY
  return (int)syscall(SYS_sched_setattr, 0, &attributes, 0);
}

int afloat_pin_to_core(int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  return sched_setaffinity(0, sizeof set, &set);
}

int afloat_leave_network(void) { return unshare(CLONE_NEWNET); }

int afloat_set_limit(int limit, uint64_t value) {
  const int resources[] = {RLIMIT_RTPRIO, RLIMIT_MEMLOCK, RLIMIT_NOFILE};
  struct rlimit both = {.rlim_cur = value == UINT64_MAX ? RLIM_INFINITY : value};
  both.rlim_max = both.rlim_cur;
  return setrlimit(resources[limit], &both);
}

uint64_t afloat_open_files_to_hard_limit(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  return limit.rlim_cur;
}

void afloat_limit_open_files_of(pid_t pid, uint64_t soft) {
  struct rlimit limit;
  if (prlimit(pid, RLIMIT_NOFILE, NULL, &limit) != 0 || limit.rlim_cur <= soft) return;
  limit.rlim_cur = soft;
  prlimit(pid, RLIMIT_NOFILE, &limit, NULL);
}

int afloat_leave_descriptors(unsigned kept) {
  // With this flag the kernel copies no more than what stays. Only a table of our own may be closed.
  if (syscall(SYS_close_range, kept + 1, ~0u, CLOSE_RANGE_UNSHARE) != 0) return -1;
  return kept > 3 ? (int)syscall(SYS_close_range, 3u, kept - 1, 0u) : 0;
}

int afloat_set_fifo_for_threads(int priority) {
  struct sched_param parameter = {.sched_priority = priority};
  return sched_setscheduler(0, SCHED_FIFO, &parameter);
}

int afloat_lock_current_memory_on_fault(void) { return mlockall(MCL_CURRENT | MCL_ONFAULT); }
int afloat_lock_memory_on_fault(void) { return mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT); }
char **afloat_environment(void) { return environ; }

int afloat_spawn_closes_from(void *actions, int first) {
  return posix_spawn_file_actions_addclosefrom_np(actions, first);
}

int afloat_pipe(int ends[2]) {
  if (pipe2(ends, O_CLOEXEC) != 0) return -1;
  return fcntl(ends[0], F_SETFL, O_NONBLOCK);
}

int afloat_drop_privileges(uid_t uid, gid_t gid, unsigned capabilities, const char **step) {
  const cap_value_t all[] = {CAP_NET_ADMIN, CAP_NET_RAW};
  const unsigned flags[] = {AFLOAT_CAPABILITY_NET_ADMIN, AFLOAT_CAPABILITY_NET_RAW};
  cap_value_t kept[2];
  int kept_count = 0;
  for (int i = 0; i < 2; i++)
    if (capabilities & flags[i]) kept[kept_count++] = all[i];

  *step = "empty the bounding set of capabilities";
  for (cap_value_t cap = 0; cap <= cap_max_bits() - 1; cap++) {
    int keep = 0;
    for (int i = 0; i < kept_count; i++) keep |= kept[i] == cap;
    if (!keep && cap_get_bound(cap) == 1 && cap_drop_bound(cap) != 0) return -1;
  }
  *step = "keep capabilities over the change of user";
  if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0) return -1;
  if (getuid() != uid || getgid() != gid) {
    *step = "give up supplementary groups";
    if (setgroups(0, NULL) != 0) return -1;
    *step = "change the group";
    if (setresgid(gid, gid, gid) != 0) return -1;
    *step = "change the user";
    if (setresuid(uid, uid, uid) != 0) return -1;
  }
  *step = "clear ambient capabilities";
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0) return -1;
  *step = "set capabilities";
  cap_t set = cap_init();
  if (!set) return -1;
  int failed = 0;
  if (kept_count > 0) {
    failed |= cap_set_flag(set, CAP_PERMITTED, kept_count, kept, CAP_SET);
    failed |= cap_set_flag(set, CAP_EFFECTIVE, kept_count, kept, CAP_SET);
  }
  failed |= cap_set_proc(set);
  cap_free(set);
  if (failed) return -1;
  *step = "set no_new_privs";
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

int afloat_allowed_cores(int *cores, int room) {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 0;
  int count = 0;
  for (int core = 0; core < CPU_SETSIZE && count < room; core++)
    if (CPU_ISSET(core, &set)) cores[count++] = core;
  return count;
}

ssize_t afloat_send_packet(int socket, const void *bytes, size_t count, const int *descriptors, int descriptor_count,
                           int flags) {
  struct iovec vector = {.iov_base = (void *)bytes, .iov_len = count};
  struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
  union {
    struct cmsghdr header;
    char room[CMSG_SPACE(sizeof(int) * AFLOAT_MAXIMUM_DESCRIPTORS)];
  } control;
  if (descriptor_count > AFLOAT_MAXIMUM_DESCRIPTORS) {
    errno = EINVAL;
    return -1;
  }
  if (descriptor_count > 0) {
    message.msg_control = &control;
    message.msg_controllen = CMSG_SPACE(sizeof(int) * descriptor_count);
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int) * descriptor_count);
    memcpy(CMSG_DATA(header), descriptors, sizeof(int) * descriptor_count);
  }
  return sendmsg(socket, &message, flags | MSG_NOSIGNAL);
}

ssize_t afloat_receive_packet(int socket, void *bytes, size_t room, int *descriptors, int *descriptor_count, int flags) {
  struct iovec vector = {.iov_base = bytes, .iov_len = room};
  union {
    struct cmsghdr header;
    char room[CMSG_SPACE(sizeof(int) * AFLOAT_MAXIMUM_DESCRIPTORS)];
  } control;
  struct msghdr message = {
      .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  int most = *descriptor_count;
  *descriptor_count = 0;
  ssize_t count = recvmsg(socket, &message, flags | MSG_CMSG_CLOEXEC);
  if (count < 0) return count;
  int refused = (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
  for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    int received = (int)((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    for (int i = 0; i < received; i++) {
      int descriptor;
      memcpy(&descriptor, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
      if (refused || *descriptor_count >= most)
        close(descriptor);
      else
        descriptors[(*descriptor_count)++] = descriptor;
    }
  }
  if (refused) {
    errno = EMSGSIZE;
    return -1;
  }
  return count;
}
