// SPDX-License-Identifier: Apache-2.0
#include <horus/bag/read/merge.hpp>

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include <horus/bag/format/codec.hpp>
#include <horus/bag/read/load.hpp>
#include <horus/bag/read/scan.hpp>

namespace horus::HORUS_ABI::bag {

void Merge::begin(const Selection& selection) {
  first_ns_ = selection.first_ns;
  last_ns_ = selection.last_ns;
  channels_.assign(std::size_t{UINT16_MAX} + 1, false);
  for (const auto& [id, channel] : contents_.channels)
    channels_[id] = !selection.channel || selection.channel(channel);
  order_.clear();
  for (std::size_t i = 0; i < contents_.chunks.size(); ++i) {
    if (is_wanted(contents_.chunks[i])) order_.push_back(i);
  }
  std::ranges::sort(order_, {}, [this](std::size_t i) {
    return std::pair(contents_.chunks[i].first_ns, contents_.chunks[i].offset);
  });
  coming_ = 0;
  cursors_.clear();
  current_.reset();
  entry_bytes_ = 0;
}

bool Merge::is_wanted(const ChunkIndex& chunk) const {
  if (chunk.last_ns < first_ns_ || chunk.first_ns > last_ns_) return false;
  // A chunk without message indexes may hold anything.
  return chunk.message_indexes.empty() ||
         std::ranges::any_of(chunk.message_indexes,
                             [this](const auto& place) { return channels_[place.channel]; });
}

bool Merge::later(const Cursor& one, const Cursor& other) const noexcept {
  if (one.log_ns() != other.log_ns()) return one.log_ns() > other.log_ns();
  return contents_.chunks[one.chunk].offset > contents_.chunks[other.chunk].offset;
}

void Merge::insert(std::unique_ptr<Cursor> cursor) {
  cursors_.push_back(std::move(cursor));
  std::ranges::push_heap(cursors_,
                         [this](const auto& one, const auto& other) { return later(*one, *other); });
}

// Unpacks a chunk and notes its messages. The top of the heap may be a message of it afterwards.
Task<Result<>> Merge::enter(std::size_t chunk) {
  auto cursor = std::make_unique<Cursor>();
  cursor->chunk = chunk;
  const ChunkIndex& index = contents_.chunks[chunk];
  const auto loaded = co_await load(window_, index, cursor->records);
  if (!loaded) co_return loaded.error();
  const char* problem =
      walk_chunk(cursor->records.bytes(), contents_, [&](const Message& message, std::uint64_t offset) {
        if (channels_[message.channel] && message.log_ns >= first_ns_ && message.log_ns <= last_ns_)
          cursor->entries.push_back({message.log_ns, offset});
      });
  if (problem != nullptr) co_return bad_record(window_.source().name(), index.offset, problem);
  if (cursor->entries.empty()) co_return Result<>();
  if (!std::ranges::is_sorted(cursor->entries, {}, &Entry::log_ns)) {
    std::ranges::sort(cursor->entries, [](const Entry& one, const Entry& other) {
      return std::pair(one.log_ns, one.offset) < std::pair(other.log_ns, other.offset);
    });
  }
  cursor->entries.shrink_to_fit();
  entry_bytes_ += cursor->entries.size() * sizeof(Entry);
  if (entry_bytes_ > memory_bytes_ && !cursors_.empty()) {
    const std::string why = fmt::format(
        "({} chunks overlap in time, and their indexes need more than {} MiB: allow the reader more memory)",
        cursors_.size() + 1, memory_bytes_ >> 20);
    co_return Error(ENOBUFS, "read", window_.source().name()).with_detail(why);
  }
  insert(std::move(cursor));
  drop_some();
  co_return Result<>();
}

void Merge::drop_some() {
  std::size_t kept = 0;
  for (const auto& cursor : cursors_) kept += cursor->records.capacity();
  if (kept <= memory_bytes_) return;
  // Those whose messages come last; the top of the heap stays.
  std::vector<Cursor*> latest;
  for (std::size_t i = 1; i < cursors_.size(); ++i) latest.push_back(cursors_[i].get());
  std::ranges::sort(latest, [this](const Cursor* one, const Cursor* other) { return later(*one, *other); });
  for (Cursor* cursor : latest) {
    if (kept <= memory_bytes_ / 2) break;
    kept -= cursor->records.capacity();
    cursor->records.release();
  }
}

Task<Result<Message>> Merge::next() {
  if (current_ != nullptr) {
    if (++current_->next < current_->entries.size()) {
      insert(std::move(current_));
    } else {
      entry_bytes_ -= current_->entries.size() * sizeof(Entry);
      current_.reset();
    }
  }
  while (coming_ < order_.size()) {
    const std::size_t chunk = order_[coming_];
    if (!cursors_.empty() && contents_.chunks[chunk].first_ns > cursors_.front()->log_ns()) break;
    ++coming_;
    const auto entered = co_await enter(chunk);
    if (!entered) co_return entered.error();
  }
  if (cursors_.empty()) co_return Error(kEndOfStream, "read", window_.source().name());
  std::ranges::pop_heap(cursors_, [this](const auto& one, const auto& other) { return later(*one, *other); });
  current_ = std::move(cursors_.back());
  cursors_.pop_back();
  if (current_->records.empty()) {
    const auto loaded = co_await load(window_, contents_.chunks[current_->chunk], current_->records);
    if (!loaded) {
      current_->next = current_->entries.size() - 1;  // the rest of it is lost
      co_return loaded.error();
    }
    drop_some();
  }
  std::size_t offset = static_cast<std::size_t>(current_->entries[current_->next].offset);
  Record record;
  Message message;
  if (offset >= current_->records.size() || !next_record(current_->records.bytes(), offset, record) ||
      record.opcode != Opcode::message || !decode(record.content, message)) {
    current_->next = current_->entries.size() - 1;
    co_return bad_record(window_.source().name(), contents_.chunks[current_->chunk].offset,
                         "a chunk has changed while it was read");
  }
  co_return message;
}

}  // namespace horus::HORUS_ABI::bag
