/* Steady HTTP/1.1 traffic from a number of sticky clients, each with one keep-alive connection and its cookie.
 *
 *   traffic ADDRESS PORT [--clients N = 16] [--rate PER_SECOND = 2000, 0: without pause] [--path PATH = /]
 *           [--timeout MILLISECONDS = 3000] [--no-cookies]
 *
 * Writes {"ready": true} once it takes signals. SIGUSR1 writes one JSON line of what was seen since the line before and starts anew; SIGTERM and SIGINT end it with a
 * line of the same kind. A request failed if its connection was refused, reset or closed before the answer was complete
 * (where the server closed an idle connection as a request was sent, it is sent once more and counted as "retried"), if
 * nothing came in time, or if the status was not 2xx. "servers"
 * counts answers by their X-Backend field; "moved" counts answers that came from another server than the client's last. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { most_clients = 4096, most_servers = 64, buckets = 4096, buffer_size = 65536 };
enum failure { refused, reset, cut_short, timed_out, bad_status, bad_answer, failures };
static const char *failure_names[] = {"refused", "reset", "cut short", "timed out", "status", "malformed"};

struct client {
  int fd, connected, waiting, retried, chunked, close_after, status;
  int64_t asked_at, next_at, body_left; /* body_left: -1 while the head is not complete */
  size_t length;
  char buffer[buffer_size], cookie[256], server[64], answering[64]; /* server: of the last answer */
};
static struct client *clients;
static struct sockaddr_in target;
static char path[512] = "/", authority[64];
static int client_count = 16, epoll, with_cookies = 1;
static int64_t timeout_ns = 3000000000LL, interval_ns;
static volatile sig_atomic_t ended, asked;

static struct {
  uint64_t requests, failed[failures], moved, latency[buckets];
  uint64_t by_status[600], by_server[most_servers], connections, retried;
  int64_t began, last_good, longest_gap, worst;
} seen;
static char server_names[most_servers][64];
static int server_count;

static int64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}
static void on_end(int number) { (void)number; ended = 1; }
static void on_ask(int number) { (void)number; asked = 1; }

static void begin(void) {
  memset(&seen, 0, sizeof seen);
  seen.began = seen.last_good = now();
}

/* Latencies are counted in buckets of 50 µs. */
static double percentile(double share) {
  uint64_t total = 0, sum = 0;
  for (int i = 0; i < buckets; i++) total += seen.latency[i];
  for (int i = 0; i < buckets; i++) {
    sum += seen.latency[i];
    if (total && sum >= share * total) return (i + 1) * 0.05;
  }
  return 0;
}

static void report(void) {
  int64_t time = now();
  if (time - seen.last_good > seen.longest_gap) seen.longest_gap = time - seen.last_good;
  uint64_t failed = 0;
  for (int i = 0; i < failures; i++) failed += seen.failed[i];
  printf("{\"seconds\": %.3f, \"requests\": %llu, \"failed\": %llu, \"moved\": %llu, \"connections\": %llu, \"retried\": %llu, \"failures\": {",
         (time - seen.began) / 1e9, (unsigned long long)seen.requests, (unsigned long long)failed,
         (unsigned long long)seen.moved, (unsigned long long)seen.connections,
         (unsigned long long)seen.retried);
  const char *comma = "";
  for (int i = 0; i < failures; i++)
    if (seen.failed[i]) printf("%s\"%s\": %llu", comma, failure_names[i], (unsigned long long)seen.failed[i]), comma = ", ";
  printf("}, \"statuses\": {");
  comma = "";
  for (int i = 0; i < 600; i++)
    if (seen.by_status[i]) printf("%s\"%d\": %llu", comma, i, (unsigned long long)seen.by_status[i]), comma = ", ";
  printf("}, \"servers\": {");
  comma = "";
  for (int i = 0; i < server_count; i++)
    if (seen.by_server[i]) printf("%s\"%s\": %llu", comma, server_names[i], (unsigned long long)seen.by_server[i]), comma = ", ";
  printf("}, \"p50_ms\": %.2f, \"p99_ms\": %.2f, \"worst_ms\": %.2f, \"longest_gap_ms\": %.2f}\n", percentile(0.5),
         percentile(0.99), seen.worst / 1e6, seen.longest_gap / 1e6);
  fflush(stdout);
  begin();
}

static void hang_up(struct client *c) {
  if (c->fd >= 0) close(c->fd);
  c->fd = -1;
  c->connected = 0;
}

static void fail(struct client *c, enum failure why) {
  seen.failed[why]++;
  c->waiting = 0;
  c->retried = 0;
  hang_up(c);
  if (c->next_at < now() + 5000000) c->next_at = now() + 5000000; /* a refused client tries 200 times a second, not more */
}

static void dial(struct client *c) {
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  int yes = 1;
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};
  epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event);
  c->connected = 0;
  seen.connections++;
  if (connect(c->fd, (struct sockaddr *)&target, sizeof target) < 0 && errno != EINPROGRESS) fail(c, refused);
}

static void ask(struct client *c) {
  char request[1400];
  int length = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: %s\r\n%s%s%s\r\n", path, authority,
                        c->cookie[0] ? "Cookie: " : "", c->cookie, c->cookie[0] ? "\r\n" : "");
  c->length = 0;
  c->body_left = -1;
  c->chunked = c->close_after = 0;
  if (send(c->fd, request, (size_t)length, MSG_NOSIGNAL) != length) {
    /* Closed by the server while it was idle: not a failure, ask again on a fresh connection. */
    hang_up(c);
    seen.retried++;
    if (c->retried++) fail(c, reset); else dial(c);
  }
}

static void start(struct client *c, int64_t time) {
  c->waiting = 1;
  c->asked_at = time;
  c->next_at = interval_ns ? (c->next_at + interval_ns > time - 10 * interval_ns ? c->next_at + interval_ns : time) : time;
  if (c->fd < 0) dial(c); else ask(c);
}

/* The value of a field in the head, or NULL. The head is NUL-terminated. */
static char *field(char *head, const char *name, char *into, size_t size) {
  size_t length = strlen(name);
  for (char *line = strstr(head, "\r\n"); line && line[2]; line = strstr(line + 2, "\r\n")) {
    if (strncasecmp(line + 2, name, length) != 0 || line[2 + length] != ':') continue;
    char *from = line + 3 + length;
    while (*from == ' ') from++;
    size_t count = strcspn(from, "\r");
    if (count >= size) count = size - 1;
    memcpy(into, from, count);
    into[count] = 0;
    return into;
  }
  return NULL;
}

static void finish(struct client *c) {
  int status = c->status;
  const char *server = c->answering;
  int64_t time = now(), latency = time - c->asked_at;
  c->waiting = 0;
  c->retried = 0;
  if (status < 200 || status > 299) {
    seen.failed[bad_status]++;
    if (c->next_at < time + 5000000) c->next_at = time + 5000000;
  } else {
    if (time - seen.last_good > seen.longest_gap) seen.longest_gap = time - seen.last_good;
    seen.last_good = time;
    seen.latency[latency / 50000 < buckets ? latency / 50000 : buckets - 1]++;
    if (latency > seen.worst) seen.worst = latency;
    if (server[0]) {
      int i = 0;
      while (i < server_count && strcmp(server_names[i], server) != 0) i++;
      if (i == server_count && server_count < most_servers) strcpy(server_names[server_count++], server);
      if (i < most_servers) seen.by_server[i]++;
      if (c->server[0] && strcmp(c->server, server) != 0) seen.moved++;
      strcpy(c->server, server);
    }
  }
  seen.requests++;
  if (status > 0 && status < 600) seen.by_status[status]++;
  if (c->close_after) hang_up(c);
}

/* Whether a chunked body is complete at the end of the buffer. Bodies here are small and end with their last chunk. */
static int chunks_end(struct client *c, char *body) {
  char *at = body, *end = c->buffer + c->length;
  while (at < end) {
    char *line = memmem(at, (size_t)(end - at), "\r\n", 2);
    if (!line) return 0;
    long size = strtol(at, NULL, 16);
    if (size == 0) return memmem(line, (size_t)(end - line), "\r\n\r\n", 4) != NULL;
    at = line + 2 + size + 2;
  }
  return 0;
}

/* Reads the head at the start of the buffer. Returns the body's start, or NULL while the head is not complete. */
static char *read_head(struct client *c) {
  char *end = memmem(c->buffer, c->length, "\r\n\r\n", 4), value[256];
  if (!end) return NULL;
  end[2] = 0;
  if (sscanf(c->buffer, "HTTP/1.1 %d", &c->status) != 1) c->status = -1;
  c->close_after = field(c->buffer, "Connection", value, sizeof value) && strcasecmp(value, "close") == 0;
  if (with_cookies && field(c->buffer, "Set-Cookie", value, sizeof value)) {
    value[strcspn(value, ";")] = 0;
    strcpy(c->cookie, value);
  }
  c->answering[0] = 0;
  field(c->buffer, "X-Backend", c->answering, sizeof c->answering);
  c->chunked = field(c->buffer, "Transfer-Encoding", value, sizeof value) != NULL;
  c->body_left = field(c->buffer, "Content-Length", value, sizeof value) ? atoll(value) : 0;
  end[2] = '\r';
  return end + 4;
}

static void receive(struct client *c) {
  for (;;) {
    if (c->length >= buffer_size - 1) { /* a long counted body: only its length matters */
      if (c->body_left > 0 && !c->chunked) c->length = 0; else { fail(c, bad_answer); return; }
    }
    ssize_t count = recv(c->fd, c->buffer + c->length, buffer_size - 1 - c->length, 0);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (!c->waiting) { hang_up(c); return; } /* closed while idle, or an answer that nobody asked for */
    if (count <= 0) {
      /* An idle connection that was closed as we asked: once more on a fresh one, as every HTTP client does. */
      if (c->connected > 1 && c->length == 0 && c->body_left < 0 && !c->retried) {
        c->retried = 1;
        seen.retried++;
        hang_up(c);
        dial(c);
        return;
      }
      fail(c, count == 0 ? cut_short : c->connected ? reset : refused);
      return;
    }
    c->length += (size_t)count;
    c->buffer[c->length] = 0;
    if (c->body_left >= 0) {
      c->body_left -= count;
    } else {
      char *body = read_head(c);
      if (!body) continue;
      if (c->status < 0) { fail(c, bad_answer); return; }
      if (c->chunked) {
        c->body_left = chunks_end(c, body) ? 0 : -1;
        if (c->body_left < 0) continue; /* look again from the start with more bytes */
      } else {
        c->body_left -= c->buffer + c->length - body;
      }
    }
    if (c->body_left <= 0) { finish(c); return; }
  }
}

int main(int argc, char **argv) {
  if (argc < 3) { fprintf(stderr, "usage: traffic ADDRESS PORT [--clients N] [--rate R] [--path P] [--timeout MS]\n"); return 2; }
  double rate = 2000;
  for (int i = 3; i < argc; i++) {
    if (!strcmp(argv[i], "--clients") && i + 1 < argc) client_count = atoi(argv[++i]);
    else if (!strcmp(argv[i], "--rate") && i + 1 < argc) rate = atof(argv[++i]);
    else if (!strcmp(argv[i], "--path") && i + 1 < argc) snprintf(path, sizeof path, "%s", argv[++i]);
    else if (!strcmp(argv[i], "--timeout") && i + 1 < argc) timeout_ns = atoll(argv[++i]) * 1000000;
    else if (!strcmp(argv[i], "--no-cookies")) with_cookies = 0;
    else { fprintf(stderr, "traffic: unknown argument %s\n", argv[i]); return 2; }
  }
  target = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[2]))};
  if (inet_pton(AF_INET, argv[1], &target.sin_addr) != 1 || client_count < 1 || client_count > most_clients) return 2;
  snprintf(authority, sizeof authority, "%s:%s", argv[1], argv[2]);
  interval_ns = rate > 0 ? (int64_t)(1e9 * client_count / rate) : 0;
  signal(SIGTERM, on_end);
  signal(SIGINT, on_end);
  signal(SIGUSR1, on_ask);
  signal(SIGPIPE, SIG_IGN);
  printf("{\"ready\": true}\n");
  fflush(stdout);
  epoll = epoll_create1(0);
  clients = calloc((size_t)client_count, sizeof *clients);
  int64_t time = now();
  for (int i = 0; i < client_count; i++) {
    clients[i].fd = -1;
    clients[i].next_at = time + interval_ns * i / client_count;
  }
  begin();
  while (!ended) {
    if (asked) { asked = 0; report(); }
    time = now();
    int64_t soonest = time + 20000000;
    for (int i = 0; i < client_count; i++) {
      struct client *c = &clients[i];
      if (c->waiting && time - c->asked_at > timeout_ns) fail(c, timed_out);
      if (!c->waiting && c->next_at <= time) start(c, time);
      if (!c->waiting && c->next_at < soonest) soonest = c->next_at;
    }
    struct epoll_event events[256];
    struct timespec wait = {0, soonest > time ? soonest - time : 0};
    int count = epoll_pwait2(epoll, events, 256, &wait, NULL);
    for (int i = 0; i < count; i++) {
      struct client *c = events[i].data.ptr;
      if (c->fd < 0) continue;
      if (!c->connected) {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error) { fail(c, refused); continue; }
        if (!(events[i].events & EPOLLOUT)) continue;
        c->connected = 1;
        if (c->waiting) ask(c);
        if (c->fd < 0) continue;
      }
      if (events[i].events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
        receive(c);
        if (c->fd >= 0 && c->connected == 1 && !c->waiting) c->connected = 2; /* has served a request */
      }
    }
  }
  report();
  return 0;
}
