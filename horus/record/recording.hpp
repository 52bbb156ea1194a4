// SPDX-License-Identifier: Apache-2.0
// Records what the publishers of this process send into a file that Foxglove, PlotJuggler, Rerun and `ros2 bag` open.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <horus/base/clock.hpp>
#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/task/task.hpp>

namespace horus::HORUS_ABI {

/// How one part of the robot is: an element of ROS' diagnostics.
struct Diagnostic {
  enum class Level : std::uint8_t { ok, warn, error, stale };

  std::string name;
  Level level = Level::ok;
  std::string message;
  std::vector<std::pair<std::string, std::string>> values;  ///< at most 16
};

/// What is recorded, and how. `RecordOptions().with_topics({"imu", "camera/*"})`
struct RecordOptions {
  RecordOptions() {}

  std::vector<std::string> topics;    ///< `*` stands for any characters; empty: all
  std::vector<std::string> left_out;  ///< of these, topics that are not recorded; `*` as above
  bool compressed = true;             ///< with zstd; chunks that it hardly makes smaller are stored plain
  /// How many bytes may wait for the disk. Beyond that messages are lost, and counted.
  std::size_t max_waiting_bytes = std::size_t{64} << 20;
  /// A further file begins (`run_1.mcap`) when one has so many bytes, or covers so long a time; 0: never.
  std::uint64_t max_file_bytes = 0;
  Duration max_file_time{0};
  /// Keep the messages of so long a time in memory instead of writing them: Recording::snapshot() writes them, and trouble
  /// does. 0: write.
  Duration snapshot{0};
  /// For snapshots: asked every few milliseconds on the recording's thread. When what it gives grows, a snapshot is written a
  /// second later, into `run_1.mcap`, `run_2.mcap` …, at most 100. A scheduler sets it (Scheduler::record).
  std::function<std::uint64_t()> trouble;
  /// Files that become attachments of the recording, as they are at its beginning; at most 1 MiB each. A scheduler adds the
  /// configuration file that it was made from.
  std::vector<std::string> attachments;
  /// Asked once a second on the recording's thread; what it gives becomes a message of topic `diagnostics`, as ROS has it. A
  /// scheduler sets it: its nodes.
  std::function<std::vector<Diagnostic>()> diagnostics;

  RecordOptions& with_topics(std::vector<std::string> patterns) & {
    return topics = std::move(patterns), *this;
  }
  RecordOptions& without_topics(std::vector<std::string> patterns) & {
    return left_out = std::move(patterns), *this;
  }
  RecordOptions& with_attachment(std::string file) & { return attachments.push_back(std::move(file)), *this; }
  RecordOptions& with_compression(bool on) & { return compressed = on, *this; }
  RecordOptions& with_max_waiting_bytes(std::size_t bytes) & { return max_waiting_bytes = bytes, *this; }
  RecordOptions& with_max_file(std::uint64_t bytes, Duration time = Duration(0)) & {
    return max_file_bytes = bytes, max_file_time = time, *this;
  }
  RecordOptions& with_snapshot(Duration last) & { return snapshot = last, *this; }
  [[nodiscard]] RecordOptions with_topics(std::vector<std::string> patterns) && {
    return std::move(with_topics(std::move(patterns)));
  }
  [[nodiscard]] RecordOptions without_topics(std::vector<std::string> patterns) && {
    return std::move(without_topics(std::move(patterns)));
  }
  [[nodiscard]] RecordOptions with_attachment(std::string file) && {
    return std::move(with_attachment(std::move(file)));
  }
  [[nodiscard]] RecordOptions with_compression(bool on) && { return std::move(with_compression(on)); }
  [[nodiscard]] RecordOptions with_max_waiting_bytes(std::size_t bytes) && {
    return std::move(with_max_waiting_bytes(bytes));
  }
  [[nodiscard]] RecordOptions with_max_file(std::uint64_t bytes, Duration time = Duration(0)) && {
    return std::move(with_max_file(bytes, time));
  }
  [[nodiscard]] RecordOptions with_snapshot(Duration last) && { return std::move(with_snapshot(last)); }
};

/// How a recording is doing.
struct RecordingStatus {
  std::string path;
  std::uint64_t messages = 0;  ///< taken, and not lost
  std::uint64_t lost = 0;      ///< of all that were sent, those that are not in the file
  std::uint64_t bytes = 0;     ///< of all files so far
  std::uint64_t files = 0;
  bool ended = false;
  std::string problem;  ///< what ended it too early; empty: nothing
};

/// A recording of the topics of this process, on a thread of its own.
///
/// Semantics: every publisher is recorded from its first message after start() on, also publishers that are opened later; a
/// publisher never waits for it. The file has one chunk a second or 768 KiB: what was complete is readable, whatever
/// happens to the process. Messages of described types are CDR with their ROS definition, data of Python is JSON, and others are
/// bytes. While the disk is slow, messages wait, up to RecordOptions::max_waiting_bytes. What is lost is counted by topic, in
/// the file (metadata `horus.losses`) and in status(). A disk that is full or fails ends the recording: a line in the log.
/// Errors: start(): those of open(2), with the path; EEXIST when the file exists, EINVAL for a time below 0, and ENOTSUP in a
/// simulated world, where there are no threads: use record_topics().
/// Thread safety: any thread, at any time; moving and destroying it excludes all other calls.
/// Example:
/// ```
/// auto recording = horus::Recording::start("run.mcap").or_throw();
/// scheduler.run();
/// recording.stop().or_throw();
/// ```
class HORUS_API Recording {
 public:
  [[nodiscard]] static Result<Recording> start(std::string path,
                                               const RecordOptions& options = RecordOptions());
  Recording(Recording&& other) noexcept;
  Recording& operator=(Recording&& other) noexcept;
  /// Stops it; errors are lines in the log.
  ~Recording();

  /// Writes what was sent until now, and the index. Errors: those of the disk; ETIMEDOUT when the disk does not answer for 5 s:
  /// then the file ends with its last complete chunk. Later calls give the same.
  Result<> stop();
  /// Writes what was sent in the last RecordOptions::snapshot into a file of its own; the recording goes on. Errors: EINVAL
  /// without that option; those of open(2) and write(2); ECANCELED when the recording has ended; ETIMEDOUT as stop().
  Result<> snapshot(std::string path);
  [[nodiscard]] RecordingStatus status() const;

 private:
  struct Shared;
  explicit Recording(std::shared_ptr<Shared> shared) noexcept;
  std::shared_ptr<Shared> shared_;
};

/// The same as a task on this thread's reactor, for simulated worlds and programs without threads. It records until it is
/// asked to stop (a Scope's cancel(), with_timeout), writes what was sent until then, and gives how that went.
[[nodiscard]] HORUS_API Task<Result<RecordingStatus>> record_topics(std::string path, RecordOptions options);

}  // namespace horus::HORUS_ABI
