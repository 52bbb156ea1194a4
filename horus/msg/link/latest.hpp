// SPDX-License-Identifier: Apache-2.0
// What `latest()` remembers: the newest message of each publisher, so that when the one that sent last dies, the newest of
// those that live is still there. The subscriber's thread. Internal.
#pragma once

#include <horus/base/compiler.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <utility>
#include <vector>

#include <horus/msg/link/inbox.hpp>

namespace horus::HORUS_ABI::msg {

/// `Box` tells what a message is worth: `still_counts(taken)`, and `outlives_publishers()` where the newest of all is
/// enough.
template <class Message>
class Latest {
 public:
  /// After every message that was taken.
  template <class Box>
  void keep(Message message, const Inbox::Taken& taken, Box& box) {
    const auto is_same = [&](const Kept& kept) {
      return kept.taken.inlet == taken.inlet && kept.taken.serial == taken.serial;
    };
    auto place = std::find_if(kept_.begin(), kept_.end(), is_same);
    if (place == kept_.end() && box.outlives_publishers() && !kept_.empty()) {
      if (kept_.front().taken.published_ns > taken.published_ns && box.still_counts(kept_.front().taken))
        return;
      place = kept_.begin();
    }
    if (place == kept_.end()) {
      drop_old(box);
      kept_.emplace_back();
      place = std::prev(kept_.end());
    }
    place->message = std::move(message);
    place->taken = taken;
    place->order = ++order_;
  }
  /// The newest one that counts, or null. It stays where it is until the next call of anything here.
  template <class Box>
  Message* newest(Box& box) {
    drop_old(box);
    const auto is_older = [](const Kept& one, const Kept& other) {
      return std::pair(one.taken.published_ns, one.order) < std::pair(other.taken.published_ns, other.order);
    };
    const auto newest = std::max_element(kept_.begin(), kept_.end(), is_older);
    return newest == kept_.end() ? nullptr : &newest->message;
  }
  /// Its publisher's place for it is needed. False when there is none of that link.
  bool forget(const Inlet* inlet) noexcept {
    return std::erase_if(kept_, [&](const Kept& kept) { return kept.taken.inlet == inlet; }) > 0;
  }
  void clear() noexcept { kept_.clear(); }

 private:
  struct Kept {
    Message message;
    Inbox::Taken taken;
    std::uint64_t order = 0;  // of taking
  };
  template <class Box>
  void drop_old(Box& box) {
    std::erase_if(kept_, [&](const Kept& kept) { return !box.still_counts(kept.taken); });
  }

  std::vector<Kept> kept_;  // by link, as many as publishers live
  std::uint64_t order_ = 0;
};

}  // namespace horus::HORUS_ABI::msg
