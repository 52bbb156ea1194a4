// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/link/shm_arena.hpp>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

#include <sys/stat.h>

#include <horus/base/locked_ranges.hpp>

namespace horus::HORUS_ABI::msg {
namespace {

constexpr std::size_t kFirstSlots = std::size_t{1} << 20;
constexpr std::size_t kFirstLinks = std::size_t{256} << 10;
constexpr std::size_t kLargestChunk = std::size_t{64} << 20;
constexpr std::size_t kLarge = std::size_t{512} << 10;  // pieces
constexpr std::size_t kPage = 4096;

constexpr std::size_t rounded(std::size_t bytes, std::size_t to) noexcept {
  return (bytes + to - 1) / to * to;
}

}  // namespace

// A piece that was given away. Its end gives it back.
struct Arena::Part {
  std::weak_ptr<Arena> arena;
  std::shared_ptr<Chunk> chunk;
  std::size_t offset;
  std::size_t bytes;

  Part(std::weak_ptr<Arena> from, std::shared_ptr<Chunk> of, std::size_t at, std::size_t size) noexcept
      : arena(std::move(from)), chunk(std::move(of)), offset(at), bytes(size) {}
  Part(const Part&) = delete;
  Part& operator=(const Part&) = delete;
  ~Part() {
    if (const auto alive = arena.lock()) alive->give_back(chunk, offset, bytes);
  }
};

Arena::Chunk::Chunk(std::uint32_t number, std::shared_ptr<Mapping> whole, bool for_large)
    : id(number), memory(std::move(whole)), large(for_large) {
  free.emplace(0, memory->size());
}

Result<std::shared_ptr<Mapping>> Arena::reserve(std::size_t bytes) {
  std::size_t used_before = 0;
  return cut(bytes, used_before);
}

Result<std::shared_ptr<Mapping>> Arena::take(std::size_t bytes) {
  Slowly slowly(shared_from_this(), bytes);
  while (true) {
    auto memory = slowly.next();
    if (!memory || *memory != nullptr) return memory;
  }
}

Result<std::shared_ptr<Mapping>> Arena::Slowly::next() {
  if (memory_ == nullptr) {
    auto reserved = arena_->cut(bytes_, used_before_);
    if (!reserved) return reserved;
    memory_ = std::move(*reserved);
  }
  const std::size_t more = std::min(kStep, bytes_ - done_);
  if (auto filled = memory_->fill(done_, more); !filled) return filled.error();
  // What somebody had before is still there.
  if (done_ < used_before_) std::memset(memory_->data() + done_, 0, std::min(more, used_before_ - done_));
  if (horus::detail::locks_ranges()) horus::detail::lock_range(memory_->data() + done_, more);
  done_ += more;
  if (done_ < bytes_) return std::shared_ptr<Mapping>();
  return std::move(memory_);
}

// `used_before`: so much of it was given away before.
Result<std::shared_ptr<Mapping>> Arena::cut(std::size_t bytes, std::size_t& used_before) {
  const std::size_t size = rounded(std::max<std::size_t>(bytes, 1), kAlignment);
  const std::lock_guard lock(mutex_);
  std::shared_ptr<Chunk> chunk;
  std::map<std::size_t, std::size_t>::iterator hole;
  for (const auto& one : chunks_) {
    if (one->large != (size >= kLarge)) continue;
    hole = std::find_if(one->free.begin(), one->free.end(),
                        [&](const auto& free) { return free.second >= size; });
    if (hole == one->free.end()) continue;
    chunk = one;
    break;
  }
  if (chunk == nullptr) {
    auto grown = grow(size);
    if (!grown) return grown.error();
    chunk = *grown;
    hole = chunk->free.begin();
  }
  const auto [offset, room] = *hole;
  chunk->free.erase(hole);
  if (room > size) chunk->free.emplace(offset + size, room - size);
  used_before = offset < chunk->touched ? std::min(size, chunk->touched - offset) : 0;
  chunk->touched = std::max(chunk->touched, offset + size);
  auto part = std::make_shared<Part>(weak_from_this(), chunk, offset, size);
  return std::make_shared<Mapping>(chunk->memory->data() + offset, bytes,
                                   std::shared_ptr<const void>(std::move(part)), chunk->memory->file(),
                                   offset);
}

Result<std::shared_ptr<Arena::Chunk>> Arena::grow(std::size_t bytes) {
  static std::atomic<std::uint32_t> last_id{0};
  const bool large = bytes >= kLarge;
  const auto alike = static_cast<std::size_t>(std::count_if(
      chunks_.begin(), chunks_.end(), [&](const auto& chunk) { return chunk->large == large; }));
  const std::size_t doubled = (use_ == Use::slots ? kFirstSlots : kFirstLinks)
                              << std::min<std::size_t>(alike, 16);
  const std::size_t least = rounded(bytes, kPage);
  const std::size_t wanted = std::max(least, std::min(doubled, kLargestChunk));
  const char* name = use_ == Use::slots ? "horus-slots" : "horus-links";
  auto memory = Mapping::create(wanted, true, name);
  if (!memory && wanted > least)
    memory = Mapping::create(least, true, name);  // a limit of addresses or file sizes
  if (!memory) return memory.error();
  if (use_ == Use::slots) {
    if (auto sealed = (*memory)->forbid_writers(); !sealed) return sealed.error();
  }
  chunks_.push_back(std::make_shared<Chunk>(++last_id, std::move(*memory), large));
  return chunks_.back();
}

void Arena::give_back(const std::shared_ptr<Chunk>& chunk, std::size_t offset, std::size_t bytes) noexcept {
  const std::lock_guard lock(mutex_);
  auto here = chunk->free.emplace(offset, bytes).first;
  if (const auto next = std::next(here);
      next != chunk->free.end() && here->first + here->second == next->first) {
    here->second += next->second;
    chunk->free.erase(next);
  }
  if (here != chunk->free.begin()) {
    const auto before = std::prev(here);
    if (before->first + before->second == here->first) {
      before->second += here->second;
      chunk->free.erase(here);
      here = before;
    }
  }
  if (here->second == chunk->memory->size()) std::erase(chunks_, chunk);
}

Arena::Place Arena::place_of(const Mapping& part) const {
  const std::lock_guard lock(mutex_);
  for (const auto& chunk : chunks_) {
    const std::byte* begin = chunk->memory->data();
    if (part.data() >= begin && part.data() < begin + chunk->memory->size())
      return {chunk, static_cast<std::uint64_t>(part.data() - begin)};
  }
  return {};
}

std::size_t Arena::chunks() const {
  const std::lock_guard lock(mutex_);
  return chunks_.size();
}

std::size_t Arena::pages() const {
  const std::lock_guard lock(mutex_);
  std::size_t bytes = 0;
  for (const auto& chunk : chunks_) {
    struct stat status{};
    if (::fstat(chunk->memory->file(), &status) == 0)
      bytes += static_cast<std::size_t>(status.st_blocks) * 512;
  }
  return bytes;
}

}  // namespace horus::HORUS_ABI::msg
