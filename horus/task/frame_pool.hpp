// SPDX-License-Identifier: Apache-2.0
// Memory for coroutine frames: recycled per thread in size classes, so that awaiting a child allocates nothing.
// Sanitizer builds take every frame from malloc, or use after free would stay hidden.
#pragma once

#include <horus/base/compiler.hpp>

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

namespace horus::HORUS_ABI {

/// Coroutine frames alive in all threads. Zero at the end of a program that leaked none. Any thread.
HORUS_API std::int64_t live_frames() noexcept;

namespace detail {

// The slow paths: operator new and delete, with the thread's counts.
[[gnu::returns_nonnull]] HORUS_API void* allocate_new_frame(std::size_t size);
HORUS_API void free_old_frame(void* frame) noexcept;

// A plain add: only the owning thread writes.
inline void add_relaxed(std::atomic<std::int32_t>& counter, std::int32_t change) noexcept {
  counter.store(counter.load(std::memory_order_relaxed) + change, std::memory_order_relaxed);
}

inline void* allocate_frame(std::size_t size) {
#if HORUS_FRAME_POOL
  const std::size_t index = (size + kFrameGranularity - 1) / kFrameGranularity;
  if (index <= kFrameClasses) {
    FrameClass& list = thread_state.frames[index];
    if (void* frame = list.head; frame != nullptr) [[likely]] {
      list.head = *static_cast<void**>(frame);
      add_relaxed(list.room, 1);
      return frame;
    }
    size = index * kFrameGranularity;
  }
#endif
  return allocate_new_frame(size);
}

inline void free_frame(void* frame, [[maybe_unused]] std::size_t size) noexcept {
#if HORUS_FRAME_POOL
  const std::size_t index = (size + kFrameGranularity - 1) / kFrameGranularity;
  if (index <= kFrameClasses) {
    FrameClass& list = thread_state.frames[index];
    if (list.room.load(std::memory_order_relaxed) > 0) [[likely]] {
      *static_cast<void**>(frame) = list.head;
      list.head = frame;
      add_relaxed(list.room, -1);
      return;
    }
  }
#endif
  free_old_frame(frame);
}

}  // namespace detail
}  // namespace horus::HORUS_ABI
