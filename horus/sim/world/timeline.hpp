// SPDX-License-Identifier: Apache-2.0
// A picture of a simulated run: one lane per process, faults above, the failure marked. One thread; bounded memory.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <horus/base/clock.hpp>

namespace horus::HORUS_ABI::sim {

/// Remembers when processes were active, in steps of a hundredth of a second that grow with the run, and what happened.
/// Times are nanoseconds since the beginning.
class Timeline {
 public:
  void active(const std::string& lane, std::int64_t time_ns);
  void fault(std::string what, std::int64_t from_ns, std::int64_t to_ns);
  void failed(std::int64_t time_ns) noexcept { failed_ = time_ns; }
  /// Writes an SVG file; false when that failed.
  [[nodiscard]] bool write(const std::string& path, Duration length, const std::string& caption) const;

 private:
  static constexpr std::size_t kSteps = 1200;  // of one lane
  static constexpr std::size_t kFaultsKept = 200;
  struct Fault {
    std::string what;
    std::int64_t from;
    std::int64_t to;
  };
  void grow();

  std::int64_t step_ns_ = 10'000'000;
  std::map<std::string, std::vector<std::uint32_t>> lanes_;  // turns per step
  std::vector<Fault> faults_;
  std::int64_t failed_ = -1;
};

}  // namespace horus::HORUS_ABI::sim
