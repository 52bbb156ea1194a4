// SPDX-License-Identifier: Apache-2.0
// Memory that a hub shares with other processes, in few descriptors: large sealed pieces, from which publishers' slots
// and links are cut. Any thread. Internal.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include <horus/base/result.hpp>
#include <horus/msg/link/mapping.hpp>

namespace horus::HORUS_ABI::msg {

/// Grows by chunks that double, from a few hundred KiB to 64 MiB; what is larger than that has one of its own. A chunk in
/// which nothing is left goes back to the system: so large pieces are not among small ones, which stay.
class Arena : public std::enable_shared_from_this<Arena> {
 public:
  enum class Use : std::uint8_t {
    slots,  ///< others may only read
    links,  ///< one peer writes too
  };
  struct Chunk {
    Chunk(std::uint32_t number, std::shared_ptr<Mapping> whole, bool for_large);
    const std::uint32_t id;  // of this process
    const std::shared_ptr<Mapping> memory;
    const bool large;                         // of large pieces
    std::map<std::size_t, std::size_t> free;  // offset → bytes
    std::size_t touched = 0;                  // nothing behind this was ever given away: zeros
  };
  struct Place {
    std::shared_ptr<Chunk> chunk;  // null: not from here
    std::uint64_t offset = 0;
  };

  explicit Arena(Use use) noexcept : use_(use) {}

  /// Addresses for `bytes`, aligned to kAlignment, which hold anything: pages come with Mapping::fill(). They come back when
  /// the mapping goes. Errors: ENOMEM, EMFILE, EFBIG.
  Result<std::shared_ptr<Mapping>> reserve(std::size_t bytes);
  /// The same with pages, all zeros. Errors: ENOSPC too.
  Result<std::shared_ptr<Mapping>> take(std::size_t bytes);
  /// The same a little at a time, at each call of next(): giving much memory its pages takes long. Keeps the arena.
  class Slowly {
   public:
    static constexpr std::size_t kStep = std::size_t{1} << 20;  // bytes

    Slowly(std::shared_ptr<Arena> arena, std::size_t bytes) noexcept
        : arena_(std::move(arena)), bytes_(bytes) {}
    /// Null: there is more to do. Errors: as take().
    Result<std::shared_ptr<Mapping>> next();

   private:
    const std::shared_ptr<Arena> arena_;
    const std::size_t bytes_;
    std::shared_ptr<Mapping> memory_;
    std::size_t used_before_ = 0;
    std::size_t done_ = 0;
  };
  [[nodiscard]] Place place_of(const Mapping& part) const;
  [[nodiscard]] Use use() const noexcept { return use_; }
  /// Descriptors in use, for tests.
  [[nodiscard]] std::size_t chunks() const;
  /// Bytes of pages in use, for tests.
  [[nodiscard]] std::size_t pages() const;

 private:
  struct Part;
  static constexpr std::size_t kAlignment = 128;

  Result<std::shared_ptr<Mapping>> cut(std::size_t bytes, std::size_t& used_before);
  Result<std::shared_ptr<Chunk>> grow(std::size_t bytes);
  void give_back(const std::shared_ptr<Chunk>& chunk, std::size_t offset, std::size_t bytes) noexcept;

  const Use use_;
  mutable std::mutex mutex_;
  std::vector<std::shared_ptr<Chunk>> chunks_;
};

}  // namespace horus::HORUS_ABI::msg
