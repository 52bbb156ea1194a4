// SPDX-License-Identifier: Apache-2.0
// Hands what Topics give to a bag::Recorder, until it is told to stop. Internal. One reactor's thread, but for the
// constructor, stop(), snapshot() and status().
#pragma once

#include <horus/base/compiler.hpp>

#include <atomic>
#include <cstdint>
#include <functional>
#include <future>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <horus/bag/recorder.hpp>
#include <horus/base/result.hpp>
#include <horus/record/recording.hpp>
#include <horus/record/topics.hpp>
#include <horus/task/scope.hpp>
#include <horus/task/task.hpp>

namespace horus::HORUS_ABI::record {

class Engine final : private Sink {
 public:
  /// From here on messages are kept for the file. Any thread.
  Engine(std::string path, const RecordOptions& options);

  /// Makes the file, and records until stop() or until this task is asked to stop. `opened` is called once, with what became
  /// of the file's opening. Errors: those of the disk.
  Task<Result<>> run(std::function<void(const Result<>&)> opened);
  /// Any thread. RecordOptions::trouble and diagnostics are asked no more when this returns: whom they ask may go.
  void stop() noexcept;
  /// Any thread: what becomes of a snapshot. ECANCELED once run() has ended.
  std::future<Result<>> snapshot(std::string path);
  /// Any thread.
  [[nodiscard]] RecordingStatus status() const;

 private:
  using Wish = std::pair<std::string, std::promise<Result<>>>;  // a snapshot

  Result<std::uint16_t> channel(const ChannelText& text) override;
  void message(const bag::Message& message) override { recorder_.record(message); }
  void lost(std::uint16_t channel, std::uint64_t messages) override {
    recorder_.count_lost(channel, messages);
  }

  Task<> pump_until_stopped(const Spawned<Result<>>& writing);
  Task<> attach_files();
  Task<> write_snapshots();
  void look_for_trouble();
  void look_at_parts();
  void write_incident();
  void pump_rest();
  Task<Result<>> finish(Scope& scope, Spawned<Result<>>& writing);
  void tell(const Result<>& outcome);
  void note();
  [[nodiscard]] bag::Metadata clock() const;

  const std::string path_;
  const std::int64_t clock_offset_ns_;  // from the monotonic clock to UTC
  const bool snapshots_;
  const std::vector<std::string> attachments_;
  Topics topics_;
  bag::Recorder recorder_;
  std::function<void(const Result<>&)> opened_;  // empty once it was called
  std::uint64_t trouble_seen_ = 0;
  std::int64_t parts_due_ns_ = 0;  // when diagnostics are
  std::int64_t incident_ns_ = 0;   // when its snapshot is due; 0: there is none
  unsigned incidents_ = 0;
  std::atomic<bool> stopping_{false};
  mutable std::mutex mutex_;  // of what follows
  std::function<std::uint64_t()> trouble_;
  std::function<std::vector<Diagnostic>()> diagnostics_;
  RecordingStatus status_;
  std::vector<Wish> wishes_;
};

}  // namespace horus::HORUS_ABI::record
