// SPDX-License-Identifier: Apache-2.0
#include <horus/sched/memory_lock.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <fmt/format.h>

#include <horus/base/error.hpp>
#include <horus/task/frame_pool.hpp>

namespace horus::detail {
namespace {

constexpr std::size_t kStack =
    std::size_t{512} * 1024;  // bytes below the caller, as far as the thread has as much
constexpr std::size_t kAbove = std::size_t{16} * 1024;  // what this call itself uses
constexpr std::size_t kFramesPerClass = 32;

struct StackRange {
  std::byte* low = nullptr;
  std::size_t size = 0;
};

// What lies below this call, at most kStack and never the last page above the guard.
StackRange stack_below() noexcept {
  pthread_attr_t attributes;
  if (::pthread_getattr_np(::pthread_self(), &attributes) != 0) return {};
  void* base = nullptr;
  std::size_t size = 0;
  ::pthread_attr_getstack(&attributes, &base, &size);
  ::pthread_attr_destroy(&attributes);
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  auto* const here = static_cast<std::byte*>(__builtin_frame_address(0));
  auto* const floor = static_cast<std::byte*>(base) + 4 * page;
  if (base == nullptr || here <= floor) return {};
  const std::size_t room = std::min<std::size_t>(kStack, static_cast<std::size_t>(here - floor));
  return {here - room, room};
}

// In a frame of that size, since the kernel grows the main thread's stack only below the stack pointer; page by page from
// above. (A recursion with a page in each frame is made a loop over one page by clang, whatever is volatile.)
[[gnu::noinline]] void touch_stack(std::size_t size) noexcept {
  constexpr std::size_t kPage = 4096;
  auto* const bytes = static_cast<volatile unsigned char*>(__builtin_alloca(size + 1));
  for (std::size_t left = size; left > 0; left -= std::min(left, kPage)) bytes[left] = 1;
  bytes[0] = 1;
}

void touch_frames() noexcept {
  for (std::size_t index = 1; index <= kFrameClasses; ++index) {
    const std::size_t bytes = index * kFrameGranularity;
    std::array<void*, kFramesPerClass> frames{};
    for (void*& frame : frames) frame = allocate_frame(bytes);
    for (void* frame : frames) {
      *static_cast<volatile std::byte*>(frame) = std::byte{0};
      free_frame(frame, bytes);
    }
  }
}

}  // namespace

void prefault() noexcept {
  const StackRange stack = stack_below();
  if (stack.size > 0) touch_stack(stack.size - std::min(stack.size, kAbove));
  touch_frames();
}

MemoryLock lock_memory() {
  MemoryLock result;
  prefault();
  if (::mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0) {
    result.whole = true;
    return result;
  }
  result.refused = describe_code(errno);
  const StackRange stack = stack_below();
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  auto* const low = reinterpret_cast<std::byte*>(reinterpret_cast<std::uintptr_t>(stack.low) / page * page);
  const std::size_t size = stack.size + static_cast<std::size_t>(stack.low - low);
  if (stack.size > 0 && ::mlock2(low, size, MLOCK_ONFAULT) == 0)
    result.refused += fmt::format("; {} KiB of the thread's stack are locked", size / 1024);
  return result;
}

}  // namespace horus::detail
