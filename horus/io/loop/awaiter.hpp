// SPDX-License-Identifier: Apache-2.0
// How a coroutine waits for a kernel operation. The awaiter lives in its frame, and so does what the kernel writes. The
// reactor's thread.
#pragma once

#include <horus/base/compiler.hpp>

#include <cerrno>
#include <coroutine>
#include <string>
#include <string_view>

#include <horus/base/assert.hpp>
#include <horus/base/result.hpp>
#include <horus/io/loop/operation.hpp>
#include <horus/io/reactor.hpp>

namespace horus::HORUS_ABI::io {

namespace detail {

// The kind of an awaiter class: its name, its cancellation, its preparation.
template <class Self>
struct KindOf {
  static void prepare(Operation& operation, io_uring_sqe& entry) noexcept {
    static_cast<Self&>(operation).prepare(entry);
  }
  static constexpr OperationKind value{{Self::kName, &Operation::cancel, &Operation::describe, nullptr},
                                       &prepare};
};

}  // namespace detail

/// Base of a concrete awaiter: `struct Recv : OperationAwaiter<Recv>` with `static constexpr const char* kName`,
/// `void prepare(io_uring_sqe&) noexcept` (the entry is zeroed) and `await_resume()`.
template <class Self>
class OperationAwaiter : public Operation {
 public:
  static constexpr bool await_ready() noexcept { return false; }
  /// The way of every operation: the coroutine rests, and the entry goes to the thread's reactor.
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
    Reactor* reactor = Reactor::current();
    HORUS_ASSERT(reactor != nullptr,
                 "an operation was awaited on a thread that runs no reactor (use horus::io::run(task))");
    if (!suspend(awaiting)) [[unlikely]]
      return refuse(-ECANCELED);
    reactor->submit(static_cast<Self&>(*this));
  }

 protected:
  explicit OperationAwaiter(int descriptor = -1) noexcept
      : Operation(&detail::KindOf<Self>::value, descriptor) {}

  /// The failure of this operation; `target` says on what, for a person.
  [[nodiscard]] Error failure(std::string_view target = {}) const {
    if (target.empty() && fd >= 0) return Error(-result, Self::kName, "fd " + std::to_string(fd));
    return Error(-result, Self::kName, target);
  }
};

}  // namespace horus::HORUS_ABI::io
