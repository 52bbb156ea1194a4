// SPDX-License-Identifier: Apache-2.0
// A reactor inside another loop.
#include <horus/io/loop/embedding.hpp>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <memory>
#include <utility>

#include <fcntl.h>
#include <sys/epoll.h>

#include <horus/base/above_standard.hpp>

namespace horus::HORUS_ABI::io {

Result<int> Reactor::poll_fd() {
  check_owner();
  if (embedding_) return embedding_->set;
  auto embedding = std::make_unique<Embedding>();
  embedding->set = above_standard(::epoll_create1(EPOLL_CLOEXEC));
  if (embedding->set < 0) return Error(errno, "epoll_create1");
  embedding->timer = above_standard(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (embedding->timer < 0) return Error(errno, "timerfd_create");
  const int backend = ring_->pollable_fd();
  if (backend < 0) return Error(-backend, "pollable descriptor");
  // Posts wake the other loop directly. Through the ring they would take an eventfd that signals an eventfd, which
  // costs the kernel an RCU grace period (15 ms).
  for (const int fd : {backend, embedding->timer, wake_fd_}) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    if (::epoll_ctl(embedding->set, EPOLL_CTL_ADD, fd, &event) < 0) return Error(errno, "epoll_ctl");
  }
  if (::fcntl(wake_fd_, F_SETFL, O_NONBLOCK) < 0) return Error(errno, "fcntl");
  if (wake_.armed) cancel_handler(wake_);
  embedding_ = std::move(embedding);
  arrivals_->by_bell_.store(true, std::memory_order_relaxed);
  rearm_embedding();
  return embedding_->set;
}

// Before the other loop sleeps: posts must signal, the timer must stand at the next deadline, and whatever is ready
// now must be visible (a timer that expires at once).
void Reactor::rearm_embedding() noexcept {
  ring_->clear_pollable();
  enter(0, 0);
  reap();
  asleep_.store(true, std::memory_order_seq_cst);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  std::int64_t deadline = timers_.next_deadline();
  const bool unsubmitted =
      closing_ || sq_tail_ != *rings_.sq_tail || (!queued_.empty() && in_flight_ < in_flight_limit_);
  if (unsubmitted || !ready_.empty() || !migrations_.empty() || must_stay_awake()) deadline = 1;
  embedding_->arm(std::max<std::int64_t>(deadline, 1));
}

// Code of the other loop gave us work between two calls of run_once().
void Reactor::wake_embedding() noexcept {
  if (embedding_ && asleep_.load(std::memory_order_relaxed)) embedding_->arm(1);
}

}  // namespace horus::HORUS_ABI::io
