// SPDX-License-Identifier: Apache-2.0
#include <horus/sched/run/recordings.hpp>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include <horus/base/log.hpp>
#include <horus/io/offload.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/replay/environment.hpp>
#include <horus/io/replay/journal.hpp>

namespace horus::HORUS_ABI::detail {
namespace {

// The first run of a process that asks.
std::string from_environment() {
  static std::atomic<bool> taken{false};
  const char* path = std::getenv("HORUS_RECORD");
  if (path == nullptr || *path == '\0' || taken.exchange(true)) return {};
  return path;
}

// The recorded run has written the file itself: drive.mcap becomes drive.replay.mcap, or drive.replay_1.mcap.
std::string path_at_replay(const std::string& path) {
  const std::filesystem::path from(path);
  for (int i = 0;; ++i) {
    const std::string number = i == 0 ? std::string() : fmt::format("_{}", i);
    std::filesystem::path to = from;
    to.replace_filename(from.stem().string() + ".replay" + number + from.extension().string());
    std::error_code ignored;
    if (!std::filesystem::exists(to, ignored)) return to.string();
  }
}

Task<> record_in_task(RecordSettings wanted) {
  auto recording = record_topics(wanted.path, wanted.options);
  const auto done = co_await recording;
  if (!done) log_error(done.error().message());
}

void tell(const RecordingStatus& status) {
  const std::string lost =
      status.lost == 0 ? "" : fmt::format(", {} lost (horus bag info tells of which topics)", status.lost);
  std::string place = fmt::format("{} files, of which {} is the first", status.files, status.path);
  if (status.files == 0) place = "no file: nothing has asked for a snapshot";
  if (status.files == 1) place = status.path;
  log_info(fmt::format("recorded {} messages in {}{}", status.messages, place, lost));
}

}  // namespace

Result<> Recordings::begin(const std::vector<RecordSettings>& wanted, const Questions& questions) {
  for (const RecordSettings& settings : wanted) {
    if (auto begun = begin_one(settings, questions); !begun) return begun;
  }
  if (!io::System::here().has_threads()) return {};  // a simulated process has no environment
  if (std::string path = from_environment(); !path.empty())
    return begin_one({std::move(path), {}}, questions);
  return {};
}

Result<> Recordings::begin_one(RecordSettings wanted, const Questions& questions) {
  if (io::is_replay()) wanted.path = path_at_replay(wanted.path);
  if (!wanted.options.trouble) wanted.options.trouble = questions.trouble;
  if (!questions.configuration.empty()) wanted.options.attachments.push_back(questions.configuration);
  // They are as old as the clock on the wall says, which a replay has nothing to do with.
  if (!wanted.options.diagnostics && !io::is_replay()) wanted.options.diagnostics = questions.diagnostics;
  if (!io::System::here().has_threads()) {
    static_cast<void>(tasks_.spawn(record_in_task(std::move(wanted))));
    return {};
  }
  auto recording = io::Journal::aside([&] { return Recording::start(wanted.path, wanted.options); });
  if (!recording && io::is_replay()) {  // else the run would end where the recorded one went on
    log_error(recording.error().message());
    return {};
  }
  if (!recording) return recording.error();
  threads_.push_back(std::move(*recording));
  return {};
}

void Recordings::end_one(Recording& recording, const Result<>& stopped) {
  if (!stopped) log_error(stopped.error().message());
  tell(recording.status());
}

Task<> Recordings::end() {
  tasks_.cancel();
  co_await tasks_.join();
  for (Recording& recording : threads_) {
    if (io::is_exact()) {
      end_one(recording, io::Journal::aside([&] { return recording.stop(); }));
      continue;
    }
    auto stopping = io::offload([](Recording* what) { return what->stop(); }, &recording);
    const Result<> stopped = co_await stopping;
    end_one(recording, stopped);
  }
  threads_.clear();
}

}  // namespace horus::HORUS_ABI::detail
