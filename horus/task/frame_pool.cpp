// SPDX-License-Identifier: Apache-2.0
#include <horus/task/frame_pool.hpp>

#include <algorithm>
#include <mutex>
#include <vector>

namespace horus {
namespace detail {

constinit thread_local ThreadState thread_state;

namespace {

struct ThreadRegistry {
  std::mutex mutex;
  std::vector<ThreadState*> threads;
  std::int64_t of_ended_threads = 0;
};

// Never destroyed: threads may end after the statics of this library are gone.
ThreadRegistry& registry() {
  static auto* const instance = new ThreadRegistry;
  return *instance;
}

// Its destructor runs when the thread ends: returns the recycled frames and leaves the thread's balance behind.
struct ThreadEnd {
  ~ThreadEnd() {
    ThreadState& state = thread_state;
    state.registered = false;
    for (FrameClass& list : state.frames) {
      while (list.head != nullptr) {
        void* frame = list.head;
        list.head = *static_cast<void**>(frame);
        ::operator delete(frame);
      }
      list.kept = 0;
    }
    const std::lock_guard lock(registry().mutex);
    registry().of_ended_threads += state.live_frames.load(std::memory_order_relaxed);
    std::erase(registry().threads, &state);
  }
};

}  // namespace

void register_thread() {
  thread_local ThreadEnd end;
  static_cast<void>(end);
  const std::lock_guard lock(registry().mutex);
  if (thread_state.registered) return;
  registry().threads.push_back(&thread_state);
  thread_state.registered = true;
}

}  // namespace detail

std::int64_t live_frames() noexcept {
  detail::ThreadRegistry& registry = detail::registry();
  const std::lock_guard lock(registry.mutex);
  std::int64_t sum = registry.of_ended_threads;
  for (const detail::ThreadState* thread : registry.threads) {
    sum += thread->live_frames.load(std::memory_order_relaxed);
  }
  return sum;
}

}  // namespace horus
