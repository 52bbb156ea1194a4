// SPDX-License-Identifier: Apache-2.0
//
// Wake through an eventfd that the target's ring reads, hand-written.
//
//   wake_eventfd --cpus A,B --count N [--poll]

#include <sys/eventfd.h>
#include <unistd.h>

#include "uring.hpp"
#include "wake_mailbox.hpp"

class EventFdSleeper {
 public:
  EventFdSleeper() : ring_(8, 64), event_(eventfd(0, EFD_CLOEXEC)) {
    if (event_ < 0) bench::fail("eventfd", errno);
  }
  ~EventFdSleeper() { close(event_); }

  void sleep(std::atomic<std::uint32_t>&) {
    if (!armed_) {
      io_uring_prep_read(ring_.entry(), event_, &value_, sizeof(value_), 0);
      armed_ = true;
    }
    ring_.submit_and_wait(1);
    if (ring_.for_each_completion([](const io_uring_cqe&) {}) > 0) armed_ = false;
  }

  void signal(std::atomic<std::uint32_t>&) {
    std::uint64_t one = 1;
    if (write(event_, &one, sizeof(one)) != sizeof(one)) bench::fail("write to an eventfd", errno);
  }

 private:
  bench::Ring ring_;
  int event_;
  std::uint64_t value_ = 0;
  bool armed_ = false;
};

int main(int argc, char** argv) { return bench::run_mailbox_wake<EventFdSleeper>(argc, argv); }
