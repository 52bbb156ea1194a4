// SPDX-License-Identifier: Apache-2.0
//
// Wake through a futex: the cheapest sleep there is for a thread that waits for nothing else.
//
//   wake_futex --cpus A,B --count N [--poll]

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "wake_mailbox.hpp"

struct FutexSleeper {
  static long futex(std::atomic<std::uint32_t>& word, int operation, std::uint32_t value) {
    return syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), operation, value, nullptr, nullptr, 0);
  }
  void sleep(std::atomic<std::uint32_t>& asleep) { futex(asleep, FUTEX_WAIT_PRIVATE, 1); }
  void signal(std::atomic<std::uint32_t>& asleep) { futex(asleep, FUTEX_WAKE_PRIVATE, 1); }
};

int main(int argc, char** argv) { return bench::run_mailbox_wake<FutexSleeper>(argc, argv); }
