// SPDX-License-Identifier: Apache-2.0
// The bytes of a simulated file, in pages: holes take no memory, and a copy (what the disk has) shares its pages.
// A plain value; one thread.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>

namespace horus::HORUS_ABI::sim::detail {

class Contents {
 public:
  static constexpr std::size_t kPage = 4096;  // bytes; reaches the disk whole or not at all

  Contents() = default;
  explicit Contents(std::string_view text) { write(0, text.data(), text.size()); }

  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
  /// Bytes that are not holes, in whole pages.
  [[nodiscard]] std::uint64_t allocated() const noexcept { return pages_.size() * kPage; }
  /// At most `size` bytes from `offset`: how many there were. Holes are zeros.
  std::size_t read(std::uint64_t offset, void* out, std::size_t size) const;
  void write(std::uint64_t offset, const void* data, std::size_t size);
  /// Cuts, or extends with a hole.
  void resize(std::uint64_t size);
  /// Makes the pages of a range real.
  void allocate(std::uint64_t offset, std::uint64_t size);
  [[nodiscard]] std::string text() const;

  /// The numbers of the pages in which the two differ, in order.
  [[nodiscard]] static std::set<std::uint64_t> differing(const Contents& one, const Contents& other);
  /// Takes page `number` as `from` has it: its bytes, or a hole.
  void take_page(std::uint64_t number, const Contents& from);
  friend bool operator==(const Contents& one, const Contents& other) noexcept {
    return one.size_ == other.size_ && one.pages_ == other.pages_;
  }

 private:
  using Page = std::shared_ptr<const std::string>;
  std::string& writable(std::uint64_t number);

  std::map<std::uint64_t, Page> pages_;
  std::uint64_t size_ = 0;
};

}  // namespace horus::HORUS_ABI::sim::detail
