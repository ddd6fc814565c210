// When nothing runs at all, because the host of a virtual machine gives its processors to others.
//
//   freezes        until it is killed, a line per freeze: start and end in µs since 1970
//
// On each processor a thread of the highest real-time priority sleeps 300 µs at a time. If it does not wake within another
// millisecond, nothing that runs at a lower priority did.

#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { NAP = 300, FREEZE = 1300 };

static long long now(void) {
  struct timespec time;
  clock_gettime(CLOCK_REALTIME, &time);
  return time.tv_sec * 1000000LL + time.tv_nsec / 1000;
}

static void *watch(void *processor) {
  cpu_set_t place;
  CPU_ZERO(&place);
  CPU_SET((long)processor, &place);
  struct sched_param priority = {.sched_priority = 99};
  if (sched_setaffinity(0, sizeof place, &place) || sched_setscheduler(0, SCHED_FIFO, &priority)) perror("freezes");
  for (long long last = now();;) {
    struct timespec nap = {.tv_nsec = NAP * 1000};
    nanosleep(&nap, NULL);
    long long awake = now();
    if (awake - last > FREEZE) {
      printf("%lld %lld\n", last, awake);
      fflush(stdout);
    }
    last = awake;
  }
}

int main(void) {
  for (long processor = 1; processor < sysconf(_SC_NPROCESSORS_ONLN); processor++) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, watch, (void *)processor)) return perror("freezes"), 1;
  }
  watch(0);
}
