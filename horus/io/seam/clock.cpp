// SPDX-License-Identifier: Apache-2.0
#include <horus/io/seam/clock.hpp>

#include <ctime>

#include <horus/base/clock.hpp>

namespace horus::HORUS_ABI::io {

// Never destroyed: threads that outlive main() may still ask it.
std::shared_ptr<Clock> Clock::kernel() noexcept {
  static const auto* const instance = new std::shared_ptr<Clock>(std::make_shared<Clock>(Nature()));
  return *instance;
}
Clock::~Clock() = default;

std::int64_t Clock::now_ns() noexcept { return monotonic_ns(); }
std::int64_t Clock::wall_clock_ns() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}
std::uint64_t Clock::choose(std::uint64_t) noexcept { return 0; }
void Clock::spend(std::string_view) noexcept {}

}  // namespace horus::HORUS_ABI::io
