// SPDX-License-Identifier: Apache-2.0
#include <horus/record/engine.hpp>

#include <cerrno>
#include <exception>
#include <iterator>

#include <fmt/format.h>

#include <horus/base/log.hpp>
#include <horus/io/file_contents.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/time.hpp>
#include <horus/task/cancellation.hpp>
#include <horus/task/shield.hpp>

namespace horus::HORUS_ABI::record {
namespace {

constexpr Duration kLook = std::chrono::milliseconds(5);  // between two looks at the taps
constexpr Duration kQuickLook = std::chrono::milliseconds(1);
constexpr std::size_t kMany = 256;                         // messages in one look: the next one comes soon
constexpr std::size_t kAtOnce = 4096;                      // messages in one turn of the loop
constexpr Duration kAfterwards = std::chrono::seconds(1);  // from a trouble to its snapshot
constexpr unsigned kMostIncidents = 100;
constexpr Duration kAttachLimit = std::chrono::seconds(1);   // to read a file
constexpr std::size_t kMostAttached = std::size_t{1} << 20;  // bytes of a file
constexpr Duration kBetweenDiagnostics = std::chrono::seconds(1);
constexpr std::size_t kMostAtEnd = std::size_t{1} << 20;  // messages that are taken after stop()

bag::RecorderOptions options_for(const RecordOptions& options) {
  bag::RecorderOptions recorder;
  if (!options.compressed) recorder.writer.compression = bag::Compression::none;
  recorder.queue_bytes = options.max_waiting_bytes;
  recorder.most_bytes = options.max_file_bytes;
  recorder.longest = options.max_file_time;
  recorder.snapshot = options.snapshot;
  return recorder;
}

}  // namespace

Engine::Engine(std::string path, const RecordOptions& options)
    : path_(std::move(path)),
      clock_offset_ns_(wall_clock_ns() - now_ns()),
      snapshots_(options.snapshot > Duration::zero()),
      attachments_(options.attachments),
      topics_(options.topics, options.left_out, clock_offset_ns_),
      recorder_(path_, options_for(options)),
      trouble_(options.trouble),
      diagnostics_(options.diagnostics) {
  status_.path = path_;
}

Result<std::uint16_t> Engine::channel(const ChannelText& text) {
  std::uint16_t schema = 0;
  if (!text.schema_encoding.empty()) {
    auto added = recorder_.add_schema(text.schema_name, text.schema_encoding, text.schema);
    if (!added) return added.error();
    schema = *added;
  }
  return recorder_.add_channel(text.topic, text.encoding, schema, text.metadata);
}

bag::Metadata Engine::clock() const {
  return {"horus.clock",
          {{"source", "CLOCK_MONOTONIC, moved once to UTC as it was when the recording began"},
           {"offset_ns", std::to_string(clock_offset_ns_)}}};
}

// --- What other threads see -------------------------------------------------------------------------------------------

void Engine::note() {
  const bag::RecorderCounts& counts = recorder_.counts();
  const std::lock_guard lock(mutex_);
  status_.messages = counts.recorded;
  status_.lost = counts.lost;
  status_.bytes = counts.bytes;
  status_.files = counts.files;
}

RecordingStatus Engine::status() const {
  const std::lock_guard lock(mutex_);
  return status_;
}

std::future<Result<>> Engine::snapshot(std::string path) {
  std::promise<Result<>> promise;
  auto future = promise.get_future();
  const std::lock_guard lock(mutex_);
  if (status_.ended) {
    promise.set_value(Error(ECANCELED, "write a snapshot", path).with_detail("(the recording has ended)"));
  } else {
    wishes_.emplace_back(std::move(path), std::move(promise));
  }
  return future;
}

void Engine::stop() noexcept {
  const std::lock_guard lock(mutex_);
  trouble_ = nullptr;
  diagnostics_ = nullptr;
  stopping_.store(true, std::memory_order_relaxed);
}

void Engine::tell(const Result<>& outcome) {
  if (opened_) std::exchange(opened_, nullptr)(outcome);
}

// What cannot be read is a line in the log.
Task<> Engine::attach_files() {
  for (const std::string& path : attachments_) {
    auto reading = io::read_file(path, kMostAttached);
    auto contents = co_await with_timeout(kAttachLimit, std::move(reading));
    if (!contents) {
      log_warning(fmt::format("the recording {} has no attachment: {}", path_, contents.error().message()));
      continue;
    }
    bag::Attachment attachment;
    attachment.log_ns = static_cast<std::uint64_t>(now_ns() + clock_offset_ns_);
    attachment.name = path;
    attachment.media_type = "text/plain";
    attachment.data = *std::move(contents);
    if (auto added = recorder_.add(std::move(attachment)); !added) log_warning(added.error().message());
  }
}

// --- The run ----------------------------------------------------------------------------------------------------------

Task<> Engine::write_snapshots() {
  std::vector<Wish> wishes;
  {
    const std::lock_guard lock(mutex_);
    wishes.swap(wishes_);
  }
  for (auto& [path, promise] : wishes) {
    while (topics_.pump(*this, kAtOnce) == kAtOnce) co_await yield();
    auto writing = recorder_.snapshot(path);
    const Result<> written = co_await writing;
    if (written) {
      log_info(fmt::format("the last seconds are in {}", path));
    } else {
      log_error(written.error().message());
    }
    promise.set_value(written);
  }
}

// With what comes of it: a second later.
void Engine::look_for_trouble() {
  if (!snapshots_) return;
  {
    const std::lock_guard lock(mutex_);
    const std::uint64_t trouble = trouble_ ? trouble_() : 0;
    if (trouble > trouble_seen_ && incident_ns_ == 0 && incidents_ < kMostIncidents)
      incident_ns_ = now_ns() + kAfterwards.count();
    trouble_seen_ = trouble;
  }
  if (incident_ns_ != 0 && now_ns() >= incident_ns_) write_incident();
}

void Engine::look_at_parts() {
  const std::int64_t now = now_ns();
  if (now < parts_due_ns_) return;
  parts_due_ns_ = now + kBetweenDiagnostics.count();
  std::vector<Diagnostic> parts;
  {
    const std::lock_guard lock(mutex_);
    if (!diagnostics_) return;
    parts = diagnostics_();
  }
  topics_.add_diagnostics(*this, now, parts);
}

void Engine::write_incident() {
  incident_ns_ = 0;
  const std::lock_guard lock(mutex_);
  wishes_.emplace_back(bag::further_path(path_, ++incidents_), std::promise<Result<>>());
}

Task<> Engine::pump_until_stopped(const Spawned<Result<>>& writing) {
  while (!stopping_.load(std::memory_order_relaxed) && !writing.done()) {
    const std::size_t count = topics_.pump(*this, kAtOnce);
    note();
    look_for_trouble();
    look_at_parts();
    if (snapshots_ || recorder_.counts().files > 0) tell({});
    auto snapshots = write_snapshots();
    co_await snapshots;
    if (count == kAtOnce) {
      co_await yield();
    } else {
      co_await sleep(count > kMany ? kQuickLook : kLook);
    }
  }
}

// What was sent until now. Whatever happens, the file is given its end.
void Engine::pump_rest() {
  try {
    for (std::size_t taken = 0, count = kAtOnce; count == kAtOnce && taken < kMostAtEnd; taken += count)
      count = topics_.pump(*this, kAtOnce);
  } catch (const std::exception& error) {
    log_error(fmt::format("the recording {} lacks its last messages: {}", path_, error.what()));
  }
}

Task<Result<>> Engine::finish(Scope& scope, Spawned<Result<>>& writing) {
  pump_rest();
  if (incident_ns_ != 0) write_incident();  // its snapshot has no second left
  if (!writing.done()) {
    auto snapshots = write_snapshots();
    co_await snapshots;
  }
  recorder_.stop();
  co_await scope.join();
  topics_
      .close();  // before somebody hears of the end: they hold on to publishers, whose hubs may be about to go
  const Result<> outcome = writing.take();
  note();
  std::vector<Wish> late;
  {
    const std::lock_guard lock(mutex_);
    status_.ended = true;
    if (!outcome) status_.problem = outcome.error().message();
    late.swap(wishes_);
  }
  for (auto& [path, promise] : late)
    promise.set_value(Error(ECANCELED, "write a snapshot", path).with_detail("(the recording has ended)"));
  tell(outcome);
  co_return outcome;
}

Task<Result<>> Engine::run(std::function<void(const Result<>&)> opened) {
  opened_ = std::move(opened);
  static_cast<void>(recorder_.add(clock()));
  auto attaching = attach_files();
  co_await attaching;
  Scope scope("recording");
  auto writing = scope.spawn(recorder_.run());
  std::exception_ptr failure;
  try {
    auto pumping = pump_until_stopped(writing);
    co_await pumping;
  } catch (...) {
    failure = std::current_exception();
    if (horus::detail::is_cancellation(failure)) failure = nullptr;
  }
  const bool early = !opened_ && !stopping_.load(std::memory_order_relaxed);
  auto finishing = finish(scope, writing);
  const Result<> finished = co_await shield(std::move(finishing));
  if (early && !finished) log_error(fmt::format("{}: the recording has ended", finished.error().message()));
  if (failure) std::rethrow_exception(failure);
  co_return finished;
}

}  // namespace horus::HORUS_ABI::record
