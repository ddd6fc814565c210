// The least that passing bytes costs: reads from one socket, writes to the other, looks at nothing.
//
//   shuttle PORT SERVER-PORT...    on the loopback, one thread; each client gets a connection of its own, servers in turn
//
// A measuring stick for bench_http.py, no proxy: it blocks on slow readers and trusts everybody. Whoever also reads heads,
// chooses servers, writes fields and keeps time has to do that in what is left between this and the other proxies.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LARGEST_DESCRIPTOR = 1 << 16, BUFFER = 1 << 18, BATCH = 256 };
static int other[LARGEST_DESCRIPTOR];
static char buffer[BUFFER];

static struct sockaddr_in loopback(const char *port) {
  return (struct sockaddr_in){
    .sin_family = AF_INET, .sin_port = htons(atoi(port)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void watch(int poller, int descriptor) {
  int yes = 1;
  setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.fd = descriptor};
  if (epoll_ctl(poller, EPOLL_CTL_ADD, descriptor, &event)) perror("epoll_ctl");
}

int main(int count, char **words) {
  if (count < 3) return fprintf(stderr, "shuttle PORT SERVER-PORT...\n"), 2;
  int yes = 1, poller = epoll_create1(0), listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), turn = 0;
  struct sockaddr_in own = loopback(words[1]);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (bind(listener, (struct sockaddr *)&own, sizeof own) || listen(listener, 4096)) return perror("listen"), 1;
  watch(poller, listener);
  for (;;) {
    struct epoll_event events[BATCH];
    int ready = epoll_wait(poller, events, BATCH, -1);
    for (int place = 0; place < ready; place++) {
      int from = events[place].data.fd, to = other[from];
      if (from == listener) {
        int client;
        while ((client = accept(listener, NULL, NULL)) >= 0) {
          struct sockaddr_in address = loopback(words[2 + turn++ % (count - 2)]);
          int server = socket(AF_INET, SOCK_STREAM, 0);
          if (server < 0 || connect(server, (struct sockaddr *)&address, sizeof address)) return perror("connect"), 1;
          other[client] = server;
          other[server] = client;
          watch(poller, server);
          watch(poller, client);
        }
        continue;
      }
      if (!to) continue;  // closed earlier in this batch
      ssize_t got;
      // A read that is not filled has taken all there was.
      do {
        got = recv(from, buffer, BUFFER, MSG_DONTWAIT);
        if (got > 0 && send(to, buffer, got, MSG_NOSIGNAL) != got) got = 0;
      } while (got == BUFFER);
      if (got == 0 || events[place].events & (EPOLLERR | EPOLLHUP | EPOLLRDHUP)) {
        other[from] = other[to] = 0;
        close(from);
        close(to);
      }
    }
  }
}
