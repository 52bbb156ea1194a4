// SPDX-License-Identifier: Apache-2.0
// One kernel operation that a coroutine waits for: an awaiter that fills a submission entry and gets a completion.
// It lives in the frame of the coroutine; the frame must not die before the completion. One thread.
#pragma once

#include <horus/base/compiler.hpp>

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <string>

#include <linux/io_uring.h>

#include <horus/base/assert.hpp>
#include <horus/base/intrusive_list.hpp>
#include <horus/base/result.hpp>
#include <horus/io/loop/in_flight.hpp>
#include <horus/io/seam/entry.hpp>
#include <horus/task/chain.hpp>

namespace horus::HORUS_ABI::io {

class Reactor;
class Operation;

struct QueuedTag;

/// What every operation of one type has in common. `prepare` is for operations that had to queue; the usual path
/// calls the awaiter's own prepare, inlined.
struct OperationKind : WaitKind {
  void (*prepare)(Operation& operation, io_uring_sqe& entry) noexcept;
};

/// How user_data of an entry is read: an object's address with one of these in the low three bits.
enum class Tag : std::uint64_t {
  operation = 0,  ///< an Operation: one completion, then its coroutine is ready
  handler = 1,    ///< a CompletionHandler: called for each completion (multishot, wake-up, close)
  ignore = 2,     ///< nobody waits (cancellations)
  immediate = 3,  ///< a CompletionHandler whose entry completes only when it fails
};

/// Receives completions without being a coroutine. Must outlive its last completion (IORING_CQE_F_MORE unset).
struct CompletionHandler : OnDescriptor<CompletionHandler> {
  void (*complete)(CompletionHandler& self, std::int32_t result, std::uint32_t flags) noexcept = nullptr;
};

/// Base of every awaiter of a kernel operation.
class HORUS_API Operation : public Waiter, public ListHook<QueuedTag>, public OnDescriptor<Operation> {
 public:
  enum class State : std::uint8_t { idle, queued, in_flight, done };

  std::int32_t result = 0;  ///< of the completion: ≥ 0, or -errno
  std::uint32_t flags = 0;  ///< IORING_CQE_F_*
  State state = State::idle;
  /// What it works on: a close of this number ends it. -1: nothing, or a path.
  std::int32_t fd = -1;

  [[nodiscard]] std::uint64_t user_data() const noexcept { return reinterpret_cast<std::uintptr_t>(this); }

 protected:
  explicit Operation(const OperationKind* kind, int descriptor = -1) noexcept
      : Waiter(kind), fd(descriptor) {}
  ~Operation() {
    HORUS_ASSERT(
        state != State::in_flight && state != State::queued,
        "a coroutine frame died while the kernel still worked for it (was a running task destroyed?)");
  }

 public:
  /// Ends it without asking the kernel.
  void refuse(std::int32_t error) noexcept {
    result = error;
    state = State::done;
    make_ready();
  }
  static void cancel(Waiter& waiter) noexcept;
  static void describe(const Waiter& waiter, std::string& line);
};

}  // namespace horus::HORUS_ABI::io
