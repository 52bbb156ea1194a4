// SPDX-License-Identifier: Apache-2.0
// What outlives a session: messages that the peer's program still holds, or has yet to take from its queues, although its
// hub or the connection has gone. Their slots are not used again before it has let go or ended. The transport's reactor.
// Internal.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <vector>

#include <horus/io/descriptor.hpp>
#include <horus/msg/link/link_memory.hpp>
#include <horus/msg/link/slot_table.hpp>
#include <horus/task/task.hpp>

namespace horus::HORUS_ABI::msg {

class Bell;
class Outbox;
class Outlet;

/// A subscriber of a peer that one of our publishers serves.
struct ServedLink {
  LinkMemory memory;
  std::shared_ptr<SlotTable> slots;  // not used again before the subscriber has let go
  std::weak_ptr<Outbox> outbox;
  std::weak_ptr<Outlet> outlet;
  std::uint64_t publisher = 0;
  std::uint32_t reserved = 0;
  std::uint64_t request = 0;
  std::uint64_t told = 0;  // the last run of slots that it knows

  /// The subscriber takes nothing more.
  void end() const noexcept;
  /// It takes nothing more, and holds nothing: for one whose process has gone.
  void forget() const noexcept;
  [[nodiscard]] bool let_go() const noexcept;
  /// The subscriber never heard of the link, and will not: nobody else lets go of it.
  [[nodiscard]] bool was_never_taken() const noexcept;
};

/// Has the publishers of `links` look at them, each on its own thread.
void tell_publishers(const std::vector<ServedLink>& links);

/// The links of sessions that ended whose subscribers live on.
class LentSlots {
 public:
  /// True when there is a place for `link`: of one publisher's messages at most three quarters may be kept so.
  bool admit(const ServedLink& link);
  /// Keeps links that were admitted until their subscribers have all let go, or `process` (a pidfd) has ended.
  static Task<> keep(std::shared_ptr<LentSlots> self, std::vector<ServedLink> links, io::Descriptor process);

 private:
  void release();

  std::list<std::vector<ServedLink>> kept_;          // by session
  std::map<std::uint64_t, std::uint64_t> reserved_;  // by publisher: messages
  std::size_t links_ = 0;
};

}  // namespace horus::HORUS_ABI::msg
