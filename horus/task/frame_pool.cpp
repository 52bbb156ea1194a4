// SPDX-License-Identifier: Apache-2.0
#include <horus/task/frame_pool.hpp>

#include <algorithm>
#include <mutex>
#include <vector>

namespace horus::HORUS_ABI {
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

// Alive in one thread: what it took from operator new and neither gave back nor keeps.
std::int64_t live_frames_of(const ThreadState& state) noexcept {
  std::int64_t alive = state.frame_balance.load(std::memory_order_relaxed);
  if (!state.registered) return alive;
  for (const FrameClass& list : state.frames)
    alive -= kFramesKept - list.room.load(std::memory_order_relaxed);
  return alive;
}

void add_to_balance(ThreadState& state, std::int64_t change) noexcept {
  state.frame_balance.store(state.frame_balance.load(std::memory_order_relaxed) + change,
                            std::memory_order_relaxed);
}

// Its destructor runs when the thread ends: returns the recycled frames and leaves the thread's balance behind.
struct ThreadEnd {
  ~ThreadEnd() {
    ThreadState& state = thread_state;
    const std::lock_guard lock(registry().mutex);
    state.registered = false;
    state.ended = true;
    for (FrameClass& list : state.frames) {
      list.room.store(0, std::memory_order_relaxed);
      while (list.head != nullptr) {
        void* frame = list.head;
        list.head = *static_cast<void**>(frame);
        ::operator delete(frame);
        add_to_balance(state, -1);
      }
    }
    registry().of_ended_threads += state.frame_balance.load(std::memory_order_relaxed);
    state.frame_balance.store(0, std::memory_order_relaxed);
    std::erase(registry().threads, &state);
  }
};

void register_thread() {
  thread_local ThreadEnd end;
  static_cast<void>(end);
  ThreadState& state = thread_state;
  const std::lock_guard lock(registry().mutex);
  registry().threads.push_back(&state);
  for (FrameClass& list : state.frames) list.room.store(kFramesKept, std::memory_order_relaxed);
  state.registered = true;
}

// Frames of a thread that is not registered (yet, or any more) count for the ended ones.
void count_slow(ThreadState& state, std::int64_t change) noexcept {
  if (state.registered) return add_to_balance(state, change);
  const std::lock_guard lock(registry().mutex);
  registry().of_ended_threads += change;
}

}  // namespace

void* allocate_new_frame(std::size_t size) {
  ThreadState& state = thread_state;
  if (!state.registered && !state.ended) [[unlikely]]
    register_thread();
  void* frame = ::operator new(size);
  count_slow(state, 1);
  return frame;
}

void free_old_frame(void* frame) noexcept {
  ::operator delete(frame);
  count_slow(thread_state, -1);
}

}  // namespace detail

std::int64_t live_frames() noexcept {
  detail::ThreadRegistry& registry = detail::registry();
  const std::lock_guard lock(registry.mutex);
  std::int64_t sum = registry.of_ended_threads;
  for (const detail::ThreadState* thread : registry.threads) sum += detail::live_frames_of(*thread);
  return sum;
}

}  // namespace horus::HORUS_ABI
