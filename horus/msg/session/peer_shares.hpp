// SPDX-License-Identifier: Apache-2.0
// What peers have of this process, and how much of it one peer, and all of them together, may have. One thread. Internal.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstddef>

namespace horus::HORUS_ABI::msg {

/// A bound on one kind of thing: for each peer, for all peers, and what each peer is sure of although others have used up
/// the sum.
struct ShareLimit {
  std::size_t one = 0;
  std::size_t all = 0;
  std::size_t sure = 0;
};

/// What all peers together have of one kind.
class SharedTotal {
 public:
  explicit SharedTotal(ShareLimit limit) noexcept : limit_(limit) {}
  SharedTotal(const SharedTotal&) = delete;
  SharedTotal& operator=(const SharedTotal&) = delete;

  [[nodiscard]] const ShareLimit& limit() const noexcept { return limit_; }
  [[nodiscard]] std::size_t used() const noexcept { return used_; }

 private:
  friend class PeerShare;
  const ShareLimit limit_;
  std::size_t used_ = 0;
};

/// One peer's part of it, which comes back with its end.
class PeerShare {
 public:
  explicit PeerShare(SharedTotal& total) noexcept : total_(total) {}
  PeerShare(const PeerShare&) = delete;
  PeerShare& operator=(const PeerShare&) = delete;
  ~PeerShare() { total_.used_ -= used_; }

  /// `more` of it would still be within the peer's share.
  [[nodiscard]] bool has_room(std::size_t more) const noexcept {
    const ShareLimit& limit = total_.limit_;
    if (used_ > limit.one || more > limit.one - used_) return false;
    return used_ + more <= limit.sure || (total_.used_ < limit.all && more <= limit.all - total_.used_);
  }
  /// False when it has no room for so much, and then nothing is added.
  [[nodiscard]] bool add(std::size_t more) noexcept {
    if (!has_room(more)) return false;
    used_ += more;
    total_.used_ += more;
    return true;
  }
  void remove(std::size_t less) noexcept {
    used_ -= less;
    total_.used_ -= less;
  }
  [[nodiscard]] std::size_t used() const noexcept { return used_; }

 private:
  SharedTotal& total_;
  std::size_t used_ = 0;
};

}  // namespace horus::HORUS_ABI::msg
