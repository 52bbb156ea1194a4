// SPDX-License-Identifier: Apache-2.0
//
// A ring for the hand-written C++ peers: set-up with a reason when it fails, entries that never run out.
#pragma once

#include <cerrno>

#include <liburing.h>

#include "../common/measure.hpp"

namespace bench {

// For a ring that one thread submits to and waits on.
constexpr unsigned kOwnThreadFlags =
    IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CLAMP;

class Ring {
 public:
  Ring(unsigned submission_entries, unsigned completion_entries, unsigned flags = kOwnThreadFlags) {
    io_uring_params parameters{};
    parameters.flags = flags | IORING_SETUP_CQSIZE;
    parameters.cq_entries = completion_entries;
    if (int result = io_uring_queue_init_params(submission_entries, &ring_, &parameters); result < 0)
      fail("io_uring_setup", -result);
    io_uring_register_ring_fd(&ring_);
  }
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;
  ~Ring() { io_uring_queue_exit(&ring_); }

  io_uring* get() { return &ring_; }

  io_uring_sqe* entry() {
    io_uring_sqe* entry = io_uring_get_sqe(&ring_);
    while (entry == nullptr) {
      submit_and_wait(0);
      entry = io_uring_get_sqe(&ring_);
    }
    return entry;
  }

  void submit_and_wait(unsigned wanted) {
    int result = io_uring_submit_and_wait(&ring_, wanted);
    if (result < 0 && result != -EINTR && result != -EBUSY && result != -EAGAIN)
      fail("io_uring_enter", -result);
  }

  // Hands over every completion that is there.
  template <typename Handler>
  unsigned for_each_completion(Handler&& handler) {
    io_uring_cqe* completion;
    unsigned head;
    unsigned seen = 0;
    io_uring_for_each_cqe(&ring_, head, completion) {
      ++seen;
      handler(*completion);
    }
    io_uring_cq_advance(&ring_, seen);
    return seen;
  }

 private:
  io_uring ring_{};
};

}  // namespace bench
