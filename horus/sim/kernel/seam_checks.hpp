// SPDX-License-Identifier: Apache-2.0
// What must hold at the seam between a reactor and its backend, looked at while a world runs: each operation completes
// once, buffers are left alone while it does, streams keep their bytes. One thread, the world's; one per reactor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <linux/io_uring.h>
#include <sys/uio.h>

#include <horus/sim/kernel/kernel.hpp>

namespace horus::HORUS_ABI::sim::detail {

/// Memory that an operation works on, for as long as it does. What it receives into is scrambled meanwhile: who reads too
/// early reads nonsense. Long buffers are looked at near both ends only.
class WatchedBuffer {
 public:
  enum class Direction : std::uint8_t { out, in };
  WatchedBuffer() = default;
  /// `spare`: memory of one that has ended, which is used again.
  WatchedBuffer(Direction direction, std::vector<iovec> regions, std::uint64_t salt, std::string spare = {});
  /// The operation has moved the first `moved` bytes. False: somebody else wrote to the buffer meanwhile.
  [[nodiscard]] bool release(std::size_t moved);
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  /// The first `count` bytes.
  [[nodiscard]] std::string text(std::size_t count) const;
  /// Its memory, for the next one; it is at its end.
  [[nodiscard]] std::string take_memory() noexcept { return std::move(before_); }

 private:
  template <class Each>
  void each_watched(Each&& each);

  Direction direction_ = Direction::out;
  std::vector<iovec> regions_;
  std::size_t size_ = 0;
  std::uint64_t salt_ = 0;
  std::string before_;  // of the watched bytes
};

class SeamChecks {
 public:
  SeamChecks(Engine& engine, SimProvider& kernel, std::string who)
      : engine_(engine), kernel_(kernel), who_(std::move(who)) {}

  /// Before an entry goes down.
  void submitted(const io_uring_sqe& entry);
  /// A completion has come up. False: nobody waits for it, it must not go on. One that names a buffer which was not there
  /// to be filled becomes a failure.
  [[nodiscard]] bool completed(std::uint64_t user_data, std::int32_t& result, std::uint32_t& flags);
  /// All that has come so far has been told: operations whose completion is known to be lost. They count as ended.
  [[nodiscard]] std::vector<std::uint64_t> lost();
  /// Entries that complete only when they fail, and did not, have succeeded.
  void settle_immediates();
  void look_at_time(std::int64_t now_ns);

  void registered(const io_uring_buf_ring* ring, std::uint32_t entries, std::uint16_t group);
  void unregistered(std::uint16_t group);
  /// Buffers that were given back since the last look.
  void look_at_groups();
  /// The reactor is gone.
  void ended();

 private:
  struct Operation {
    std::uint64_t number = 0;
    std::uint8_t opcode = 0;
    bool immediate = false;
    bool streams = false;  // its bytes belong to a stream, in their order
    bool receives = false;
    int fd = -1;
    std::uint64_t target = 0;  // of a cancellation by user_data
    std::uint32_t length = 0;
    std::uint16_t group = 0;
    WatchedBuffer buffer;
    std::shared_ptr<Object> object;
  };
  struct Group {
    const io_uring_buf_ring* ring = nullptr;
    std::uint16_t mask = 0;
    std::uint16_t seen = 0;  // the tail
    std::map<std::uint16_t, WatchedBuffer> provided;
  };
  using Operations = std::multimap<std::uint64_t, Operation>;
  std::string spare() noexcept;
  void keep_memory(WatchedBuffer& ended) noexcept;
  void violated(const std::string& what);
  bool told(Operation& operation, std::int32_t result, std::uint32_t flags, bool last);
  void follow(const Operation& operation, const std::string& bytes);
  static std::string name_of(const Operation& operation);

  Engine& engine_;
  SimProvider& kernel_;
  const std::string who_;
  std::uint64_t last_number_ = 0;
  std::int64_t last_time_ns_ = 0;
  Operations in_flight_;  // by user_data, in the order of submission
  std::map<std::uint16_t, Group> groups_;
  std::vector<std::string> spare_;  // memory for copies of buffers
  struct NotFound {
    std::uint64_t target;
    std::uint64_t number;  // of the cancellation: what was submitted later is another operation
  };
  std::vector<NotFound> not_found_;
};

}  // namespace horus::HORUS_ABI::sim::detail
