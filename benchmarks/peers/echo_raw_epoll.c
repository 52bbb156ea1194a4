/* SPDX-License-Identifier: Apache-2.0
 *
 * TCP echo, hand-written on epoll: level-triggered, one receive and one send per event, one thread.
 *
 *   echo_raw_epoll --port N
 *
 * What a full socket did not take is kept per connection and sent when the socket is writable again; nothing more
 * is read from that connection meanwhile.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "listen.h"

enum { MAX_CONNECTIONS = 16384, MAX_EVENTS = 256, BUFFER_SIZE = 65536 };

struct rest {
  char* bytes;
  size_t length;
};

static struct rest rests[MAX_CONNECTIONS];
static char buffer[BUFFER_SIZE];
static int poller;

static void watch(int operation, int fd, unsigned events) {
  struct epoll_event event = {.events = events, .data.fd = fd};
  if (epoll_ctl(poller, operation, fd, &event) != 0) die("epoll_ctl");
}

static void drop(int fd) {
  free(rests[fd].bytes);
  rests[fd] = (struct rest){NULL, 0};
  close(fd);
}

static void accept_all(int listener) {
  for (;;) {
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    if (fd >= MAX_CONNECTIONS) {
      close(fd);
      continue;
    }
    watch(EPOLL_CTL_ADD, fd, EPOLLIN);
  }
}

/* Sends what it can; false when the connection is gone. */
static bool send_or_keep(int fd, const char* bytes, size_t length) {
  ssize_t sent = send(fd, bytes, length, MSG_NOSIGNAL);
  if (sent < 0 && errno != EAGAIN) return false;
  size_t done = sent < 0 ? 0 : (size_t)sent;
  struct rest rest = {NULL, length - done};
  if (rest.length > 0) {
    rest.bytes = malloc(rest.length);
    if (rest.bytes == NULL) return false;
    memcpy(rest.bytes, bytes + done, rest.length);
  }
  if ((rest.length > 0) != (rests[fd].length > 0))
    watch(EPOLL_CTL_MOD, fd, rest.length > 0 ? EPOLLOUT : EPOLLIN);
  free(rests[fd].bytes);
  rests[fd] = rest;
  return true;
}

static void on_event(int fd) {
  if (rests[fd].length > 0) {
    if (!send_or_keep(fd, rests[fd].bytes, rests[fd].length)) drop(fd);
    return;
  }
  ssize_t received = recv(fd, buffer, sizeof(buffer), 0);
  if (received < 0 && errno == EAGAIN) return;
  if (received <= 0 || !send_or_keep(fd, buffer, (size_t)received)) drop(fd);
}

int main(int argc, char** argv) {
  poller = epoll_create1(EPOLL_CLOEXEC);
  if (poller < 0) die("epoll_create1");
  int listener = listen_on((int)number_argument(argc, argv, "--port", 0), SOCK_NONBLOCK);
  watch(EPOLL_CTL_ADD, listener, EPOLLIN);

  struct epoll_event events[MAX_EVENTS];
  for (;;) {
    int ready = epoll_wait(poller, events, MAX_EVENTS, -1);
    if (ready < 0 && errno != EINTR) die("epoll_wait");
    for (int i = 0; i < ready; ++i) {
      if (events[i].data.fd == listener) accept_all(listener);
      else on_event(events[i].data.fd);
    }
  }
}
