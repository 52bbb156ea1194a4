// SPDX-License-Identifier: Apache-2.0
// Memory that messages and links are in: of this process alone, or a file that other processes map too. Internal; any
// thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include <horus/base/result.hpp>

namespace horus::HORUS_ABI::msg {

/// Mapped memory, shared by whoever keeps a pointer to it; the last one unmaps. `file` is a memfd, or -1 for memory of
/// this process alone, and for a part of a larger mapping.
class Mapping {
 public:
  /// Zeroed memory; pages come into being when they are touched. `sharable`: a sealed memfd that others can map.
  /// Errors, with the name of the limit: ENOMEM, EMFILE, EFBIG.
  static Result<std::shared_ptr<Mapping>> create(std::size_t bytes, bool sharable, const char* name);
  /// Another process's memory: checked for its size and seals first (a peer could cut it short under a reader).
  /// Takes `file`. Errors: kBadInput for memory that is too small or not sealed; ENOMEM.
  static Result<std::shared_ptr<Mapping>> adopt(int file, std::size_t bytes, bool writable);

  /// `file_of`: see io::System::world_process.
  Mapping(std::byte* data, std::size_t size, int file, std::uint64_t file_of = 0) noexcept
      : data_(data), size_(size), file_(file), file_of_(file_of) {}
  /// Part of memory that `owner` keeps mapped, at `offset` of its `file`: -1 for memory of this process alone, and for a
  /// peer's.
  Mapping(std::byte* data, std::size_t size, std::shared_ptr<const void> owner, int file = -1,
          std::size_t offset = 0) noexcept
      : data_(data), size_(size), file_(-1), owner_(std::move(owner)), pages_(file), offset_(offset) {}
  /// `bytes` of a larger one. Errors: kBadInput when it does not reach that far.
  static Result<std::shared_ptr<Mapping>> part(const std::shared_ptr<Mapping>& whole, std::uint64_t offset,
                                               std::size_t bytes);
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping();

  [[nodiscard]] std::byte* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] int file() const noexcept { return file_; }
  /// It stays mapped; nobody else can be given it any more.
  void close_file() noexcept;
  /// Has the pages of `bytes` from `at` on, which are reserved only until then: writing to one that the system cannot spare
  /// any more would be SIGBUS, here or in a peer. Memory of this process alone needs none. Errors, with the name of the
  /// limit: ENOSPC, ENOMEM.
  Result<> fill(std::size_t at, std::size_t bytes) const;
  /// Bytes that this thread has filled, for tests.
  [[nodiscard]] static std::uint64_t filled_here() noexcept;
  /// Whether there is anything that fill() does.
  [[nodiscard]] bool fills() const noexcept { return pages_file() >= 0; }
  /// Gives its pages back; it is all zeros then. False when it cannot be had: memory that others see goes when nobody has it
  /// mapped any more, since what is sealed has no holes punched into it.
  [[nodiscard]] bool forget_pages() const noexcept;
  /// From now on nobody else may map it writable (F_SEAL_FUTURE_WRITE).
  Result<> forbid_writers();

 private:
  [[nodiscard]] int pages_file() const noexcept { return owner_ != nullptr ? pages_ : file_; }

  std::byte* data_;
  std::size_t size_;
  int file_;                           // -1: of this process alone, or closed
  bool adopted_ = false;               // it is a peer's
  std::uint64_t file_of_ = 0;          // the process of a simulated world; 0: the kernel's
  std::shared_ptr<const void> owner_;  // of a part: what keeps it mapped
  int pages_ = -1;                     // of a part: the owner's file
  std::size_t offset_ = 0;             // where it begins there
};

}  // namespace horus::HORUS_ABI::msg
