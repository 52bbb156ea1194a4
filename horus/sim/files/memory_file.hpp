// SPDX-License-Identifier: Apache-2.0
// Memory that processes of a world share: a file of the real kernel's, which each of them maps for itself, as read-only as
// it may. Closed with the last descriptor of the world that refers to it. One thread, the world's.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstdint>

#include <unistd.h>

#include <horus/sim/base/objects.hpp>

namespace horus::HORUS_ABI::sim::detail {

class MemoryFile final : public Object {
 public:
  /// Takes `file`, a descriptor of the real kernel's.
  MemoryFile(Engine& engine, int file) noexcept : Object(engine), file_(file) {}
  ~MemoryFile() override { ::close(file_); }
  [[nodiscard]] Kind kind() const noexcept override { return Kind::unknown; }
  [[nodiscard]] std::uint32_t ready() const noexcept override { return 0; }
  [[nodiscard]] int file() const noexcept { return file_; }

 private:
  const int file_;
};

}  // namespace horus::HORUS_ABI::sim::detail
