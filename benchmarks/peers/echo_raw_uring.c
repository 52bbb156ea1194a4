/* SPDX-License-Identifier: Apache-2.0
 *
 * TCP echo, hand-written on io_uring with everything switched on: the figure that everybody else is compared with.
 *
 *   echo_raw_uring --port N [--buffers 128] [--buffer-size 16384] [--direct]
 *
 * Multishot accept; multishot receive into one buffer ring; DEFER_TASKRUN | SINGLE_ISSUER; registered ring
 * descriptor; with --direct, direct descriptors (no entry in the process's descriptor table).
 *
 * One enter per request: a send with MSG_DONTWAIT completes while it is submitted, so the loop waits for one
 * completion more than it submits sends, and returns with the sends' completions and the next request together.
 * A send that came back short would then be noticed only with the next event; a heartbeat bounds that.
 *
 * A connection sends one buffer at a time; buffers that arrive meanwhile queue up behind it. One thread.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <time.h>

#include <liburing.h>

#include "listen.h"

enum { MAX_CONNECTIONS = 16384, SUBMISSION_ENTRIES = 1024, COMPLETION_ENTRIES = 16384, BUFFER_GROUP = 1 };
enum operation { ACCEPT, RECEIVE, SEND, CLOSE, HEARTBEAT };
enum { NO_BUFFER = -1 };

struct buffer {
  int length; /* bytes received */
  int sent;
  int next; /* the buffer that the same connection sends after this one */
};

struct connection {
  bool receiving; /* a multishot receive is armed */
  bool starved;   /* waits for a buffer to be returned */
  bool ending;    /* end of stream or error seen */
  int first;      /* buffer being sent, NO_BUFFER when idle */
  int last;
  unsigned counted_in; /* the enter that waits for this send too; 0 when none does */
};

static struct io_uring ring;
static struct io_uring_buf_ring* buffer_ring;
static unsigned char* memory;
static struct buffer* buffers;
static struct connection connections[MAX_CONNECTIONS];
static int starved[MAX_CONNECTIONS];
static int buffer_count, buffer_size, starved_count, listener;
static unsigned sends_counted;    /* sends that the next enter waits for */
static unsigned enter_number = 1; /* the next enter */
static bool direct;
static struct __kernel_timespec heartbeat = {.tv_sec = 0, .tv_nsec = 20 * 1000 * 1000};

static uint64_t tag(enum operation operation, int fd) { return ((uint64_t)operation << 32) | (uint32_t)fd; }

static struct io_uring_sqe* next_entry(void) {
  struct io_uring_sqe* entry = io_uring_get_sqe(&ring);
  while (entry == NULL) {
    int result = io_uring_submit(&ring);
    if (result < 0 && result != -EBUSY && result != -EINTR) die("io_uring_submit");
    sends_counted = 0;
    ++enter_number;
    entry = io_uring_get_sqe(&ring);
  }
  return entry;
}

static void arm_accept(void) {
  struct io_uring_sqe* entry = next_entry();
  if (direct) io_uring_prep_multishot_accept_direct(entry, listener, NULL, NULL, 0);
  else io_uring_prep_multishot_accept(entry, listener, NULL, NULL, SOCK_CLOEXEC);
  io_uring_sqe_set_data64(entry, tag(ACCEPT, 0));
}

static void arm_receive(int fd) {
  struct io_uring_sqe* entry = next_entry();
  io_uring_prep_recv_multishot(entry, fd, NULL, 0, 0);
  entry->flags |= IOSQE_BUFFER_SELECT | (direct ? IOSQE_FIXED_FILE : 0);
  entry->buf_group = BUFFER_GROUP;
  io_uring_sqe_set_data64(entry, tag(RECEIVE, fd));
  connections[fd].receiving = true;
}

/* Sends the rest of the first buffer: what fits at once, or (`wait_for_room`) all of it, however long that takes. */
static void arm_send(int fd, bool wait_for_room) {
  struct connection* connection = &connections[fd];
  int id = connection->first;
  struct buffer* buffer = &buffers[id];
  struct io_uring_sqe* entry = next_entry();
  io_uring_prep_send(entry, fd, memory + (size_t)id * (size_t)buffer_size + (size_t)buffer->sent,
                     (size_t)(buffer->length - buffer->sent),
                     MSG_NOSIGNAL | (wait_for_room ? MSG_WAITALL : MSG_DONTWAIT));
  entry->flags |= direct ? IOSQE_FIXED_FILE : 0;
  io_uring_sqe_set_data64(entry, tag(SEND, fd));
  if (!wait_for_room && buffer->next == NO_BUFFER) {
    connection->counted_in = enter_number;
    ++sends_counted;
  }
}

/* Only a send that nothing depends on may be counted into the wait: here another buffer begins to depend on it. */
static void stop_counting_send(struct connection* connection) {
  if (connection->counted_in == enter_number) --sends_counted;
  connection->counted_in = 0;
}

static void arm_heartbeat(void) {
  struct io_uring_sqe* entry = next_entry();
  io_uring_prep_timeout(entry, &heartbeat, 0, 0);
  io_uring_sqe_set_data64(entry, tag(HEARTBEAT, 0));
}

static void return_buffer(int id) {
  io_uring_buf_ring_add(buffer_ring, memory + (size_t)id * (size_t)buffer_size, (unsigned)buffer_size,
                        (unsigned short)id, io_uring_buf_ring_mask((unsigned)buffer_count), 0);
  io_uring_buf_ring_advance(buffer_ring, 1);
  if (starved_count > 0) {
    int fd = starved[--starved_count];
    connections[fd].starved = false;
    arm_receive(fd);
  }
}

static void close_when_quiet(int fd) {
  struct connection* connection = &connections[fd];
  if (!connection->ending || connection->receiving || connection->starved || connection->first != NO_BUFFER)
    return;
  connection->ending = false;
  struct io_uring_sqe* entry = next_entry();
  if (direct) io_uring_prep_close_direct(entry, (unsigned)fd);
  else io_uring_prep_close(entry, fd);
  io_uring_sqe_set_data64(entry, tag(CLOSE, fd));
}

static void on_accept(const struct io_uring_cqe* completion) {
  int fd = completion->res;
  if (!(completion->flags & IORING_CQE_F_MORE)) arm_accept();
  if (fd < 0) {
    fprintf(stderr, "accept: %s\n", strerror(-fd));
    return;
  }
  if (fd >= MAX_CONNECTIONS) {
    fprintf(stderr, "too many connections\n");
    exit(1);
  }
  connections[fd] = (struct connection){.first = NO_BUFFER, .last = NO_BUFFER};
  arm_receive(fd);
}

static void on_receive(int fd, const struct io_uring_cqe* completion) {
  struct connection* connection = &connections[fd];
  if (!(completion->flags & IORING_CQE_F_MORE)) connection->receiving = false;

  if (completion->res > 0) {
    int id = (int)(completion->flags >> IORING_CQE_BUFFER_SHIFT);
    buffers[id] = (struct buffer){.length = completion->res, .sent = 0, .next = NO_BUFFER};
    if (connection->first == NO_BUFFER) {
      connection->first = connection->last = id;
      arm_send(fd, false);
    } else {
      stop_counting_send(connection);
      buffers[connection->last].next = id;
      connection->last = id;
    }
    if (!connection->receiving && !connection->ending) arm_receive(fd);
  } else if (completion->res == -ENOBUFS) {
    connection->starved = true;
    starved[starved_count++] = fd;
  } else {
    connection->ending = true;
    close_when_quiet(fd);
  }
}

static void on_send(int fd, const struct io_uring_cqe* completion) {
  struct connection* connection = &connections[fd];
  int id = connection->first;
  struct buffer* buffer = &buffers[id];
  if (completion->res >= 0) {
    buffer->sent += completion->res;
  } else if (completion->res != -EAGAIN) {
    connection->ending = true;
    buffer->sent = buffer->length; /* drop what cannot be sent */
  }
  if (buffer->sent < buffer->length) {
    arm_send(fd, true);
    return;
  }
  connection->first = buffer->next;
  return_buffer(id);
  if (connection->first != NO_BUFFER) arm_send(fd, false);
  else close_when_quiet(fd);
}

static void set_up_ring(void) {
  struct io_uring_params parameters = {
      .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL |
               IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE,
      .cq_entries = COMPLETION_ENTRIES,
  };
  int result = io_uring_queue_init_params(SUBMISSION_ENTRIES, &ring, &parameters);
  if (result < 0) {
    fprintf(stderr, "io_uring: %s\n", strerror(-result));
    exit(1);
  }
  io_uring_register_ring_fd(&ring);
  if (direct && (result = io_uring_register_files_sparse(&ring, MAX_CONNECTIONS)) < 0) {
    fprintf(stderr, "register %d direct descriptors: %s\n", MAX_CONNECTIONS, strerror(-result));
    exit(1);
  }

  size_t ring_bytes = (size_t)buffer_count * sizeof(struct io_uring_buf);
  size_t bytes = (size_t)buffer_count * (size_t)buffer_size;
  buffer_ring = mmap(NULL, ring_bytes, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
  memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE | MAP_POPULATE, -1, 0);
  buffers = calloc((size_t)buffer_count, sizeof(struct buffer));
  if (buffer_ring == MAP_FAILED || memory == MAP_FAILED || buffers == NULL) die("allocate buffers");
  struct io_uring_buf_reg registration = {
      .ring_addr = (uintptr_t)buffer_ring, .ring_entries = (unsigned)buffer_count, .bgid = BUFFER_GROUP};
  if ((result = io_uring_register_buf_ring(&ring, &registration, 0)) < 0) {
    fprintf(stderr, "register the buffer ring: %s\n", strerror(-result));
    exit(1);
  }
  io_uring_buf_ring_init(buffer_ring);
  for (int id = 0; id < buffer_count; ++id) return_buffer(id);
}

int main(int argc, char** argv) {
  buffer_count = (int)number_argument(argc, argv, "--buffers", 128);
  buffer_size = (int)number_argument(argc, argv, "--buffer-size", 16384);
  direct = flag_argument(argc, argv, "--direct");
  if (buffer_count <= 0 || (buffer_count & (buffer_count - 1)) != 0 || buffer_size <= 0) {
    fprintf(stderr, "--buffers wants a power of two, --buffer-size a number above 0\n");
    return 1;
  }
  set_up_ring();
  listener = listen_on((int)number_argument(argc, argv, "--port", 0), 0);
  arm_accept();
  arm_heartbeat();

  for (;;) {
    unsigned wanted = sends_counted + 1;
    sends_counted = 0;
    ++enter_number;
    int result = io_uring_submit_and_wait(&ring, wanted);
    if (result < 0 && result != -EINTR && result != -EBUSY) {
      fprintf(stderr, "io_uring_enter: %s\n", strerror(-result));
      return 1;
    }
    struct io_uring_cqe* completion;
    unsigned head, seen = 0;
    io_uring_for_each_cqe(&ring, head, completion) {
      ++seen;
      int fd = (int)(uint32_t)completion->user_data;
      switch ((enum operation)(completion->user_data >> 32)) {
        case ACCEPT: on_accept(completion); break;
        case RECEIVE: on_receive(fd, completion); break;
        case SEND: on_send(fd, completion); break;
        case HEARTBEAT: arm_heartbeat(); break;
        case CLOSE: break;
      }
    }
    io_uring_cq_advance(&ring, seen);
  }
}
