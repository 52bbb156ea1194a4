// SPDX-License-Identifier: Apache-2.0
// Memory for coroutine frames: recycled per thread in size classes, so that awaiting a child allocates nothing.
// Sanitizer builds take every frame from malloc, or use after free would stay hidden.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>

#include <horus/task/thread_state.hpp>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HORUS_FRAME_POOL 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define HORUS_FRAME_POOL 0
#endif
#endif
#ifndef HORUS_FRAME_POOL
#define HORUS_FRAME_POOL 1
#endif

namespace horus {

/// Coroutine frames alive in all threads. Zero at the end of a program that leaked none. Any thread.
HORUS_API std::int64_t live_frames() noexcept;

namespace detail {

HORUS_API void register_thread();

inline void count_frame(ThreadState& state, std::int64_t change) noexcept {
  state.live_frames.store(state.live_frames.load(std::memory_order_relaxed) + change, std::memory_order_relaxed);
}

inline void* allocate_frame(std::size_t size) {
  ThreadState& state = thread_state;
  if (!state.registered) [[unlikely]] register_thread();
  count_frame(state, 1);
#if HORUS_FRAME_POOL
  const std::size_t index = (size + kFrameGranularity - 1) / kFrameGranularity;
  if (index <= kFrameClasses) {
    FrameClass& list = state.frames[index];
    if (void* frame = list.head; frame != nullptr) [[likely]] {
      list.head = *static_cast<void**>(frame);
      --list.kept;
      return frame;
    }
    size = index * kFrameGranularity;
  }
#endif
  return ::operator new(size);
}

inline void free_frame(void* frame, [[maybe_unused]] std::size_t size) noexcept {
  ThreadState& state = thread_state;
  count_frame(state, -1);
#if HORUS_FRAME_POOL
  const std::size_t index = (size + kFrameGranularity - 1) / kFrameGranularity;
  if (index <= kFrameClasses) {
    FrameClass& list = state.frames[index];
    if (list.kept < kFramesKept && state.registered) [[likely]] {
      *static_cast<void**>(frame) = list.head;
      list.head = frame;
      ++list.kept;
      return;
    }
  }
#endif
  ::operator delete(frame);
}

}  // namespace detail
}  // namespace horus
