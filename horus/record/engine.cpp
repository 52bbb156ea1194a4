// SPDX-License-Identifier: Apache-2.0
#include <horus/record/engine.hpp>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <new>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <horus/base/log.hpp>
#include <horus/io/offload.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/time.hpp>
#include <horus/task/scope.hpp>
#include <horus/task/shield.hpp>

namespace horus::record {
namespace {

constexpr Duration kLook = std::chrono::milliseconds(5);  // between two looks at the taps
constexpr Duration kQuickLook = std::chrono::milliseconds(1);
constexpr std::size_t kMany = 256;                           // messages in one look: the next one comes soon
constexpr Duration kRetry = std::chrono::milliseconds(500);  // of a disk that took nothing
constexpr Duration kLastRetry = std::chrono::milliseconds(200);
constexpr std::size_t kAtOnce = 4096;                     // messages in one turn of the loop
constexpr std::size_t kMostAtEnd = std::size_t{1} << 20;  // messages that are taken after stop()

bag::WriterOptions options_for(const RecordOptions& options) {
  bag::WriterOptions writer;
  if (!options.compressed) writer.compression = bag::Compression::none;
  return writer;
}

Task<> pause(Duration length) { co_await sleep(length); }

}  // namespace

Engine::Engine(std::string path, const RecordOptions& options)
    : path_(std::move(path)),
      options_(options),
      clock_offset_ns_(wall_clock_ns() - now_ns()),
      topics_(options.topics, options.left_out, clock_offset_ns_),
      writer_(options_for(options)) {}

// --- What is recorded -------------------------------------------------------------------------------------------------

Result<std::uint16_t> Engine::channel(const ChannelText& text) {
  std::uint16_t schema = 0;
  if (!text.schema_encoding.empty()) {
    auto added = writer_.add_schema(text.schema_name, text.schema_encoding, text.schema);
    if (!added) return added.error();
    schema = *added;
  }
  auto added = writer_.add_channel(text.topic, text.encoding, schema, text.metadata);
  if (added) names_.emplace(*added, text.topic);
  return added;
}

void Engine::message(const bag::Message& message) {
  horus::detail::count(messages_);
  const std::size_t bytes = waiting_bytes_ + writer_.open().size() + message.data.size();
  if (gave_up_ || bytes > options_.max_waiting_bytes) return lose(message.channel, 1);
  if (auto added = writer_.add(message); !added) {
    tell(added.error());
    return lose(message.channel, 1);
  }
  if (writer_.due(message.log_ns)) close_chunk();
}

void Engine::close_chunk() {
  const std::size_t bytes = writer_.open().size();
  if (bytes == 0) return;
  waiting_.push_back({writer_.take(std::move(spare_)), bytes});
  spare_ = {};
  waiting_bytes_ += bytes;
  work_.set();
}

void Engine::lose(std::uint16_t channel, std::uint64_t messages) {
  horus::detail::count(lost_, messages);
  lost_of_[names_[channel]] += messages;
}

void Engine::note_missed() {
  std::uint64_t all = 0;
  for (const auto& [topic, messages] : topics_.missed()) all += messages;
  missed_.store(all, std::memory_order_relaxed);
}

void Engine::tell(const Error& problem) {
  {
    const std::lock_guard lock(mutex_);
    problem_ = problem.message();
  }
  if (quiet_.may(now_ns())) log_warning(fmt::format("{}{}", problem.message(), quiet_.more()));
}

RecordingStatus Engine::status() const {
  RecordingStatus status;
  status.path = path_;
  status.messages = messages_.load(std::memory_order_relaxed);
  status.lost = lost_.load(std::memory_order_relaxed) + missed_.load(std::memory_order_relaxed);
  status.bytes = bytes_.load(std::memory_order_relaxed);
  status.ended = ended_.load(std::memory_order_acquire);
  const std::lock_guard lock(mutex_);
  status.problem = problem_;
  return status;
}

// --- The file ---------------------------------------------------------------------------------------------------------

Task<Result<>> Engine::write(std::span<const std::byte> bytes, std::uint64_t place) {
  auto writing = file_.write_all_at(bytes, place);
  const Result<> written = co_await writing;
  if (written) bytes_.store(place + bytes.size(), std::memory_order_relaxed);
  co_return written;
}

// Tries until the disk takes it; at the end a few times more.
Task<Result<>> Engine::write_for_sure(std::span<const std::byte> bytes, std::uint64_t place) {
  while (true) {
    auto writing = write(bytes, place);
    const Result<> written = co_await writing;
    if (written) co_return written;
    const Error problem = written.error().on("record", path_);
    tell(problem);
    if (finishing_ && last_tries_-- == 0) co_return problem;
    auto pausing = pause(finishing_ ? kLastRetry : kRetry);
    co_await pausing;
  }
}

// In order: what the disk does not take is tried again, while further chunks wait behind it.
Task<> Engine::write_chunks() {
  const auto head = writer_.begin();
  const std::vector<std::byte> kept(head.begin(), head.end());
  {
    auto writing = write_for_sure(kept, 0);
    outcome_ = co_await writing;
    if (!outcome_) co_return give_up();
  }
  while (true) {
    if (waiting_.empty()) {
      if (finishing_) co_return;
      work_.reset();
      co_await work_.wait();
      continue;
    }
    bag::Chunk& chunk = waiting_.front().chunk;
    if (!chunk.sealed()) {
      auto sealing = seal(chunk);
      co_await sealing;
    }
    if (writer_.full()) {
      outcome_ = Error(ENOBUFS, "record", path_).with_detail("(a file has at most 1048576 chunks)");
      tell(outcome_.error());
      co_return give_up();
    }
    const std::uint64_t place = writer_.position();
    auto writing = write_for_sure(writer_.place(chunk), place);
    outcome_ = co_await writing;
    if (!outcome_) {
      writer_.withdraw(chunk);
      co_return give_up();
    }
    whole_bytes_ = writer_.position();
    waiting_bytes_ -= waiting_.front().bytes;
    spare_ = std::move(chunk);
    waiting_.pop_front();
  }
}

// On another thread, where one has time and memory for it.
Task<> Engine::seal(bag::Chunk& chunk) {
  try {
    auto sealing = io::offload(
        [](bag::Chunk* what, const bag::WriterOptions* how) {
          what->seal(how->compression, how->level, how->least_saving);
        },
        &chunk, &writer_.options());
    static_cast<void>(co_await sealing);
  } catch (const std::bad_alloc&) {  // NOLINT(bugprone-empty-catch): stored plain
  }
  if (!chunk.sealed()) chunk.seal(bag::Compression::none);
}

// What waits will never be in the file.
void Engine::give_up() {
  for (Waiting& waiting : waiting_) {
    if (!waiting.chunk.sealed()) waiting.chunk.seal(bag::Compression::none);
    for (const auto& [channel, messages] : waiting.chunk.counts()) lose(channel, messages);
  }
  waiting_.clear();
  waiting_bytes_ = 0;
  gave_up_ = true;
}

bag::Metadata Engine::losses() const {
  std::map<std::string, std::uint64_t> all = topics_.missed();
  for (const auto& [topic, messages] : lost_of_) all[topic] += messages;
  bag::Metadata metadata{"horus.losses", {}};
  for (const auto& [topic, messages] : all) metadata.values.emplace(topic, std::to_string(messages));
  return metadata;
}

bag::Metadata Engine::clock() const {
  return {"horus.clock",
          {{"source", "CLOCK_MONOTONIC, moved once to UTC as it was when the recording began"},
           {"offset_ns", std::to_string(clock_offset_ns_)},
           {"offset_ns_at_end", std::to_string(wall_clock_ns() - now_ns())}}};
}

Task<Result<>> Engine::write_end() {
  for (const bag::Metadata& metadata : {clock(), losses()}) {
    const std::uint64_t place = writer_.position();
    const auto bytes = writer_.place(metadata);
    if (!bytes) co_return bytes.error();
    auto writing = write_for_sure(*bytes, place);
    const Result<> written = co_await writing;
    if (!written) co_return written;
  }
  const std::uint64_t place = writer_.position();
  auto writing = write_for_sure(writer_.finish(), place);
  const Result<> written = co_await writing;
  co_return written;
}

// --- The run ----------------------------------------------------------------------------------------------------------

Task<> Engine::pump_until_stopped() {
  while (!stopping_.load(std::memory_order_relaxed)) {
    const std::size_t count = topics_.pump(*this, kAtOnce);
    if (writer_.due(static_cast<std::uint64_t>(now_ns() + clock_offset_ns_))) {
      close_chunk();
      note_missed();
    }
    if (count == kAtOnce) {
      co_await yield();
    } else {
      co_await sleep(count > kMany ? kQuickLook : kLook);
    }
  }
}

// What was sent until now, and the end of the file.
Task<Result<>> Engine::finish(Scope& chunks) {
  for (std::size_t taken = 0, count = kAtOnce; count == kAtOnce && taken < kMostAtEnd; taken += count)
    count = topics_.pump(*this, kAtOnce);
  close_chunk();
  note_missed();
  finishing_ = true;
  work_.set();
  co_await chunks.join();
  if (outcome_) {
    auto ending = write_end();
    outcome_ = co_await ending;
  }
  if (!outcome_) {  // no half a record behind the last whole one
    tell(outcome_.error());
    auto cutting = file_.truncate(whole_bytes_);
    static_cast<void>(co_await cutting);
  }
  auto closing = file_.close();
  const Result<> closed = co_await closing;
  if (outcome_ && !closed) outcome_ = closed.error().on("record", path_);
  ended_.store(true, std::memory_order_release);
  co_return outcome_;
}

Task<Result<>> Engine::run(std::function<void(const Result<>&)> opened) {
  auto opening = io::File::open(path_, io::OpenOptions().write().create_new());
  auto file = co_await opening;
  if (!file) {
    const Error problem = file.error().on("record", path_);
    opened(problem);
    ended_.store(true, std::memory_order_release);
    co_return problem;
  }
  file_ = std::move(*file);
  opened({});
  Scope chunks("recording");
  static_cast<void>(chunks.spawn(write_chunks()));
  std::exception_ptr failure;
  try {
    auto pumping = pump_until_stopped();
    co_await pumping;
  } catch (const Error& error) {
    if (!error.cancelled()) failure = std::current_exception();
  }
  auto finishing = finish(chunks);
  const Result<> finished = co_await shield(std::move(finishing));
  if (failure) std::rethrow_exception(failure);
  co_return finished;
}

}  // namespace horus::record
