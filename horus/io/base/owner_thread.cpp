// SPDX-License-Identifier: Apache-2.0
#include <horus/io/base/owner_thread.hpp>

#include <atomic>
#include <cstdlib>
#include <string>

#include <pthread.h>

#include <horus/base/assert.hpp>

namespace horus::HORUS_ABI::io::detail {
namespace {

std::atomic<std::uint64_t> generation{0};

// The rings are memory shared with the parent: a child that touched them would submit in the parent's name.
void poison_after_fork() noexcept {
  generation.fetch_add(1, std::memory_order_relaxed);
  horus::detail::thread_state.reactor = nullptr;
  horus::detail::thread_state.ready = nullptr;
  horus::detail::thread_state.roots = nullptr;
  horus::detail::thread_state.number = 0;
}

}  // namespace

std::uint64_t thread_number() noexcept {
  static std::atomic<std::uint64_t> next{1};
  std::uint64_t& number = horus::detail::thread_state.number;
  if (number == 0) number = next.fetch_add(1, std::memory_order_relaxed);
  return number;
}

std::uint64_t process_generation() noexcept { return generation.load(std::memory_order_relaxed); }
void count_forks() noexcept { ::pthread_atfork(nullptr, nullptr, &poison_after_fork); }

void used_on_another_thread(const char* what) noexcept {
  const std::string message =
      std::string("a ") + what +
      " was used on a thread that did not make it: it belongs to the reactor of the "
      "thread that made it (Reactor::post "
      "brings the work there; release() and a new object move a stream, a socket or a file)";
  HORUS_ASSERT(false, message.c_str());
  std::abort();
}

}  // namespace horus::HORUS_ABI::io::detail
