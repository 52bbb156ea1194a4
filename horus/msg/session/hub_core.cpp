// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/session/hub_core.hpp>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include <horus/base/locked_ranges.hpp>
#include <horus/base/log.hpp>
#include <horus/io/reactor.hpp>
#include <horus/msg/format/names.hpp>
#include <horus/msg/link/shm_arena.hpp>

namespace horus::HORUS_ABI::msg {
namespace {

constexpr std::size_t kLongestName = 255;

// Every open port of this process: links join ports of different hubs.
struct Everyone {
  std::mutex mutex;
  std::vector<Port*> ports;
  std::vector<std::weak_ptr<PublisherWatch>> watches;
};
Everyone& everyone() {
  static auto* all =
      new Everyone();  // never destroyed: ports of static objects close later than any static dies
  return *all;
}

void check_name(const std::string& topic) {
  if (is_name(topic)) return;
  std::string shown = topic.substr(0, kLongestName);
  make_printable(shown);
  throw Error(EINVAL, "open topic",
              fmt::format("\"{}\" (a name has 1 to {} bytes of UTF-8, without spaces and control characters)",
                          shown, kLongestName));
}

void check(const SubscribeOptions& options, const std::string& topic) {
  const auto out_of_range = [](std::uint32_t value) {
    return value < 1 || value > SubscribeOptions::kMaxDepth;
  };
  if (out_of_range(options.depth) || out_of_range(options.max_held)) {
    throw Error(EINVAL, "subscribe",
                fmt::format("{} (depth {} and max_held {}: 1 to {})", topic, options.depth, options.max_held,
                            SubscribeOptions::kMaxDepth));
  }
  if (options.stale_after && *options.stale_after <= Duration::zero()) {
    throw Error(EINVAL, "subscribe",
                fmt::format("{} (stale_after {} ns: above 0, or unset for messages that never go stale)",
                            topic, options.stale_after->count()));
  }
}

}  // namespace

bool meet(const PortInfo& out, const PortInfo& in) noexcept {
  if (out.topic != in.topic || out.link != in.link) return false;
  if (out.origin != nullptr && in.origin != nullptr) return false;  // nobody's messages pass through us
  if (!out.link) return out.hub == in.hub;
  return out.peer == in.hub && in.peer == out.hub && out.process == in.process &&
         (out.pair == 0 || out.pair != in.pair);
}

Result<> connect_here(Outbox& outbox, const std::shared_ptr<Inbox>& inbox, std::shared_ptr<FarEnd> far_end,
                      Role role) {
  const bool neighbours = inbox->bell() == nullptr && outbox.owner() == inbox->owner();
  const std::shared_ptr<SlotTable>& slots = outbox.pool().table();
  const LinkShape shape =
      LinkShape::of(outbox.layout(), inbox->options().depth, inbox->options().overflow, slots->slots());
  auto memory = Mapping::create(shape.bytes(), false, "horus-link");
  if (!memory) return memory.error().on("connect a subscriber", outbox.topic());
  if (horus::detail::locks_ranges()) horus::detail::lock_range((*memory)->data(), (*memory)->size(), true);
  const LinkMemory link = LinkMemory::over(std::move(*memory), shape);
  auto* inlet = new Inlet(link, slots, outbox.layout().tail_offset, outbox.layout().element_bytes,
                          inbox->options().max_held, outbox.bell(), neighbours);
  std::shared_ptr<Bell> bell = inbox->bell();
  if (bell == nullptr) bell = std::make_shared<ReactorBell>(inbox->owner().waker);
  const Outlet::Neighbour neighbour{neighbours ? inbox.get() : nullptr, neighbours ? inlet : nullptr};
  auto outlet = std::make_shared<Outlet>(link, inbox->options().overflow, std::move(bell), neighbour);
  if (far_end != nullptr) far_end->belong_to(link, outbox.bell());
  outlet->far_end = std::move(far_end);
  outlet->reserved = shape.depth + inbox->options().max_held;
  outlet->role = role;
  if (auto attached = outbox.attach(std::move(outlet)); !attached) {
    inlet->let_go();
    return attached;
  }
  inbox->attach(inlet);
  return {};
}

std::uint64_t new_pair() noexcept {
  static std::atomic<std::uint64_t> last{0};
  return ++last;
}

// --- Ports ------------------------------------------------------------------------------------------------------------

void Port::close() noexcept {
  if (hub_ == nullptr) return;
  hub_->close(*this);
  std::shared_ptr<Outbox> outbox;  // they end without the lock
  std::shared_ptr<Inbox> inbox;
  {
    const std::lock_guard lock(mutex_);
    outbox.swap(outbox_);
    inbox.swap(inbox_);
  }
  if (outbox != nullptr) Outbox::let_go(std::move(outbox));
  if (inbox != nullptr) inbox->close();  // here, whoever else refers to it
  hub_.reset();
}

void Port::open(const std::shared_ptr<HubCore>& hub) { hub->open(*this); }

void HubCore::open(Port& port) {
  HORUS_ASSERT(!port.is_open(), "a port was opened twice");
  PortInfo& info = port.info_;
  check_name(info.topic);
  if (info.hub.empty()) info.hub = name_;
  if (const std::uint64_t process = io::System::here().world_process(); process != 0) info.process = process;
  std::shared_ptr<Arena> shared;
  {
    const std::lock_guard lock(mutex_);
    shared = memory_;
    if (io::Reactor::current() != nullptr) {
      for (Carrier& carrier : carriers_) start(carrier).or_throw();
    }
  }
  const auto carriers = transports();
  if (info.direction == Direction::out) {
    port.outbox_ = Outbox::create(info.topic, *info.layout, info.advertise, std::move(shared)).or_throw();
  } else {
    check(info.subscribe, info.topic);
    port.inbox_ = std::make_shared<Inbox>(info.topic, *info.layout, info.subscribe, info.bell);
  }
  settle(port);
  for (const auto& carrier : carriers) carrier->port_opened(port.shared_from_this());
}

// Finds the port's place among the others of this process.
void HubCore::settle(Port& port) {
  static std::atomic<std::uint64_t> last_id{0};
  PortInfo& info = port.info_;
  Everyone& all = everyone();
  const std::lock_guard lock(all.mutex);
  for (const Port* other : all.ports) {
    const PortInfo& theirs = other->info_;
    if (other->hub_.get() != this || theirs.topic != info.topic || theirs.link != info.link ||
        theirs.peer != info.peer || theirs.layout->hash == info.layout->hash)
      continue;
    port.outbox_.reset();
    port.inbox_.reset();
    throw Error(kTypeMismatch, "open topic",
                fmt::format("{} (it carries {}; this end wants {})", info.topic, theirs.layout->describe(),
                            info.layout->describe()));
  }
  info.id = ++last_id;
  port.hub_ = shared_from_this();
  for (Port* other : all.ports) {
    if (other->info_.direction == info.direction || (!info.link && other->hub_.get() != this)) continue;
    const bool out = info.direction == Direction::out;
    const Port& from = out ? port : *other;
    const Port& to = out ? *other : port;
    if (!meet(from.info_, to.info_)) continue;
    if (from.info_.layout->hash != to.info_.layout->hash) {
      log_error(fmt::format("link {}: hub {} sends {}, hub {} expects {}: not connected", info.topic,
                            from.info_.hub, from.info_.layout->describe(), to.info_.hub,
                            to.info_.layout->describe()));
      continue;
    }
    auto connected = connect_here(*from.outbox_, to.inbox_);
    if (connected) continue;
    // The end that was made last is undone; what it has connected already sees it go.
    port.outbox_.reset();
    port.inbox_.reset();
    port.hub_.reset();
    if (connected.code() != ENOBUFS) throw Error(connected.error());
    throw Error(EINVAL, "open topic", std::string(connected.error().target()));
  }
  all.ports.push_back(&port);
  if (info.direction == Direction::in) return;
  std::erase_if(all.watches, [](const auto& watch) { return watch.expired(); });
  for (const auto& weak : all.watches) {
    if (const auto watch = weak.lock()) watch->opened(info, *port.outbox_);
  }
}

void HubCore::visit_publishers(const std::function<void(const PortInfo&)>& visit) {
  Everyone& all = everyone();
  const std::lock_guard lock(all.mutex);
  for (const Port* port : all.ports) {
    if (port->info_.direction == Direction::out) visit(port->info_);
  }
}

void HubCore::watch_publishers(const std::shared_ptr<PublisherWatch>& watch) {
  Everyone& all = everyone();
  const std::lock_guard lock(all.mutex);
  all.watches.push_back(watch);
  for (const Port* port : all.ports) {
    if (port->info_.direction == Direction::out) watch->opened(port->info_, *port->outbox_);
  }
}

std::shared_ptr<Outbox> HubCore::publisher(std::uint64_t id) {
  Everyone& all = everyone();
  const std::lock_guard lock(all.mutex);
  for (const Port* port : all.ports) {
    if (port->info_.id == id) return port->shared_outbox();
  }
  return nullptr;
}

std::vector<std::shared_ptr<HubCore>> HubCore::subscribed(const std::string& topic) {
  std::vector<std::shared_ptr<HubCore>> hubs;
  const std::uint64_t process = io::System::here().world_process();
  Everyone& all = everyone();
  const std::lock_guard lock(all.mutex);
  for (const Port* port : all.ports) {
    const PortInfo& info = port->info_;
    if (info.direction != Direction::in || info.link || info.origin != nullptr || info.topic != topic ||
        info.process != process || std::find(hubs.begin(), hubs.end(), port->hub_) != hubs.end())
      continue;
    hubs.push_back(port->hub_);
  }
  return hubs;
}

namespace {

void count(const Port& port, HubMetrics& metrics) {
  if (port.info().origin != nullptr) return;  // a remote port's deputy: the remote hub counts
  if (port.info().direction == Direction::out) {
    const PublisherMetrics out = port.outbox().metrics();
    metrics.messages_sent += out.published;
    metrics.bytes_sent += out.bytes;
    metrics.send_failures += out.send_failures;
    metrics.dropped += out.dropped;
    ++metrics.publishers;
  } else {
    const SubscriberMetrics in = port.inbox().metrics();
    metrics.messages_received += in.received;
    metrics.bytes_received += in.bytes;
    metrics.recv_failures += in.dropped;
    metrics.queued += in.queued;
    metrics.latency.merge(in.latency);
    ++metrics.subscribers;
  }
}

}  // namespace

void HubCore::close(Port& port) noexcept {
  {
    Everyone& all = everyone();
    const std::lock_guard lock(all.mutex);
    std::erase(all.ports, &port);
    count(port, ended_);
    ended_.publishers = ended_.subscribers = 0;
    ended_.queued = 0;
  }
  for (const auto& carrier : transports()) carrier->port_closed(port.info_);
}

// --- The hub ----------------------------------------------------------------------------------------------------------

HubCore::~HubCore() {
  for (const auto& carrier : transports()) carrier->close();
}

Result<> HubCore::carry(TransportMaker maker, bool shares_memory) {
  const std::lock_guard lock(mutex_);
  if (shares_memory && memory_ == nullptr) memory_ = std::make_shared<Arena>(Arena::Use::slots);
  Carrier carrier{std::move(maker), nullptr};
  if (io::Reactor::current() != nullptr) {
    if (auto started = start(carrier); !started) return started;
  }
  carriers_.push_back(std::move(carrier));
  return {};
}

Result<> HubCore::start(Carrier& carrier) {
  if (carrier.transport != nullptr && carrier.transport->alive()) return {};
  auto made = carrier.maker(*this);
  if (!made) return made.error();
  carrier.transport = std::move(*made);
  std::vector<std::shared_ptr<Port>> open;  // by threads without a reactor, or for a transport that is gone
  {
    Everyone& all = everyone();
    const std::lock_guard lock(all.mutex);
    for (Port* port : all.ports) {
      if (port->hub_.get() != this || port->info_.origin != nullptr) continue;
      if (auto alive = port->weak_from_this().lock()) open.push_back(std::move(alive));
    }
  }
  for (const auto& port : open) carrier.transport->port_opened(port);
  // Ours may be the last hold on a port, whose end asks for the lock that is held here: let go of them later.
  io::Reactor::current()->waker()->hand_over([held = std::move(open)] {});
  return {};
}

std::vector<std::shared_ptr<Transport>> HubCore::transports() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<Transport>> working;
  for (const Carrier& carrier : carriers_) {
    if (carrier.transport != nullptr) working.push_back(carrier.transport);
  }
  return working;
}

HubMetrics HubCore::metrics() const {
  Everyone& all = everyone();
  const std::lock_guard lock(all.mutex);
  HubMetrics metrics = ended_;
  for (const Port* port : all.ports) {
    if (port->hub_.get() == this) count(*port, metrics);
  }
  return metrics;
}

std::string HubCore::address() const {
  for (const auto& carrier : transports()) {
    if (auto address = carrier->address(); !address.empty()) return address;
  }
  return {};
}

ConnectionState HubCore::connection_state() const {
  ConnectionState state;
  const auto carriers = transports();
  for (const auto& carrier : carriers) {
    auto peers = carrier->peers();
    state.peers.insert(state.peers.end(), std::make_move_iterator(peers.begin()),
                       std::make_move_iterator(peers.end()));
  }
  state.connected = carriers.empty() || std::any_of(state.peers.begin(), state.peers.end(),
                                                    [](const PeerState& peer) { return peer.connected; });
  return state;
}

}  // namespace horus::HORUS_ABI::msg
