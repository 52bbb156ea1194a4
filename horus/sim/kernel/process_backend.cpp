// SPDX-License-Identifier: Apache-2.0
#include <horus/sim/kernel/process_backend.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include <unistd.h>

namespace horus::HORUS_ABI::sim::detail {
namespace {

constexpr Duration kLatest = std::chrono::milliseconds(1);  // a completion is kept back

bool happens(Engine& engine, unsigned rate, std::uint64_t& counter) noexcept {
  if (rate == 0 || !engine.fault_random().chance(rate, 1000)) return false;
  ++counter;
  return true;
}

}  // namespace

ProcessRing::ProcessRing(std::shared_ptr<io::Ring> real, Engine& engine, Context& context,
                         SimProvider& kernel, std::string who)
    : RelayRing(std::move(real)),
      engine_(engine),
      context_(context),
      checks_(engine, kernel, std::move(who)),
      made_by_(::getpid()) {}

// A forked child that throws its parent's reactor away has ended nothing.
ProcessRing::~ProcessRing() {
  if (::getpid() == made_by_) checks_.ended();
}

int ProcessRing::enter(std::uint32_t to_submit, std::uint32_t min_complete,
                       std::int64_t deadline_ns) noexcept {
  if (early_) {
    early_ = false;
  } else if (happens(engine_, engine_.faults().early_return, engine_.oddities().early_returns)) {
    constexpr std::array kReasons{-EINTR, -EAGAIN, -EBUSY};
    early_ = true;
    context_.wake();
    return kReasons[static_cast<std::size_t>(engine_.fault_random().below(kReasons.size()))];
  }
  checks_.look_at_groups();
  const int result = RelayRing::enter(to_submit, min_complete, deadline_ns);
  if (behind()) {
    context_.wake();
  } else {
    checks_.settle_immediates();
  }
  return result;
}

void ProcessRing::submitting(io_uring_sqe& entry) noexcept { checks_.submitted(entry); }

void ProcessRing::completing(std::vector<Completion>& batch) noexcept {
  std::erase_if(batch,
                [this](Completion& one) { return !checks_.completed(one.user_data, one.result, one.flags); });
  if (!behind()) {
    // The run is over for the report; the program itself must still be able to end.
    for (const std::uint64_t user_data : checks_.lost()) batch.push_back({user_data, -ECANCELED, 0});
  }
  keep_some_back(batch);
  if (batch.size() > 1 &&
      happens(engine_, engine_.faults().completions_mixed, engine_.oddities().mixed_batches))
    mix(batch);
}

// Completions that come later than others; those of one operation stay in their order.
void ProcessRing::keep_some_back(std::vector<Completion>& batch) noexcept {
  const unsigned rate = engine_.faults().completion_late;
  if (rate == 0 && late_.empty()) return;
  const auto waits = [this](std::uint64_t user_data) {
    return std::any_of(late_.begin(), late_.end(),
                       [&](const Late& one) { return one.completion.user_data == user_data; });
  };
  std::vector<Completion> passed;
  const std::int64_t now = context_.now();
  for (const Late& one : std::exchange(late_, {})) {
    if (one.due_ns <= now && !waits(one.completion.user_data)) {
      passed.push_back(one.completion);
    } else {
      late_.push_back(one);
    }
  }
  for (const Completion& completion : batch) {
    const bool behind_others = waits(completion.user_data);
    if (!behind_others && !happens(engine_, rate, engine_.oddities().late_completions)) {
      passed.push_back(completion);
      continue;
    }
    const Duration delay = engine_.fault_random().between(Duration(1), kLatest);
    std::int64_t due = now + delay.count();
    for (const Late& one : late_) {
      if (one.completion.user_data == completion.user_data) due = std::max(due, one.due_ns);
    }
    late_.push_back({completion, due});
    context_.after(Duration(due - now), [this] { context_.wake(); });
  }
  batch = std::move(passed);
}

std::int64_t ProcessRing::next_due() const noexcept {
  std::int64_t due = kNever;
  for (const Late& one : late_) due = std::min(due, one.due_ns);
  return due;
}

// Another order; the completions of one operation stay in theirs.
void ProcessRing::mix(std::vector<Completion>& batch) noexcept {
  std::vector<Completion> before = batch;
  for (std::size_t i = batch.size(); i > 1; --i) {
    const std::uint64_t other = engine_.fault_random().below(i);
    std::swap(batch[i - 1], batch[static_cast<std::size_t>(other)]);
  }
  for (Completion& place : batch) {
    const auto next = std::find_if(before.begin(), before.end(),
                                   [&](const Completion& one) { return one.user_data == place.user_data; });
    place = *next;
    before.erase(next);
  }
}

int ProcessRing::register_buffer_ring(io_uring_buf_ring* ring, std::uint32_t entries,
                                      std::uint16_t group) noexcept {
  const int result = RelayRing::register_buffer_ring(ring, entries, group);
  if (result == 0) checks_.registered(ring, entries, group);
  return result;
}
int ProcessRing::unregister_buffer_ring(std::uint16_t group) noexcept {
  checks_.unregistered(group);
  return RelayRing::unregister_buffer_ring(group);
}

ProcessClock::ProcessClock(std::shared_ptr<io::Clock> real, Engine& engine, std::shared_ptr<ProcessRing> ring)
    : ForwardingClock(real, {.through_seam = true, .only_asleep = true, .mixes_ready = true}),
      engine_(engine),
      ring_(std::move(ring)) {}

std::int64_t ProcessClock::now_ns() noexcept {
  const std::int64_t now = ForwardingClock::now_ns();
  ring_->checks().look_at_time(now);
  return now;
}

std::uint64_t ProcessClock::choose(std::uint64_t count) noexcept {
  if (count < 2 || !happens(engine_, engine_.faults().ready_mixed, engine_.oddities().mixed_turns)) return 0;
  return engine_.fault_random().below(count);
}

io::Backend process_backend(io::Backend real, Engine& engine, Context& context, SimProvider& kernel,
                            std::string who) {
  auto ring = std::make_shared<ProcessRing>(std::move(real.ring), engine, context, kernel, std::move(who));
  real.ring = ring;
  real.clock = std::make_shared<ProcessClock>(std::move(real.clock), engine, std::move(ring));
  return real;
}

}  // namespace horus::HORUS_ABI::sim::detail
