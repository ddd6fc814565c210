// Processes, capabilities, scheduling.
#pragma once
#include <stdint.h>
#include <sys/types.h>

#define AFLOAT_CAPABILITY_NET_ADMIN (1u << 0)
#define AFLOAT_CAPABILITY_NET_RAW (1u << 1)

// Becomes (uid, gid) without supplementary groups and keeps exactly `capabilities` (AFLOAT_CAPABILITY_…) as permitted and
// effective; the bounding set is cut down to the same set, ambient and inheritable sets are emptied, no_new_privs is set.
// Returns 0, or -1 with errno and the name of the failed step in *step. Acts on the whole process only while it has one
// thread.
int afloat_drop_privileges(uid_t uid, gid_t gid, unsigned capabilities, const char **step);

int afloat_pidfd_open(pid_t pid);
// Moves the calling thread alone into a fresh network namespace; 0, or -1 with errno.
int afloat_leave_network(void);
int afloat_pidfd_send_signal(int pidfd, int signal);
void afloat_set_thread_name(const char *name);
// Gives the calling thread SCHED_FIFO at `priority`.
int afloat_set_fifo(int priority);
// As above, inherited by the threads that the calling thread starts.
int afloat_set_fifo_for_threads(int priority);
// Takes the calling thread out of SCHED_FIFO.
int afloat_set_normal(void);
// The calling thread's priority under SCHED_FIFO; 0 where it has another policy.
int afloat_fifo_priority(void);
// Asks for turns of that length for the calling thread, 100 µs to 100 ms, its policy and nice value as they are: what wakes
// with a shorter one than that of who is running takes its place at once (EEVDF, Linux 6.12 and newer; before, nothing
// changes). 0, or -1 with errno.
int afloat_set_turn(uint64_t nanoseconds);
// Pins the calling thread to one core.
int afloat_pin_to_core(int core);
// Writes the cores of the inherited affinity mask to `cores`; returns how many, at most `room`.
int afloat_allowed_cores(int *cores, int room);

#define AFLOAT_LIMIT_REAL_TIME_PRIORITY 0
#define AFLOAT_LIMIT_LOCKED_MEMORY 1
#define AFLOAT_LIMIT_OPEN_FILES 2
// Sets soft and hard limit (AFLOAT_LIMIT_…) to `value`; UINT64_MAX is no limit.
int afloat_set_limit(int limit, uint64_t value);
// Raises the soft limit of open files to the hard one and returns it.
uint64_t afloat_open_files_to_hard_limit(void);
// Lowers the soft limit of open files of a process of ours to `soft`, if it can; it never raises it.
void afloat_limit_open_files_of(pid_t pid, uint64_t soft);
// Gives the calling thread, for good, a table of descriptors of its own with 0, 1, 2 and `kept` (3 at least) in it. 0, or -1
// with errno: it shares the process's still, as where the kernel is older than 5.9.
int afloat_leave_descriptors(unsigned kept);
// Locks the pages of this process in memory as they are touched (MCL_ONFAULT).
int afloat_lock_memory_on_fault(void);
// The same for what is mapped now, not for what comes later.
int afloat_lock_current_memory_on_fault(void);
// The environment, for posix_spawn.
char **afloat_environment(void);
// Has a child that is started with these posix_spawn_file_actions_t close all descriptors from `first` on, after what was
// added before; 0 or an error number.
int afloat_spawn_closes_from(void *actions, int first);
/// A pipe, both ends close-on-exec, the reading one (ends[0]) non-blocking; -1 with errno on failure.
int afloat_pipe(int ends[2]);
