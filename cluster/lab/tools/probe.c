/* A client that asks one address (of either family) for an ICMP echo at a steady pace, and says when and for how long nobody answered.
 *
 *   probe ADDRESS [PERIOD_MICROSECONDS = 500]
 *
 * Writes {"ready": true}, then one JSON line per outage as it ends ({"outage_ms", "lost", "at", "until"}: wall-clock
 * seconds of the last answered
 * probe before and the first after), and a summary at SIGTERM or SIGINT. An outage is the time between the sending of the
 * last answered probe and of the next answered one, less one period; where every probe was answered there is none, however
 * late this process itself was scheduled. A probe counts as lost when its answer did not come within 100 ms. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ip.h>
#include <linux/icmp.h>
#include <netinet/icmp6.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ring = 1 << 16, judge_after_ns = 100000000 };
struct sent { int64_t at_ns; int64_t rtt_ns; };
static struct sent sent[ring];
static volatile sig_atomic_t ended;

static int64_t now(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}
static void on_end(int number) { (void)number; ended = 1; }

static uint16_t checksum(const void *data, size_t length) {
  const uint16_t *word = data;
  uint32_t sum = 0;
  for (size_t i = 0; i < length / 2; i++) sum += word[i];
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return (uint16_t)~sum;
}

int main(int argc, char **argv) {
  if (argc < 2) { fprintf(stderr, "usage: probe ADDRESS [PERIOD_MICROSECONDS]\n"); return 2; }
  int64_t period = (argc > 2 ? atoll(argv[2]) : 500) * 1000;
  struct sockaddr_in target4 = {.sin_family = AF_INET};
  struct sockaddr_in6 target6 = {.sin6_family = AF_INET6};
  int six = inet_pton(AF_INET6, argv[1], &target6.sin6_addr) == 1;
  if ((!six && inet_pton(AF_INET, argv[1], &target4.sin_addr) != 1) || period <= 0) { fprintf(stderr, "probe: bad argument\n"); return 2; }
  const struct sockaddr *target = six ? (struct sockaddr *)&target6 : (struct sockaddr *)&target4;
  socklen_t target_size = six ? sizeof target6 : sizeof target4;
  int fd = six ? socket(AF_INET6, SOCK_RAW | SOCK_NONBLOCK, IPPROTO_ICMPV6) : socket(AF_INET, SOCK_RAW | SOCK_NONBLOCK, IPPROTO_ICMP);
  if (fd < 0) { perror("probe: socket"); return 1; }
  if (six) {
    struct icmp6_filter filter6;
    ICMP6_FILTER_SETBLOCKALL(&filter6);
    ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &filter6);
    setsockopt(fd, IPPROTO_ICMPV6, ICMP6_FILTER, &filter6, sizeof filter6);
  } else {
    struct icmp_filter filter = {.data = ~(1u << ICMP_ECHOREPLY)};
    setsockopt(fd, SOL_RAW, ICMP_FILTER, &filter, sizeof filter);
  }
  int size = 1 << 20;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  struct sched_param priority = {.sched_priority = 20};
  sched_setscheduler(0, SCHED_FIFO, &priority); /* where it is refused, the probes are merely less even */
  mlockall(MCL_CURRENT | MCL_FUTURE);
  signal(SIGTERM, on_end);
  signal(SIGINT, on_end);
  setvbuf(stdout, NULL, _IOLBF, 0);
  printf("{\"ready\": true}\n");

  uint16_t identity = (uint16_t)getpid();
  int64_t wall_offset = now(CLOCK_REALTIME) - now(CLOCK_MONOTONIC);
  uint64_t next = 0, judged = 0, answered = 0, lost = 0, lost_in_run = 0, outages = 0;
  int64_t last_good = -1, worst_rtt = 0, worst_outage = 0, wake = now(CLOCK_MONOTONIC);
  struct { struct icmphdr header; uint64_t number; } packet;

  while (!ended || next > judged) {
    if (!ended) {
      memset(&packet, 0, sizeof packet);
      packet.header.type = six ? ICMP6_ECHO_REQUEST : ICMP_ECHO; /* laid out alike; the kernel sums up those of IPv6 */
      packet.header.un.echo.id = identity;
      packet.header.un.echo.sequence = htons((uint16_t)next);
      packet.number = next;
      packet.header.checksum = checksum(&packet, sizeof packet);
      sent[next % ring] = (struct sent){now(CLOCK_MONOTONIC), -1};
      sendto(fd, &packet, sizeof packet, MSG_DONTWAIT, target, target_size);
      next++;
    }
    wake += period;
    int64_t late = now(CLOCK_MONOTONIC) - wake;
    if (late > 0) wake += late; /* after a stall: no burst */
    struct timespec until = {wake / 1000000000, wake % 1000000000};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);

    unsigned char bytes[256];
    ssize_t count;
    while ((count = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT)) > 0) {
      size_t head = six ? 0 : (size_t)(bytes[0] & 15) * 4; /* raw sockets of IPv6 leave the header away */
      if ((size_t)count < head + sizeof packet) continue;
      memcpy(&packet, bytes + head, sizeof packet);
      if (packet.header.un.echo.id != identity || packet.number >= next || packet.number + ring < next) continue;
      struct sent *probe = &sent[packet.number % ring];
      int64_t rtt = now(CLOCK_MONOTONIC) - probe->at_ns;
      if (probe->rtt_ns < 0 && rtt < judge_after_ns) probe->rtt_ns = rtt;
    }
    int64_t time = now(CLOCK_MONOTONIC);
    for (; judged < next && time - sent[judged % ring].at_ns > judge_after_ns; judged++) {
      struct sent *probe = &sent[judged % ring];
      if (probe->rtt_ns < 0) { lost++; lost_in_run++; continue; }
      answered++;
      if (probe->rtt_ns > worst_rtt) worst_rtt = probe->rtt_ns;
      if (lost_in_run > 0 && last_good >= 0) {
        int64_t outage = probe->at_ns - last_good - period;
        if (outage > worst_outage) worst_outage = outage;
        outages++;
        printf("{\"outage_ms\": %.3f, \"lost\": %llu, \"at\": %.6f, \"until\": %.6f}\n", outage / 1e6,
               (unsigned long long)lost_in_run, (last_good + wall_offset) / 1e9, (probe->at_ns + wall_offset) / 1e9);
      }
      lost_in_run = 0;
      last_good = probe->at_ns;
    }
  }
  printf("{\"sent\": %llu, \"answered\": %llu, \"lost\": %llu, \"outages\": %llu, \"worst_outage_ms\": %.3f, "
         "\"worst_rtt_ms\": %.3f, \"lost_at_end\": %llu}\n",
         (unsigned long long)next, (unsigned long long)answered, (unsigned long long)lost, (unsigned long long)outages,
         worst_outage / 1e6, worst_rtt / 1e6, (unsigned long long)lost_in_run);
  return 0;
}
