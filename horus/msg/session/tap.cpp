// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/tap.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <utility>

#include <horus/base/assert.hpp>
#include <horus/base/log.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/replay/journal.hpp>
#include <horus/msg/link/inbox.hpp>
#include <horus/msg/link/outbox.hpp>
#include <horus/msg/session/hub_core.hpp>
#include <horus/msg/session/transport.hpp>

namespace horus::HORUS_ABI {
namespace {

constexpr std::uint32_t kHeld = 1;

/// Nobody is woken: a tap looks by itself.
class NoBell final : public msg::Bell {
 public:
  void ring() noexcept override {}
};

SubscribeOptions options_for(const msg::Outbox& outbox, const TapOptions& options) {
  const std::size_t each = outbox.is_inline() ? std::max<std::size_t>(outbox.layout().head_bytes, 1)
                                              : std::size_t{outbox.pool().stride()};
  const std::size_t most = outbox.is_inline() ? TapOptions::kMostMessages : TapOptions::kMostSlots - kHeld;
  const std::size_t depth = std::clamp<std::size_t>(options.max_bytes / each, 2, most);
  return SubscribeOptions().with_depth(static_cast<std::uint32_t>(depth)).with_max_held(kHeld);
}

// A remote publisher's deputy is tapped where its publisher is.
bool is_seen(const msg::PortInfo& info, std::uint64_t process) noexcept {
  return info.origin == nullptr && info.process == process;
}

PublishedTopic topic_of(const msg::PortInfo& info) {
  return {info.id, info.topic, info.hub, info.peer, *info.layout, info.description};
}

}  // namespace

struct Tap::State {
  PublishedTopic topic;
  std::weak_ptr<msg::Outbox> outbox;
  std::shared_ptr<msg::Inbox> inbox;
  msg::Arrival arrival;
  msg::MessageStorage storage;
  Message message;

  ~State() {
    give_back();
    inbox.reset();
    // A publisher that is silent is told that this one has gone.
    const std::shared_ptr<msg::Outbox> publisher = outbox.lock();
    if (publisher == nullptr || publisher->owner().waker == nullptr) return;
    publisher->owner().waker->hand_over([weak = outbox] {
      if (const auto alive = weak.lock()) io::Journal::aside([&] { alive->look_after_links(); });
    });
  }
  void give_back() noexcept {
    if (arrival.inlet != nullptr) std::exchange(arrival, {}).give_back();
  }
};

std::vector<PublishedTopic> published_topics() {
  std::vector<PublishedTopic> topics;
  const std::uint64_t process = io::System::here().world_process();
  msg::HubCore::visit_publishers([&](const msg::PortInfo& info) {
    if (is_seen(info, process)) topics.push_back(topic_of(info));
  });
  return topics;
}

Result<Tap> Tap::open(const PublishedTopic& topic, const TapOptions& options) {
  const std::shared_ptr<msg::Outbox> outbox = msg::HubCore::publisher(topic.publisher);
  if (outbox == nullptr) return Error(ENOENT, "tap", topic.topic + " (its publisher has gone)");
  return open(*outbox, topic, options);
}

Result<Tap> Tap::open(msg::Outbox& outbox, PublishedTopic topic, const TapOptions& options) {
  auto state = std::make_unique<State>();
  state->topic = std::move(topic);
  state->outbox = outbox.weak_from_this();
  state->inbox = std::make_shared<msg::Inbox>(outbox.topic(), outbox.layout(), options_for(outbox, options),
                                              std::make_shared<NoBell>());
  auto connected = msg::connect_here(outbox, state->inbox, nullptr, msg::Role::observer);
  if (!connected) return connected.error().on("tap", state->topic.topic);
  return Tap(std::move(state));
}

Tap::Tap(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
Tap::Tap(Tap&& other) noexcept = default;
Tap& Tap::operator=(Tap&& other) noexcept = default;
Tap::~Tap() = default;

const Tap::Message* Tap::take() {
  State& state = *state_;
  state.give_back();
  int failure = 0;
  if (!state.inbox->take(state.arrival, failure, state.storage.bytes)) return nullptr;
  HORUS_ASSERT(failure == 0, "a tap holds one message at a time");
  const Layout& layout = state.topic.layout;
  const msg::Arrival& arrival = state.arrival;
  const std::size_t bytes =
      layout.element_bytes == 0 ? layout.head_bytes : std::size_t{layout.tail_offset} + arrival.tail_bytes;
  state.message = {{arrival.data, bytes}, arrival.number, std::abs(arrival.stamp_ns)};
  return &state.message;
}

std::uint64_t Tap::missed() const noexcept { return state_->inbox->missed(); }

bool Tap::ended() {
  if (state_->inbox->has_message()) return false;
  state_->inbox->look_after_links();
  return state_->inbox->is_alone();
}

const PublishedTopic& Tap::topic() const noexcept { return state_->topic; }

class TapFeed::Watch final : public msg::PublisherWatch {
 public:
  Watch(Wanted wanted, const TapOptions& options) : wanted_(std::move(wanted)), options_(options) {}

  void opened(const msg::PortInfo& info, msg::Outbox& outbox) noexcept override {
    if (!is_seen(info, process_)) return;
    try {
      PublishedTopic topic = topic_of(info);
      if (wanted_ && !wanted_(topic)) return;
      // A replay may have taps that the recorded run had not.
      auto tap = io::Journal::aside([&] { return Tap::open(outbox, std::move(topic), options_); });
      const std::lock_guard lock(mutex_);
      if (tap) {
        made_.taps.push_back(std::move(*tap));
      } else {
        made_.problems.push_back(tap.error());
      }
    } catch (const std::exception& error) {
      log_error("topic " + info.topic + " is not tapped: " + error.what());
    }
  }
  Taken take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(made_, {});
  }

 private:
  const Wanted wanted_;
  const TapOptions options_;
  const std::uint64_t process_ = io::System::here().world_process();
  std::mutex mutex_;
  Taken made_;
};

TapFeed::TapFeed(Wanted wanted, const TapOptions& options)
    : watch_(std::make_shared<Watch>(std::move(wanted), options)) {
  msg::HubCore::watch_publishers(watch_);
}

TapFeed::~TapFeed() = default;

TapFeed::Taken TapFeed::take() { return watch_->take(); }

}  // namespace horus::HORUS_ABI
