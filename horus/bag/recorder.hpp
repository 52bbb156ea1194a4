// SPDX-License-Identifier: Apache-2.0
// Records messages into a file while a robot drives: `record` never waits, one coroutine writes. One reactor's thread;
// compression runs on the threads of `offload`.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <horus/bag/records.hpp>
#include <horus/bag/writer.hpp>
#include <horus/base/clock.hpp>
#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/io/file.hpp>
#include <horus/task/event.hpp>
#include <horus/task/scope.hpp>
#include <horus/task/task.hpp>

namespace horus::HORUS_ABI::bag {

inline constexpr std::size_t kQueueBytes = std::size_t{64}
                                           << 20;  ///< default of RecorderOptions::queue_bytes
inline constexpr std::size_t kSnapshotBytes = std::size_t{256}
                                              << 20;  ///< default of RecorderOptions::snapshot_bytes
inline constexpr std::size_t kChunksInFlight = 4;     ///< that are compressed at the same time

struct RecorderOptions {
  RecorderOptions() {}

  WriterOptions writer;
  /// Messages that were recorded and not written yet; further ones are lost, and counted.
  std::size_t queue_bytes = kQueueBytes;
  /// A further file begins (`run_1.mcap`) when one has so many bytes; 0: never.
  std::uint64_t most_bytes = 0;
  /// Or when its messages cover so long a time; 0: never.
  Duration longest{0};
  /// Keep the messages of so long a time in memory instead of writing them; `snapshot()` writes them. 0: write.
  Duration snapshot{0};
  /// At most so much memory for that: the oldest messages go first.
  std::size_t snapshot_bytes = kSnapshotBytes;
  bool overwrite = false;  ///< else EEXIST when the file exists
};

struct RecorderCounts {
  std::uint64_t recorded = 0;  ///< messages that were taken
  std::uint64_t written = 0;   ///< of these, in the file: a later kill -9 does not lose them
  std::uint64_t lost = 0;      ///< messages that were not taken, or could not be written
  std::uint64_t bytes = 0;     ///< of all files
  std::uint64_t files = 0;
};

/// run.mcap, run_1.mcap, run_2.mcap …
[[nodiscard]] HORUS_API std::string further_path(const std::string& path, std::uint64_t number);

/// Records messages into a file.
///
/// Semantics: `run()` is the coroutine that writes; it ends after `stop()`, when everything is written and the file has its
/// index. `record()` copies a message and returns at once. A message is written when its chunk is full, at the latest
/// `writer.chunk_ns` later. When the disk is too slow, the queue fills, and messages are lost: they are counted by topic, in
/// the metadata `horus.losses` of the file too. When the disk is full or fails, `run()` ends with that error; the file ends
/// with the last whole chunk, and with an index if there is room for one. A process that is killed leaves a file without an
/// index: `horus bag recover`. Cancelling `run()` leaves such a file too.
/// Thread safety: the thread of one reactor.
/// Example:
/// ```
/// horus::bag::Recorder recorder("run.mcap");
/// const auto channel = recorder.add_channel("/status", "json", 0).or_throw();
/// auto writing = scope.spawn(recorder.run());
/// recorder.record({.channel = channel, .log_ns = now, .publish_ns = now, .data = json});
/// recorder.stop();
/// (co_await writing).or_throw();
/// ```
class HORUS_API Recorder {
 public:
  explicit Recorder(std::string path, RecorderOptions options = {});
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;
  /// `run()` must have ended.
  ~Recorder();

  /// As those of Writer, and at any time.
  Result<std::uint16_t> add_schema(std::string_view name, std::string_view encoding, std::string_view data);
  Result<std::uint16_t> add_channel(std::string_view topic, std::string_view encoding, std::uint16_t schema,
                                    const Properties& metadata = {});
  /// False: the message is lost (a full queue, an ended recorder, an unknown channel, too large).
  bool record(const Message& message);
  /// So many messages of a channel were lost before they came here.
  void count_lost(std::uint16_t channel, std::uint64_t messages) noexcept { lose(channel, messages); }
  /// Written into the file soon; in snapshot mode into each snapshot. Errors: ENOBUFS (more than queue_bytes wait).
  Result<> add(Metadata metadata);
  Result<> add(Attachment attachment);

  /// Writes until `stop()`. Once. Errors: those of open(2) and write(2), with the path.
  [[nodiscard]] Task<Result<>> run();
  void stop() noexcept;
  /// Writes the messages of the last `options.snapshot` into a file of its own; recording goes on. It waits for `run()` to
  /// begin. Errors: EINVAL without snapshot mode; those of open(2) and write(2), and then there is no file.
  [[nodiscard]] Task<Result<>> snapshot(std::string path);

  [[nodiscard]] const RecorderCounts& counts() const noexcept { return counts_; }
  /// Lost messages by topic.
  [[nodiscard]] std::map<std::string, std::uint64_t> losses() const;
  /// The file that is written now.
  [[nodiscard]] const std::string& path() const noexcept { return current_path_; }

 private:
  struct Job {
    Chunk chunk;
    std::size_t size = 0;  // of its messages
    bool started = false;
    bool sealed = false;
  };

  void lose(std::uint16_t channel, std::uint64_t count = 1) noexcept;
  void close_chunk();
  void start_sealing();
  Task<> seal(Job* job);
  Task<Result<>> work();
  Task<> wait_for_work();
  Task<Result<>> put_front();
  Task<Result<>> put_notes();
  void keep_front();
  Task<Result<>> begin_file();
  Task<Result<>> end_file();
  Task<> give_up(Scope& scope);
  Task<Result<>> write(std::span<const std::byte> bytes, std::uint64_t offset);
  [[nodiscard]] bool wants_further_file() const noexcept;
  [[nodiscard]] Metadata losses_record() const;
  Chunk spare();

  std::string path_;
  std::string current_path_;
  RecorderOptions options_;
  Writer writer_;
  io::File file_;
  RecorderCounts counts_;
  std::deque<std::unique_ptr<Job>> jobs_;  // in the order of the file
  std::size_t sealing_ = 0;
  std::size_t queued_bytes_ = 0;  // of jobs_ and notes
  std::vector<Chunk> spares_;
  std::deque<std::shared_ptr<Chunk>> ring_;  // snapshot mode
  std::size_t ring_bytes_ = 0;
  std::deque<Metadata> metadata_;
  std::deque<Attachment> attachments_;
  std::vector<std::string> topics_;      // by channel, from 1
  std::vector<std::uint64_t> lost_;      // the same
  std::vector<std::uint64_t> reported_;  // losses in earlier files
  std::int64_t opened_ns_ = 0;           // when the open chunk got its first message, CLOCK_MONOTONIC
  Scope* scope_ = nullptr;               // while run() runs
  bool accepts_ = true;
  bool stopping_ = false;
  Event changed_;
  Event drained_;
};

}  // namespace horus::HORUS_ABI::bag
