// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/shm/shm_lent.hpp>

#include <algorithm>
#include <chrono>
#include <utility>

#include <horus/io/loop/lookout.hpp>
#include <horus/io/poll.hpp>
#include <horus/io/time.hpp>
#include <horus/msg/link/outbox.hpp>

namespace horus::HORUS_ABI::msg {
namespace {

constexpr std::size_t kMostLent = 4096;  // links
constexpr Duration kFirstLook = std::chrono::milliseconds(20);
constexpr Duration kLastLook = std::chrono::seconds(1);

}  // namespace

void ServedLink::end() const noexcept {
  std::uint32_t open = 0;
  memory.state->subscriber_closed.compare_exchange_strong(open, 1, std::memory_order_acq_rel);
}

void ServedLink::forget() const noexcept {
  memory.state->subscriber_closed.store(2, std::memory_order_release);
}

bool ServedLink::let_go() const noexcept {
  return memory.state->subscriber_closed.load(std::memory_order_acquire) > 1;
}

// Against Arriving::claim(): one of the two comes first.
bool ServedLink::was_never_taken() const noexcept {
  std::uint32_t nobody = 0;
  return memory.state->claimed.compare_exchange_strong(nobody, 2, std::memory_order_acq_rel);
}

void tell_publishers(const std::vector<ServedLink>& links) {
  std::map<std::shared_ptr<io::Waker>, std::vector<std::weak_ptr<Outbox>>> outboxes;
  for (const ServedLink& link : links) {
    if (const auto outbox = link.outbox.lock(); outbox != nullptr && outbox->owner().waker != nullptr)
      outboxes[outbox->owner().waker].push_back(link.outbox);
  }
  for (auto& [waker, boxes] : outboxes) {
    waker->hand_over([all = std::move(boxes)] {
      for (const auto& weak : all) {
        if (const auto alive = weak.lock()) alive->look_after_links();
      }
    });
  }
}

bool LentSlots::admit(const ServedLink& link) {
  release();
  const auto outbox = link.outbox.lock();
  const auto known = reserved_.find(link.publisher);
  const std::uint64_t reserved = link.reserved + (known != reserved_.end() ? known->second : 0);
  if (links_ >= kMostLent) return false;
  if (outbox != nullptr && reserved > std::uint64_t{outbox->options().max_queued} * 3 / 4) return false;
  reserved_[link.publisher] = reserved;
  ++links_;
  return true;
}

void LentSlots::release() {
  std::vector<ServedLink> done;
  for (std::vector<ServedLink>& links : kept_) {
    std::erase_if(links, [&](ServedLink& link) {
      if (!link.let_go()) return false;
      done.push_back(std::move(link));
      return true;
    });
  }
  for (const ServedLink& link : done) {
    --links_;
    const auto known = reserved_.find(link.publisher);
    known->second -= link.reserved;
    if (known->second == 0) reserved_.erase(known);
  }
  tell_publishers(done);
}

Task<> LentSlots::keep(std::shared_ptr<LentSlots> self, std::vector<ServedLink> links,
                       io::Descriptor process) {
  const auto ours = self->kept_.insert(self->kept_.end(), std::move(links));
  Duration pause = kFirstLook;
  while (true) {
    self->release();
    if (ours->empty()) break;
    auto waiting = with_timeout(pause, io::wait_readable(process.get()));
    const Result<short> ended = co_await waiting;
    if (ended) {
      for (const ServedLink& link : *ours) link.forget();
    } else if (!ended.error().timed_out()) {
      break;  // the hub goes, and its publishers with it
    }
    pause = std::min(pause * 2, kLastLook);
  }
  self->kept_.erase(ours);
}

}  // namespace horus::HORUS_ABI::msg
