// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/shm_arena.hpp>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

namespace horus::msg {
namespace {

constexpr std::size_t kFirstSlots = std::size_t{1} << 20;
constexpr std::size_t kFirstLinks = std::size_t{256} << 10;
constexpr std::size_t kLargestChunk = std::size_t{64} << 20;
constexpr std::size_t kPage = 4096;
constexpr std::size_t kStateBytes = 64;  // behind a publisher's slots: PublisherWord

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

Arena::Chunk::Chunk(std::uint32_t number, std::shared_ptr<Mapping> whole)
    : id(number), memory(std::move(whole)) {
  free.emplace(0, memory->size());
}

Result<std::shared_ptr<Mapping>> Arena::take(std::size_t bytes) {
  const std::size_t size = rounded(std::max<std::size_t>(bytes, 1), kAlignment);
  const std::lock_guard lock(mutex_);
  std::shared_ptr<Chunk> chunk;
  std::map<std::size_t, std::size_t>::iterator hole;
  for (const auto& one : chunks_) {
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
  // Of slots, pages come when they are needed, but for those of the state behind them. Links are written by the peer, too.
  const std::size_t later = use_ == Use::links || bytes < kStateBytes ? 0 : bytes - kStateBytes;
  if (auto filled = chunk->memory->fill(offset + later, bytes - later); !filled) {
    if (room == chunk->memory->size()) std::erase(chunks_, chunk);
    return filled.error();
  }
  chunk->free.erase(hole);
  if (room > size) chunk->free.emplace(offset + size, room - size);
  std::byte* data = chunk->memory->data() + offset;
  const int file = chunk->memory->file();
  // What somebody had before is still there.
  if (offset < chunk->touched) {
    if (use_ == Use::links) {
      std::memset(data, 0, std::min(size, chunk->touched - offset));
    } else if (bytes >= kStateBytes) {
      std::memset(data + bytes - kStateBytes, 0, kStateBytes);
    }
  }
  chunk->touched = std::max(chunk->touched, offset + size);
  auto part = std::make_shared<Part>(weak_from_this(), chunk, offset, size);
  return std::make_shared<Mapping>(data, bytes, std::shared_ptr<const void>(std::move(part)), file, offset);
}

Result<std::shared_ptr<Arena::Chunk>> Arena::grow(std::size_t bytes) {
  static std::atomic<std::uint32_t> last_id{0};
  const std::size_t doubled = (use_ == Use::slots ? kFirstSlots : kFirstLinks)
                              << std::min<std::size_t>(chunks_.size(), 16);
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
  chunks_.push_back(std::make_shared<Chunk>(++last_id, std::move(*memory)));
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

}  // namespace horus::msg
