// SPDX-License-Identifier: Apache-2.0
// Which thread an object of a reactor belongs to, and a clear end for whoever uses it on another one. Internal.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstdint>

#include <horus/base/export.hpp>
#include <horus/task/thread_state.hpp>

namespace horus::HORUS_ABI::io::detail {

/// Ends the program: `what` was made on another thread, whose reactor may have operations of it in flight.
[[noreturn]] HORUS_API void used_on_another_thread(const char* what) noexcept;

/// A number of the calling thread, which no other thread of this process has or will have.
[[nodiscard]] std::uint64_t thread_number() noexcept;
/// How often this process is a child of fork(), counted from count_forks() on. Any thread.
[[nodiscard]] std::uint64_t process_generation() noexcept;
/// From now on a child of fork() has another generation, and its thread has no reactor. Once.
void count_forks() noexcept;

/// The thread that makes it. One that never had a reactor owns nothing: its objects belong to whoever uses them.
class OwnerThread {
 public:
  void check(const char* what) const noexcept {
    if (number_ != horus::detail::thread_state.number && number_ != 0) [[unlikely]]
      used_on_another_thread(what);
  }

 private:
  std::uint64_t number_ = horus::detail::thread_state.number;
};

}  // namespace horus::HORUS_ABI::io::detail
