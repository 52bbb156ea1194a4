// SPDX-License-Identifier: Apache-2.0
// The file of an exact recording. It is memory that the kernel writes out, so neither a crash nor kill -9 loses an event.
// Internal; one thread
// appends.
#pragma once

#include <horus/base/compiler.hpp>

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>

#include <horus/base/clock.hpp>
#include <horus/base/result.hpp>
#include <horus/io/replay/format.hpp>

namespace horus::HORUS_ABI::io::replay {

class LogWriter {
 public:
  /// Makes the file. Errors: those of open(2); EEXIST says that a recording is never written over.
  static Result<std::unique_ptr<LogWriter>> create(const std::string& path, std::uint64_t most_bytes);
  LogWriter(const LogWriter&) = delete;
  LogWriter& operator=(const LogWriter&) = delete;
  /// Cuts the file behind its last event.
  ~LogWriter();
  /// Ends its helper. False: that is in a call of a disk that does not answer, and this must not be destroyed.
  [[nodiscard]] bool end_helper(Duration limit) noexcept;

  /// Appends one event. False: there is no room (any more), and nothing was written but a mark that says so.
  bool append(std::span<const std::byte> event) noexcept;
  [[nodiscard]] std::uint64_t bytes() const noexcept { return used_; }
  /// Why append() gave false; 0: its largest size.
  [[nodiscard]] int problem() const noexcept { return problem_.load(std::memory_order_relaxed); }

 private:
  LogWriter(int fd, std::byte* memory, std::uint64_t most_bytes) noexcept;
  void start_helper() noexcept;
  static void* help(void* self) noexcept;
  bool grow(std::uint64_t needed) noexcept;
  bool has_room(std::uint64_t needed) noexcept;
  void put(std::span<const std::byte> event) noexcept;

  int fd_;
  std::byte* memory_;  // most_bytes_ of address space
  const std::uint64_t most_bytes_;
  std::atomic<std::uint64_t> mapped_{0};  // bytes that the file has room for
  std::uint64_t used_ = 0;                // of events
  std::uint32_t sum_ = 0;
  std::uint32_t current_ = 0;  // the extent that counts
  std::uint64_t asked_ = 0;    // the helper, when so many bytes were mapped
  std::atomic<int> problem_{0};
  // Makes room ahead, so that whoever appends waits neither for the disk nor for empty pages. It holds no lock meanwhile.
  std::mutex mutex_;  // of what follows
  std::condition_variable changed_;
  std::uint64_t wanted_ = 0;  // bytes that are to be mapped
  bool refused_ = false;      // there is no more room
  bool ending_ = false;
  bool helped_ = false;
};

/// The events of a file, where they lie.
class LogFile {
 public:
  /// Errors: those of open(2); kBadInput when it is no recording, of another format, empty or damaged.
  static Result<LogFile> open(const std::string& path);
  LogFile(LogFile&& other) noexcept;
  LogFile& operator=(LogFile&& other) noexcept;
  ~LogFile();

  [[nodiscard]] std::span<const std::byte> events() const noexcept { return events_; }
  /// Of the last event.
  [[nodiscard]] Kind last() const noexcept { return last_; }

 private:
  explicit LogFile(std::span<const std::byte> whole) noexcept : whole_(whole) {}

  std::span<const std::byte> whole_;
  std::span<const std::byte> events_;
  Kind last_{};
};

}  // namespace horus::HORUS_ABI::io::replay
