// SPDX-License-Identifier: Apache-2.0
#include <horus/bag/recorder.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <exception>
#include <utility>

#include <fmt/format.h>

#include <horus/bag/file_writer.hpp>
#include <horus/base/assert.hpp>
#include <horus/io/offload.hpp>
#include <horus/io/time.hpp>

namespace horus::HORUS_ABI::bag {
namespace {

constexpr std::size_t kSpares = 2 * kChunksInFlight;
constexpr std::size_t kMessageOverhead = 31;  // bytes of a message's record without its data

void seal_chunk(Chunk* chunk, Compression compression, int level, unsigned least_saving) {
  chunk->seal(compression, level, least_saving);
}

std::size_t size_of(const Metadata& metadata) {
  std::size_t size = metadata.name.size();
  for (const auto& [key, value] : metadata.values) size += key.size() + value.size();
  return size;
}

std::size_t size_of(const Attachment& attachment) {
  return attachment.data.size() + attachment.name.size() + attachment.media_type.size();
}

}  // namespace

std::string further_path(const std::string& path, std::uint64_t number) {
  if (number == 0) return path;
  const std::size_t slash = path.rfind('/');
  const std::size_t dot = path.rfind('.');
  const bool has_end = dot != std::string::npos && (slash == std::string::npos || dot > slash + 1) && dot > 0;
  const std::size_t stem = has_end ? dot : path.size();
  return fmt::format("{}_{}{}", path.substr(0, stem), number, path.substr(stem));
}

Recorder::Recorder(std::string path, RecorderOptions options)
    : path_(std::move(path)),
      current_path_(path_),
      options_(std::move(options)),
      writer_(options_.writer),
      topics_(1),
      lost_(1),
      reported_(1) {}

Recorder::~Recorder() {
  HORUS_ASSERT(scope_ == nullptr, "a bag::Recorder is destroyed while its run() runs");
}

Result<std::uint16_t> Recorder::add_schema(std::string_view name, std::string_view encoding,
                                           std::string_view data) {
  return writer_.add_schema(name, encoding, data);
}

Result<std::uint16_t> Recorder::add_channel(std::string_view topic, std::string_view encoding,
                                            std::uint16_t schema, const Properties& metadata) {
  const auto added = writer_.add_channel(topic, encoding, schema, metadata);
  if (!added) return added.error();
  topics_.emplace_back(topic);
  lost_.push_back(0);
  reported_.push_back(0);
  return *added;
}

void Recorder::lose(std::uint16_t channel, std::uint64_t count) noexcept {
  counts_.lost += count;
  if (channel < lost_.size()) lost_[channel] += count;
}

bool Recorder::record(const Message& message) {
  const std::size_t size = message.data.size() + kMessageOverhead;
  if (!accepts_ || queued_bytes_ + writer_.open().size() + size > options_.queue_bytes) {
    lose(message.channel);
    return false;
  }
  const bool first = writer_.open().messages() == 0;
  if (const auto added = writer_.add(message); !added) {
    lose(message.channel);
    return false;
  }
  ++counts_.recorded;
  if (first) {
    opened_ns_ = now_ns();
    changed_.set();
  }
  if (writer_.open().size() >= writer_.options().chunk_bytes) close_chunk();
  return true;
}

Result<> Recorder::add(Metadata metadata) {
  const std::size_t size = size_of(metadata);
  if (queued_bytes_ + size > options_.queue_bytes) return Error(ENOBUFS, "record", metadata.name);
  queued_bytes_ += size;
  metadata_.push_back(std::move(metadata));
  changed_.set();
  return {};
}

Result<> Recorder::add(Attachment attachment) {
  const std::size_t size = size_of(attachment);
  if (queued_bytes_ + size > options_.queue_bytes) return Error(ENOBUFS, "record", attachment.name);
  queued_bytes_ += size;
  attachments_.push_back(std::move(attachment));
  changed_.set();
  return {};
}

Chunk Recorder::spare() {
  if (spares_.empty()) return {};
  Chunk chunk = std::move(spares_.back());
  spares_.pop_back();
  return chunk;
}

void Recorder::close_chunk() {
  auto job = std::make_unique<Job>();
  job->chunk = writer_.take(spare());
  job->size = job->chunk.size();
  queued_bytes_ += job->size;
  jobs_.push_back(std::move(job));
  drained_.reset();
  start_sealing();
}

void Recorder::start_sealing() {
  if (scope_ == nullptr) return;
  for (const auto& job : jobs_) {
    if (sealing_ == kChunksInFlight) break;
    if (job->started) continue;
    job->started = true;
    ++sealing_;
    scope_->spawn(seal(job.get()));
  }
}

Task<> Recorder::seal(Job* job) {
  const WriterOptions& how = writer_.options();
  const auto sealed =
      co_await io::offload(&seal_chunk, &job->chunk, how.compression, how.level, how.least_saving);
  // The pool's queue is full, or this task was asked to stop: here, then.
  if (!sealed && !job->chunk.sealed()) seal_chunk(&job->chunk, how.compression, how.level, how.least_saving);
  job->sealed = true;
  --sealing_;
  changed_.set();
  start_sealing();
}

void Recorder::stop() noexcept {
  stopping_ = true;
  accepts_ = false;
  changed_.set();
}

Task<Result<>> Recorder::run() {
  HORUS_ASSERT(scope_ == nullptr, "run() of a bag::Recorder runs once");
  Scope scope("bag recorder");
  scope_ = &scope;
  start_sealing();
  Result<> outcome;
  std::exception_ptr thrown;
  try {
    outcome = co_await work();
  } catch (...) {
    thrown = std::current_exception();
  }
  accepts_ = false;
  co_await give_up(scope);
  scope_ = nullptr;
  drained_.set();
  if (thrown) std::rethrow_exception(thrown);
  co_return outcome;
}

Task<Result<>> Recorder::work() {
  const bool keeps = options_.snapshot.count() > 0;
  if (!keeps) {
    const auto begun = co_await begin_file();
    if (!begun) co_return begun.error();
  }
  while (true) {
    changed_.reset();
    if (!jobs_.empty() && jobs_.front()->sealed) {
      if (keeps) {
        keep_front();
        continue;
      }
      const auto put = co_await put_front();
      if (!put) co_return put.error();
      if (!wants_further_file()) continue;
      const auto ended = co_await end_file();
      if (!ended) co_return ended.error();
      writer_.begin_further_file();
      const auto begun = co_await begin_file();
      if (!begun) co_return begun.error();
      continue;
    }
    if (!keeps && !(metadata_.empty() && attachments_.empty())) {
      const auto put = co_await put_notes();
      if (!put) co_return put.error();
      continue;
    }
    const bool has_old = writer_.open().messages() > 0 &&
                         now_ns() - opened_ns_ >= static_cast<std::int64_t>(options_.writer.chunk_ns);
    if (!writer_.open().empty() && (stopping_ || has_old)) {
      close_chunk();
      continue;
    }
    if (stopping_ && jobs_.empty()) break;
    co_await wait_for_work();
  }
  if (keeps) co_return Result<>();
  co_return co_await end_file();
}

namespace {

Task<> wait_for(Event& event) { co_await event.wait(); }

}  // namespace

// A change, or the time at which the open chunk is due.
Task<> Recorder::wait_for_work() {
  if (writer_.open().messages() == 0) {
    co_await changed_.wait();
    co_return;
  }
  const std::int64_t age_ns = now_ns() - opened_ns_;
  const auto longest_ns = static_cast<std::int64_t>(options_.writer.chunk_ns);
  const Duration rest = std::chrono::nanoseconds(std::max<std::int64_t>(longest_ns - age_ns, 0));
  const auto waited = co_await with_timeout(rest, wait_for(changed_));
  if (!waited && !waited.error().timed_out()) throw Error(waited.error());
}

Task<Result<>> Recorder::write(std::span<const std::byte> bytes, std::uint64_t offset) {
  const auto written = co_await file_.write_all_at(bytes, offset);
  if (written) counts_.bytes += bytes.size();
  co_return written;
}

Task<Result<>> Recorder::put_front() {
  Job& job = *jobs_.front();
  const std::uint64_t offset = writer_.position();
  const auto bytes = writer_.place(job.chunk);
  const auto written = co_await write(bytes, offset);
  if (!written) {
    writer_.withdraw(job.chunk);
    co_return written.error();
  }
  counts_.written += job.chunk.messages();
  queued_bytes_ -= job.size;
  if (spares_.size() < kSpares) {
    job.chunk.clear();
    spares_.push_back(std::move(job.chunk));
  }
  jobs_.pop_front();
  if (jobs_.empty()) drained_.set();
  co_return Result<>();
}

Task<Result<>> Recorder::put_notes() {
  while (!metadata_.empty()) {
    const std::uint64_t offset = writer_.position();
    const auto bytes = writer_.place(metadata_.front());
    queued_bytes_ -= size_of(metadata_.front());
    metadata_.pop_front();
    if (!bytes) co_return bytes.error();
    const auto written = co_await write(*bytes, offset);
    if (!written) co_return written.error();
  }
  while (!attachments_.empty()) {
    const std::uint64_t offset = writer_.position();
    const auto bytes = writer_.place(attachments_.front());
    queued_bytes_ -= size_of(attachments_.front());
    attachments_.pop_front();
    if (!bytes) co_return bytes.error();
    const auto written = co_await write(*bytes, offset);
    if (!written) co_return written.error();
  }
  co_return Result<>();
}

// Snapshot mode: the oldest chunks go when the others cover the time, or need the memory.
void Recorder::keep_front() {
  Job& job = *jobs_.front();
  queued_bytes_ -= job.size;
  if (job.chunk.messages() > 0) {
    job.chunk.shrink();
    ring_bytes_ += job.chunk.memory();
    ring_.push_back(std::make_shared<Chunk>(std::move(job.chunk)));
  }
  jobs_.pop_front();
  if (jobs_.empty()) drained_.set();
  const auto longest_ns = static_cast<std::uint64_t>(options_.snapshot.count());
  const auto is_covered = [&] {
    const std::uint64_t last_ns = ring_.back()->last_ns();
    return ring_.size() > 1 && last_ns >= ring_[1]->first_ns() &&
           last_ns - ring_[1]->first_ns() >= longest_ns;
  };
  while (!ring_.empty() && (is_covered() || ring_bytes_ > options_.snapshot_bytes)) {
    ring_bytes_ -= ring_.front()->memory();
    ring_.pop_front();
  }
}

bool Recorder::wants_further_file() const noexcept {
  const Statistics& all = writer_.statistics();
  return writer_.full() || (options_.most_bytes > 0 && writer_.position() >= options_.most_bytes) ||
         (options_.longest.count() > 0 &&
          all.last_ns - all.first_ns >= static_cast<std::uint64_t>(options_.longest.count()));
}

Task<Result<>> Recorder::begin_file() {
  current_path_ = further_path(path_, counts_.files);
  io::OpenOptions how;
  how.write().read();
  if (options_.overwrite) {
    how.create().truncate();
  } else {
    how.create_new();
  }
  auto file = co_await io::File::open(current_path_, how);
  if (!file && file.code() == EEXIST) {
    co_return Error(file.error()).with_detail("(a recording is never written over: give it another name)");
  }
  if (!file) co_return file.error();
  file_ = std::move(*file);
  ++counts_.files;
  const auto bytes = writer_.begin();
  co_return co_await write(bytes, 0);
}

Metadata Recorder::losses_record() const {
  Metadata record;
  record.name = "horus.losses";
  std::map<std::string, std::uint64_t> sums;
  for (std::size_t i = 0; i < lost_.size(); ++i) {
    if (lost_[i] > reported_[i]) sums[topics_[i]] += lost_[i] - reported_[i];
  }
  for (const auto& [topic, count] : sums) record.values[topic] = std::to_string(count);
  return record;
}

std::map<std::string, std::uint64_t> Recorder::losses() const {
  std::map<std::string, std::uint64_t> sums;
  for (std::size_t i = 0; i < lost_.size(); ++i) {
    if (lost_[i] > 0) sums[topics_[i]] += lost_[i];
  }
  return sums;
}

Task<Result<>> Recorder::end_file() {
  if (const Metadata record = losses_record(); !record.values.empty()) {
    reported_ = lost_;
    const std::uint64_t offset = writer_.position();
    const auto bytes = writer_.place(record);
    if (bytes) {
      const auto written = co_await write(*bytes, offset);
      if (!written) co_return written.error();
    }
  }
  const std::uint64_t offset = writer_.position();
  const auto bytes = writer_.finish_part();
  const auto written = co_await write(bytes, offset);
  if (!written) co_return written.error();
  co_return co_await file_.close();
}

// Whatever ended the work: nothing is left in flight. After an error the file is given a good end.
Task<> Recorder::give_up(Scope& scope) {
  co_await scope.join();
  if (!writer_.open().empty()) {
    auto job = std::make_unique<Job>();
    job->chunk = writer_.take();
    jobs_.push_back(std::move(job));
  }
  for (const auto& job : jobs_) {
    if (!job->chunk.sealed()) job->chunk.seal(Compression::none);
    for (const auto& [channel, count] : job->chunk.counts()) lose(channel, count);
  }
  jobs_.clear();
  queued_bytes_ = 0;
  if (!file_) co_return;
  const auto cut = co_await file_.truncate(writer_.position());
  if (cut) {
    const auto ended = co_await end_file();
    if (ended) co_return;
  }
  static_cast<void>(co_await file_.close());
}

Task<Result<>> Recorder::snapshot(std::string path) {
  if (options_.snapshot.count() == 0)
    co_return Error(EINVAL, "write a snapshot", path).with_detail("(RecorderOptions::snapshot is not set)");
  if (!writer_.open().empty()) close_chunk();
  while (!jobs_.empty()) co_await drained_.wait();
  const std::vector<std::shared_ptr<Chunk>> chunks(ring_.begin(), ring_.end());
  const std::vector<Metadata> metadata(metadata_.begin(), metadata_.end());
  const std::vector<Attachment> attachments(attachments_.begin(), attachments_.end());
  Metadata lost = losses_record();
  auto out = co_await FileWriter::create(std::move(path), writer_.describing(), options_.overwrite);
  if (!out) co_return out.error();
  Result<> outcome;
  for (const auto& chunk : chunks) {
    if (outcome) outcome = co_await out->add(*chunk);
  }
  for (const Metadata& record : metadata) {
    if (outcome) outcome = co_await out->add(record);
  }
  for (const Attachment& record : attachments) {
    if (outcome) outcome = co_await out->add(record);
  }
  if (outcome && !lost.values.empty()) outcome = co_await out->add(lost);
  if (outcome) outcome = co_await out->finish();
  if (!outcome) {
    co_await out->discard();
    co_return outcome.error();
  }
  ++counts_.files;
  co_return Result<>();
}

}  // namespace horus::HORUS_ABI::bag
