// SPDX-License-Identifier: Apache-2.0
#include <horus/bag/write/chunk.hpp>

#include <algorithm>
#include <cstring>
#include <string_view>
#include <utility>

#include <horus/bag/format/codec.hpp>
#include <horus/bag/format/compression.hpp>
#include <horus/base/assert.hpp>

namespace horus::HORUS_ABI::bag {
namespace {

constexpr std::size_t kKept = std::size_t{4} << 20;  // bytes of a used buffer

}  // namespace

static_assert(kRecordHead + kMostChunkHead <= 80);

void Chunk::begin() {
  if (!records_.empty()) return;
  records_.extend(kGap);
  end_ = kGap;
}

void Chunk::note(std::uint16_t channel, std::uint64_t log_ns, std::uint64_t offset) {
  first_ns_ = entries_.empty() ? log_ns : std::min(first_ns_, log_ns);
  last_ns_ = std::max(last_ns_, log_ns);
  entries_.push_back({log_ns, offset, channel});
}

void Chunk::add(const Message& message) {
  begin();
  note(message.channel, message.log_ns, end_ - kGap);
  encode(records_, message);
  end_ = records_.size();
}

void Chunk::add_record(std::span<const std::byte> record) {
  begin();
  records_.append(record.data(), record.size());
  end_ = records_.size();
}

void Chunk::seal(Compression compression, int level, unsigned least_saving) {
  HORUS_ASSERT(!sealed_, "a chunk is sealed once");
  begin();
  if (entries_.empty()) {  // its records stand for themselves
    start_ = kGap;
    sealed_ = true;
    return;
  }
  const auto records = records_.bytes().subspan(kGap);
  const std::uint32_t crc = crc32(records);
  if (compression != Compression::none) {
    packed_.clear();
    packed_.extend(kGap);
    is_packed_ = pack(records, level, least_saving, packed_);
  }
  finish(is_packed_ ? packed_ : records_, is_packed_ ? "zstd" : "", records.size(), crc);
}

void Chunk::adopt(std::span<const std::byte> packed, std::string_view compression, std::uint64_t size,
                  std::uint32_t crc) {
  HORUS_ASSERT(!sealed_, "a chunk is sealed once");
  packed_.clear();
  packed_.extend(kGap);
  packed_.append(packed.data(), packed.size());
  is_packed_ = true;
  finish(packed_, compression, size, crc);
}

// The head goes in front of the packed bytes, the indexes behind them.
void Chunk::finish(Buffer& buffer, std::string_view compression, std::uint64_t size, std::uint32_t crc) {
  const std::uint64_t packed = buffer.size() - kGap;
  Buffer head;
  encode(head, ChunkHead{first_ns_, last_ns_, size, crc, compression, packed});
  HORUS_ASSERT(head.size() <= kGap, "the name of a chunk's compression is long");
  start_ = kGap - head.size();
  std::memcpy(buffer.data() + start_, head.data(), head.size());
  index_.first_ns = first_ns_;
  index_.last_ns = last_ns_;
  index_.offset = 0;
  index_.length = buffer.size() - start_;
  index_.compression = compression;
  index_.compressed_bytes = packed;
  index_.bytes = size;
  append_indexes(buffer, start_);
  sealed_ = true;
}

void Chunk::append_indexes(Buffer& to, std::size_t start) {
  // By channel, and within a channel by time; mostly they are in order of time already.
  std::vector<std::uint64_t> counts(1);
  for (const Entry& entry : entries_) {
    if (entry.channel >= counts.size()) counts.resize(std::size_t{entry.channel} + 1);
    ++counts[entry.channel];
  }
  std::vector<std::uint64_t> next(counts.size());  // the place of a channel's next entry
  std::uint64_t sum = 0;
  counts_.clear();
  for (std::size_t channel = 0; channel < counts.size(); ++channel) {
    next[channel] = sum;
    sum += counts[channel];
    if (counts[channel] > 0) counts_.emplace_back(static_cast<std::uint16_t>(channel), counts[channel]);
  }
  using Pair = std::pair<std::uint64_t, std::uint64_t>;
  static_assert(sizeof(Pair) == kIndexEntry);
  std::vector<Pair> sorted(entries_.size());
  for (const Entry& entry : entries_) sorted[next[entry.channel]++] = {entry.log_ns, entry.offset};

  Encoder out(to);
  index_.message_indexes.clear();
  const std::size_t begin = to.size();
  std::uint64_t at = 0;
  for (const auto& [channel, count] : counts_) {
    const std::span<Pair> own(sorted.data() + at, count);
    if (!std::ranges::is_sorted(own)) std::ranges::sort(own);  // offsets differ: equal times keep their order
    index_.message_indexes.push_back({channel, to.size() - start});
    const auto place = out.begin(Opcode::message_index);
    out.number(channel).number(static_cast<std::uint32_t>(count * kIndexEntry));
    out.bytes(std::as_bytes(own));
    out.end(place);
    at += count;
  }
  index_.message_index_length = to.size() - begin;
}

std::span<const std::byte> Chunk::bytes() const noexcept {
  return (is_packed_ ? packed_ : records_).bytes().subspan(start_);
}

void Chunk::shrink() {
  if (is_packed_) {
    records_.release();
    packed_.fit();
  }
  entries_.shrink_to_fit();
}

void Chunk::clear() noexcept {
  records_.clear();
  packed_.clear();
  if (records_.capacity() > kKept) records_.release();
  if (packed_.capacity() > kKept) packed_.release();
  entries_.clear();
  counts_.clear();
  index_ = {};
  end_ = start_ = 0;
  sealed_ = is_packed_ = false;
  first_ns_ = last_ns_ = 0;
}

}  // namespace horus::HORUS_ABI::bag
