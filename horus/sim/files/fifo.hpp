// SPDX-License-Identifier: Apache-2.0
// Named pipes of the simulated world. One thread, the world's. The open ends share the channel; a file that nobody has
// open holds no bytes.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <horus/sim/base/objects.hpp>
#include <horus/sim/files/file_system.hpp>

namespace horus::HORUS_ABI::sim::detail {

class FifoEnd;

class FifoChannel {
 public:
  std::string data;
  int readers = 0;
  int writers = 0;
  std::uint64_t writers_ever = 0;
  std::vector<FifoEnd*> ends;

  void changed() noexcept;
};

/// What open gave for a FIFO.
class FifoEnd final : public Object {
 public:
  /// As open(2) with O_NONBLOCK: -ENXIO for a writer without a reader.
  static int open(Engine& engine, Inode& inode, int flags, std::shared_ptr<Object>& opened);

  FifoEnd(Engine& engine, std::shared_ptr<FifoChannel> channel, bool reads, bool writes);
  ~FifoEnd() override;
  [[nodiscard]] Kind kind() const noexcept override { return Kind::stream; }
  [[nodiscard]] bool is_byte_stream() const noexcept override { return true; }
  [[nodiscard]] std::uint32_t ready() const noexcept override;
  ssize_t receive(msghdr& message, int flags) override;
  ssize_t send(const msghdr& message, int flags) override;
  void closed() override;
  void look_again() noexcept { changed(); }

 private:
  std::shared_ptr<FifoChannel> channel_;
  bool reads_;
  bool writes_;
  bool open_ = true;
  std::uint64_t writers_before_;  // an end is told only when somebody has written since it was opened
};

}  // namespace horus::HORUS_ABI::sim::detail
