// SPDX-License-Identifier: Apache-2.0
// Memory that a hub shares with other processes, in few descriptors: large sealed pieces, from which publishers' slots
// and links are cut. Any thread. Internal.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include <horus/base/result.hpp>
#include <horus/msg/slot_pool.hpp>

namespace horus::msg {

/// Grows by chunks that double, from a few hundred KiB to 64 MiB; what is larger than that has one of its own. A chunk in
/// which nothing is left goes back to the system.
class Arena : public std::enable_shared_from_this<Arena> {
 public:
  enum class Use : std::uint8_t {
    slots,  ///< others may only read
    links,  ///< one peer writes too
  };
  struct Chunk {
    Chunk(std::uint32_t number, std::shared_ptr<Mapping> whole);
    const std::uint32_t id;  // of this process
    const std::shared_ptr<Mapping> memory;
    std::map<std::size_t, std::size_t> free;  // offset → bytes
    std::size_t touched = 0;                  // nothing behind this was ever given away: zeros
  };
  struct Place {
    std::shared_ptr<Chunk> chunk;  // null: not from here
    std::uint64_t offset = 0;
  };

  explicit Arena(Use use) noexcept : use_(use) {}

  /// `bytes` of memory, aligned to kAlignment; of links all zeros, of slots the last cache line alone. Whatever is zeroed has
  /// its pages; the rest comes with Mapping::fill(). It comes back when the mapping goes. Errors: ENOMEM, EMFILE, EFBIG,
  /// ENOSPC.
  Result<std::shared_ptr<Mapping>> take(std::size_t bytes);
  [[nodiscard]] Place place_of(const Mapping& part) const;
  [[nodiscard]] Use use() const noexcept { return use_; }
  /// Descriptors in use, for tests.
  [[nodiscard]] std::size_t chunks() const;

 private:
  struct Part;
  static constexpr std::size_t kAlignment = 128;

  Result<std::shared_ptr<Chunk>> grow(std::size_t bytes);
  void give_back(const std::shared_ptr<Chunk>& chunk, std::size_t offset, std::size_t bytes) noexcept;

  const Use use_;
  mutable std::mutex mutex_;
  std::vector<std::shared_ptr<Chunk>> chunks_;
};

}  // namespace horus::msg
