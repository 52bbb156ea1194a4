// SPDX-License-Identifier: Apache-2.0
// What the kernel puts in order and ThreadSanitizer cannot see. Nothing in other builds.
#pragma once
#include <horus/base/compiler.hpp>

#if defined(__SANITIZE_THREAD__)
#define HORUS_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HORUS_TSAN 1
#endif
#endif

#ifdef HORUS_TSAN
extern "C" void __tsan_acquire(void* address);
extern "C" void __tsan_release(void* address);
#endif

namespace horus::HORUS_ABI {

// What any thread did before tsan_release(place) is seen behind tsan_acquire(place).
inline void tsan_release([[maybe_unused]] void* place) noexcept {
#ifdef HORUS_TSAN
  __tsan_release(place);
#endif
}
inline void tsan_acquire([[maybe_unused]] void* place) noexcept {
#ifdef HORUS_TSAN
  __tsan_acquire(place);
#endif
}

}  // namespace horus::HORUS_ABI
