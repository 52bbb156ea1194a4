// SPDX-License-Identifier: Apache-2.0
// Where the bytes of a recording come from: a file, or memory. The thread of whoever reads.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/io/bytes.hpp>
#include <horus/task/task.hpp>

namespace horus::HORUS_ABI::bag {

/// Bytes of a known number that are read anywhere.
class HORUS_API Source {
 public:
  virtual ~Source() = default;

  /// Fills the buffer. Errors: those of read(2); kEndOfStream when the bytes end before.
  [[nodiscard]] virtual Task<Result<>> read(io::MutableBytes buffer, std::uint64_t offset) = 0;
  /// In bytes.
  [[nodiscard]] virtual std::uint64_t size() const noexcept = 0;
  /// Stands in errors.
  [[nodiscard]] virtual const std::string& name() const noexcept = 0;
};

/// A file, with the size that it has now; on the reactor of this thread. Errors: those of open(2), with the path.
[[nodiscard]] HORUS_API Task<Result<std::unique_ptr<Source>>> open_file(std::string path);
/// A file of the real disk, also in a simulated world; any thread, which waits while the disk works. Errors: those of open(2);
/// EINVAL for what is no regular file.
[[nodiscard]] HORUS_API Result<std::unique_ptr<Source>> open_blocking(const std::string& path);
/// Memory, which must outlive the source.
[[nodiscard]] HORUS_API std::unique_ptr<Source> in_memory(std::span<const std::byte> bytes,
                                                          std::string name = "memory");

}  // namespace horus::HORUS_ABI::bag
