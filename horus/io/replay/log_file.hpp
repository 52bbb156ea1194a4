// SPDX-License-Identifier: Apache-2.0
// The file of an exact recording. It is memory that the kernel writes out, so neither a crash nor kill -9 loses an event.
// Internal; one thread.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <horus/base/result.hpp>
#include <horus/io/replay/format.hpp>

namespace horus::io::replay {

class LogWriter {
 public:
  /// Makes the file. Errors: those of open(2); EEXIST says that a recording is never written over.
  static Result<std::unique_ptr<LogWriter>> create(const std::string& path, std::uint64_t most_bytes);
  LogWriter(const LogWriter&) = delete;
  LogWriter& operator=(const LogWriter&) = delete;
  /// Cuts the file behind its last event.
  ~LogWriter();

  /// Appends one event. False: there is no room (any more), and nothing was written but a mark that says so.
  bool append(std::span<const std::byte> event) noexcept;
  [[nodiscard]] std::uint64_t bytes() const noexcept { return used_; }
  /// Why append() gave false; 0: its largest size.
  [[nodiscard]] int problem() const noexcept { return problem_; }

 private:
  LogWriter(int fd, std::byte* memory, std::uint64_t most_bytes) noexcept;
  bool grow(std::uint64_t needed) noexcept;
  void put(std::span<const std::byte> event) noexcept;

  int fd_;
  std::byte* memory_;  // most_bytes_ of address space
  const std::uint64_t most_bytes_;
  std::uint64_t mapped_ = 0;  // bytes that the file has room for
  std::uint64_t used_ = 0;    // of events
  int problem_ = 0;
};

/// The events of a file. Errors: those of open(2); kBadInput when it is no recording, of another format, or empty.
Result<std::vector<std::byte>> read_log(const std::string& path);

}  // namespace horus::io::replay
