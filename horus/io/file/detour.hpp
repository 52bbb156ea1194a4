// SPDX-License-Identifier: Apache-2.0
// The way of an operation on a file that a server or a driver answers, when it likes: another thread of the kernel's (or
// of a pool) makes the call, on memory of our own, and a task that is cancelled leaves at once. One thread.
#pragma once

#include <horus/base/compiler.hpp>

#include <coroutine>
#include <cstddef>

#include <horus/base/export.hpp>
#include <horus/io/loop/awaiter.hpp>
#include <horus/io/reactor.hpp>

namespace horus::HORUS_ABI::io::detail {

/// Operations of this kind that are under way at a time, for one reactor. Further ones wait; a hung server keeps its
/// own users only.
inline constexpr std::size_t kMostDetours = 32;
/// Of these for one file system (or one file, where the file system is not known).
inline constexpr std::size_t kMostDetoursEach = 4;
/// Bytes that one of them moves; more is a short read or write.
inline constexpr std::size_t kMostDetourBytes = std::size_t{1} << 20;

/// Sends a suspended operation that way: it is prepared, its memory is copied, it is woken with its result.
HORUS_API void take_detour(Operation& operation, std::uint64_t file_system) noexcept;
HORUS_API void cancel_detour(Waiter& waiter) noexcept;

template <class Self>
struct DetourKind {
  static constexpr OperationKind value{{Self::kName, &cancel_detour, &Operation::describe, nullptr},
                                       &KindOf<Self>::prepare};
};

/// Base of a file operation: `std::uint64_t detours() noexcept` tells whether it must not keep the loop; 0: no, else
/// the file system.
template <class Self>
class FileOperation : public OperationAwaiter<Self> {
 public:
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
    const std::uint64_t file_system = static_cast<Self&>(*this).detours();
    if (file_system == 0) [[likely]]
      return OperationAwaiter<Self>::await_suspend(awaiting);
    this->kind = &DetourKind<Self>::value;
    if (!this->suspend(awaiting)) return this->refuse(-ECANCELED);
    take_detour(*this, file_system);
  }

 protected:
  using OperationAwaiter<Self>::OperationAwaiter;
};

/// For an operation on names.
inline std::uint64_t path_detours(int folder, const char* path) noexcept {
  Reactor* reactor = Reactor::current();  // without one the wait itself says what is wrong
  return reactor != nullptr && reactor->system().path_may_wait(folder, path) ? 1 : 0;
}

}  // namespace horus::HORUS_ABI::io::detail
