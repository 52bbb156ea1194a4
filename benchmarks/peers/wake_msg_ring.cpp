// SPDX-License-Identifier: Apache-2.0
//
// Wake through MSG_RING: the poster's ring posts a completion into the target's ring, hand-written.
//
//   wake_msg_ring --cpus A,B --count N [--poll]

#include "uring.hpp"
#include "wake_mailbox.hpp"

class MessageRingSleeper {
 public:
  MessageRingSleeper() : ring_(8, 8192) {}

  void sleep(std::atomic<std::uint32_t>&) {
    ring_.submit_and_wait(1);
    ring_.for_each_completion([](const io_uring_cqe&) {});
  }

  void signal(std::atomic<std::uint32_t>&) {
    thread_local bench::Ring posters_ring(8, 16);
    io_uring_prep_msg_ring(posters_ring.entry(), ring_.get()->ring_fd, 0, 0, 0);
    posters_ring.submit_and_wait(1);
    posters_ring.for_each_completion([](const io_uring_cqe& completion) {
      if (completion.res < 0) bench::fail("MSG_RING", -completion.res);
    });
  }

 private:
  bench::Ring ring_;
};

int main(int argc, char** argv) { return bench::run_mailbox_wake<MessageRingSleeper>(argc, argv); }
