// SPDX-License-Identifier: Apache-2.0
// Makes a file of what Topics give: fills chunks, has them packed on another thread, and writes them one behind the other.
// Internal. One reactor's thread, but for the constructor, stop() and status().
#pragma once

#include <horus/base/compiler.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <span>
#include <string>

#include <horus/bag/writer.hpp>
#include <horus/base/clock.hpp>
#include <horus/base/counter.hpp>
#include <horus/base/quiet_log.hpp>
#include <horus/base/result.hpp>
#include <horus/io/file.hpp>
#include <horus/record/recording.hpp>
#include <horus/record/topics.hpp>
#include <horus/task/event.hpp>
#include <horus/task/scope.hpp>
#include <horus/task/task.hpp>

namespace horus::record {

class Engine final : private Sink {
 public:
  /// From here on messages are kept for the file. Any thread.
  Engine(std::string path, const RecordOptions& options);

  /// Makes the file, and records until stop() or until this task is asked to stop. `opened` is called once, with what became
  /// of the file's opening. Errors: those of the disk.
  Task<Result<>> run(std::function<void(const Result<>&)> opened);
  /// Any thread.
  void stop() noexcept { stopping_.store(true, std::memory_order_relaxed); }
  /// Any thread.
  [[nodiscard]] RecordingStatus status() const;

 private:
  struct Waiting {
    bag::Chunk chunk;
    std::size_t bytes = 0;
  };

  Result<std::uint16_t> channel(const ChannelText& text) override;
  void message(const bag::Message& message) override;

  void close_chunk();
  void lose(std::uint16_t channel, std::uint64_t messages);
  void give_up();
  void tell(const Error& problem);
  Task<> pump_until_stopped();
  Task<> write_chunks();
  Task<Result<>> write(std::span<const std::byte> bytes, std::uint64_t place);
  Task<Result<>> write_for_sure(std::span<const std::byte> bytes, std::uint64_t place);
  Task<> seal(bag::Chunk& chunk);
  Task<Result<>> write_end();
  Task<Result<>> finish(Scope& chunks);
  void note_missed();
  [[nodiscard]] bag::Metadata losses() const;
  [[nodiscard]] bag::Metadata clock() const;

  const std::string path_;
  const RecordOptions options_;
  const std::int64_t clock_offset_ns_;  // from the monotonic clock to UTC
  Topics topics_;
  bag::Writer writer_;
  io::File file_;
  std::map<std::uint16_t, std::string> names_;    // of channels
  std::map<std::string, std::uint64_t> lost_of_;  // by topic, for want of room
  std::deque<Waiting> waiting_;
  std::size_t waiting_bytes_ = 0;
  bag::Chunk spare_;
  Event work_;
  bool finishing_ = false;
  bool gave_up_ = false;
  int last_tries_ = 5;
  std::uint64_t whole_bytes_ = 0;  // of the file, up to the last complete chunk
  Result<> outcome_;
  horus::detail::QuietLog quiet_;

  std::atomic<bool> stopping_{false};
  std::atomic<bool> ended_{false};
  std::atomic<std::uint64_t> messages_{0};
  std::atomic<std::uint64_t> lost_{0};    // here
  std::atomic<std::uint64_t> missed_{0};  // at the taps
  std::atomic<std::uint64_t> bytes_{0};
  mutable std::mutex mutex_;  // of what follows
  std::string problem_;
};

}  // namespace horus::record
