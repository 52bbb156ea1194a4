// SPDX-License-Identifier: Apache-2.0
// One direction of a byte stream, as its two ends tell it: what the sender's operations took must be what the receiver's
// gave, byte for byte. One thread, the world's; both ends share it.
#pragma once

#include <horus/base/compiler.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace horus::HORUS_ABI::sim::detail {

/// Either end may be told first. Bounded by what is in flight.
class Transcript {
 public:
  /// The sender's next bytes. False: the receiver got others.
  bool sent(std::string_view bytes) { return match(bytes, received_, sent_); }
  /// The receiver's next bytes. False: the sender sent others.
  bool received(std::string_view bytes) { return match(bytes, sent_, received_); }
  // Who is about to send or receive. Where a second process does, only the kernel knows whose bytes come first: nothing
  // is compared any more.
  void sends(std::uint64_t who) noexcept { used(who, sender_); }
  void receives(std::uint64_t who) noexcept { used(who, receiver_); }
  /// Bytes that both agree on.
  [[nodiscard]] std::uint64_t agreed() const noexcept { return agreed_; }

 private:
  bool match(std::string_view bytes, std::string& others, std::string& own) {
    if (broken_) return true;  // told once, or shared
    const std::size_t common = std::min(bytes.size(), others.size());
    broken_ = std::string_view(others).substr(0, common) != bytes.substr(0, common);
    agreed_ += common;
    others.erase(0, common);
    own.append(bytes.substr(common));
    return !broken_;
  }

  void used(std::uint64_t who, std::uint64_t& known) noexcept {
    if (known == 0) known = who;
    broken_ = broken_ || known != who;
  }

  std::uint64_t sender_ = 0;
  std::uint64_t receiver_ = 0;
  std::string sent_;      // and not received yet
  std::string received_;  // before the sender was told that it is sent
  std::uint64_t agreed_ = 0;
  bool broken_ = false;
};

}  // namespace horus::HORUS_ABI::sim::detail
