// SPDX-License-Identifier: Apache-2.0
#include <horus/sched/run/memory_lock.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>

#include <linux/capability.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fmt/format.h>

#include <horus/base/error.hpp>
#include <horus/base/locked_ranges.hpp>
#include <horus/task/frame_pool.hpp>

namespace horus::HORUS_ABI::detail {
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

// Frames of the calling thread, which it keeps.
void touch_frames() noexcept {
  for (std::size_t index = 1; index <= kFrameClasses; ++index) {
    const std::size_t bytes = index * kFrameGranularity;
    std::array<void*, kFramesPerClass> frames{};
    for (void*& frame : frames) frame = allocate_frame(bytes);
    for (void* frame : frames) {
      *static_cast<volatile std::byte*>(frame) = std::byte{0};
      if (locks_ranges()) lock_range(frame, bytes);
      free_frame(frame, bytes);
    }
  }
}

// Whoever has a limit is not asked to lock what it has only mapped, nor what it maps later: that would fail then.
bool may_lock_everything() noexcept {
  rlimit limit{};
  if (::getrlimit(RLIMIT_MEMLOCK, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return true;
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, 2> data{};
  return ::syscall(SYS_capget, &header, data.data()) == 0 && (data[0].effective >> CAP_IPC_LOCK & 1) != 0;
}

// What was touched, and not what is below it: the kernel has not grown the main thread's stack that far.
std::size_t lock_stack() noexcept {
  const StackRange stack = stack_below();
  if (stack.size <= 2 * kAbove) return 0;
  return lock_range(stack.low + 2 * kAbove, stack.size - 2 * kAbove, true);
}

}  // namespace

void prefault() noexcept {
  const StackRange stack = stack_below();
  if (stack.size > 0) touch_stack(stack.size - std::min(stack.size, kAbove));
  touch_frames();
  if (locks_ranges()) lock_stack();
}

MemoryLock lock_memory() {
  MemoryLock result;
  prefault();  // a stack that has not grown yet cannot be locked
  if (may_lock_everything()) {
    if (::mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0) {
      result.whole = true;
      return result;
    }
    result.refused = "mlockall was refused: " + describe_code(errno);
  } else {
    rlimit limit{};
    ::getrlimit(RLIMIT_MEMLOCK, &limit);
    result.refused = fmt::format("RLIMIT_MEMLOCK is {} KiB", limit.rlim_cur / 1024);
  }
  if (const std::size_t locked = lock_stack(); locked > 0) {
    begin_to_lock_ranges();
    result.refused += fmt::format(
        "; {} KiB of the thread's stack are locked, its coroutine frames, and messages as they are used",
        locked / 1024);
    prefault();
  }
  return result;
}

}  // namespace horus::HORUS_ABI::detail
