// SPDX-License-Identifier: Apache-2.0
// The state of a thread that runs coroutines: its ready list, its recycled frames, its current reactor.
// Owned by the thread; only the counts of frames are read from elsewhere.
#pragma once

#include <horus/base/compiler.hpp>

#include <atomic>
#include <coroutine>
#include <cstddef>
#include <cstdint>

#include <horus/base/export.hpp>
#include <horus/base/intrusive_list.hpp>

namespace horus::HORUS_ABI {

class Chain;
class PromiseBase;
struct RootTag;

namespace io {
class Reactor;
}

/// A coroutine that may run now. It lives in the object that made it ready (usually an awaiter in its frame).
struct Ready {
  Ready* next_ready = nullptr;
  std::coroutine_handle<> handle;
  PromiseBase* promise = nullptr;  ///< of the coroutine; null when that is not a Horus coroutine
};

/// First-in first-out list of coroutines that may run now. Single thread. The number of live frames bounds it,
/// because each element lives in a suspended frame.
class ReadyList {
 public:
  void push(Ready& ready) noexcept {
    ready.next_ready = nullptr;
    *tail_ = &ready;
    tail_ = &ready.next_ready;
  }
  Ready* pop() noexcept {
    Ready* first = head_;
    if (first != nullptr) {
      head_ = first->next_ready;
      if (head_ == nullptr) tail_ = &head_;
    }
    return first;
  }
  [[nodiscard]] bool empty() const noexcept { return head_ == nullptr; }
  /// The first waiting element for which `wanted(ready)` is true; null: none.
  template <class Predicate>
  [[nodiscard]] Ready* find(Predicate&& wanted) const {
    Ready* ready = head_;
    while (ready != nullptr && !wanted(*ready)) ready = ready->next_ready;
    return ready;
  }

  ReadyList() = default;
  ReadyList(const ReadyList&) = delete;
  ReadyList& operator=(const ReadyList&) = delete;

 private:
  Ready* head_ = nullptr;
  Ready** tail_ = &head_;
};

namespace detail {

inline constexpr std::size_t kFrameGranularity = 128;  // bytes per size-class step
inline constexpr std::size_t kFrameClasses = 16;       // frames above 2 KiB come from malloc
inline constexpr std::int32_t kFramesKept = 512;       // recycled frames kept per class and thread

struct FrameClass {
  void* head = nullptr;
  std::atomic<std::int32_t> room{0};  // frames that may still be kept; 0 in a thread that is not registered
};

// tools/gdb/horus_gdb.py finds `ready` and `roots` by their places.
struct ThreadState {
  ReadyList* ready = nullptr;
  io::Reactor* reactor = nullptr;
  IntrusiveList<Chain, RootTag>* roots = nullptr;
  Chain* suspended = nullptr;         // the last chain with an account that was suspended in this stretch
  std::int64_t running_since_ns = 0;  // start of the resumption that is being charged to an account
  // Frames taken from operator new minus frames given back to it. Written by this thread alone, as `room` is; what is
  // alive is this balance minus what is kept, so that recycling a frame costs no count of its own.
  std::atomic<std::int64_t> frame_balance{0};
  std::uint64_t number =
      0;  // of the thread, given by its first reactor; 0: none yet, or the thread has forked
  bool registered = false;
  bool ended = false;  // its thread-local objects are going: nothing is kept any more
  FrameClass frames[kFrameClasses + 1];
};

// initial-exec: an access is one load, no call, also from another shared object.
extern HORUS_API constinit thread_local ThreadState thread_state __attribute__((tls_model("initial-exec")));

}  // namespace detail
}  // namespace horus::HORUS_ABI
