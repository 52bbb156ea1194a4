// SPDX-License-Identifier: Apache-2.0
#include <horus/base/locked_ranges.hpp>

#include <cerrno>
#include <cstdint>

#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fmt/format.h>

#include <horus/base/error.hpp>
#include <horus/base/log.hpp>

namespace horus::HORUS_ABI::detail {

std::atomic<bool> ranges_are_locked{false};

std::size_t lock_range(const void* begin, std::size_t bytes, bool later) noexcept {
  if (bytes == 0) return 0;
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto first = reinterpret_cast<std::uintptr_t>(begin) / page * page;
  const std::size_t size = reinterpret_cast<std::uintptr_t>(begin) + bytes - first;
  if (::mlock2(reinterpret_cast<const void*>(first), size, later ? MLOCK_ONFAULT : 0) == 0)
    return (size + page - 1) / page * page;
  static std::atomic<bool> told{false};
  if (told.exchange(true)) return 0;
  const int error = errno;
  rlimit limit{};
  ::getrlimit(RLIMIT_MEMLOCK, &limit);
  log_warning(
      fmt::format("mlock of {} KiB: {}: RLIMIT_MEMLOCK is {} KiB, and what is used beyond it is not locked; "
                  "raise it with "
                  "ulimit -l",
                  size / 1024, describe_code(error), limit.rlim_cur / 1024));
  return 0;
}

}  // namespace horus::HORUS_ABI::detail
