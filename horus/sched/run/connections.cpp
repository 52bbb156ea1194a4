// SPDX-License-Identifier: Apache-2.0
// The scheduler's part in messaging: opening its nodes' ports and wiring those that connect() names.
#include <algorithm>
#include <cerrno>

#include <fmt/format.h>

#include <horus/msg/session/transport.hpp>
#include <horus/sched/node/node_record.hpp>
#include <horus/sched/scheduler.hpp>

namespace horus::HORUS_ABI {
namespace {

const char* word_for(msg::Direction direction) {
  return direction == msg::Direction::out ? "publishes" : "subscribes to";
}

void check_types(const msg::Port& out, const msg::Port& in, const std::string& where) {
  if (out.info().layout->hash == in.info().layout->hash) return;
  throw Error(
      kTypeMismatch, "connect",
      fmt::format("{} ({} to {})", where, out.info().layout->describe(), in.info().layout->describe()));
}

}  // namespace

Scheduler& Scheduler::use_hub(Hub hub) {
  check_not_running("use_hub");
  hub_ = std::move(hub);
  return *this;
}

detail::NodeRecord* Scheduler::find_node(std::string_view name) const {
  const auto found = std::find_if(nodes_.begin(), nodes_.end(),
                                  [&](const auto& record) { return record->node_name() == name; });
  return found == nodes_.end() ? nullptr : found->get();
}

// Null when the node has made no such port (yet).
std::shared_ptr<msg::Port> Scheduler::find_port(const std::string& node, const std::string& port,
                                                msg::Direction direction) const {
  const detail::NodeRecord* record = find_node(node);
  if (record == nullptr) return nullptr;
  for (const NodeBase::NodePort& candidate : record->node->ports_) {
    if (candidate.name != port) continue;
    if (auto alive = candidate.port.lock(); alive != nullptr && alive->info().direction == direction)
      return alive;
  }
  return nullptr;
}

Scheduler& Scheduler::connect(std::string_view from, std::string_view out, std::string_view to,
                              std::string_view in) {
  check_not_running("connect");
  settle_names();
  for (const std::string_view name : {from, to}) {
    if (find_node(name) != nullptr) continue;
    std::string names;
    for (const std::string& known : node_list()) names += (names.empty() ? "" : ", ") + known;
    throw Error(EINVAL, "connect", fmt::format("node \"{}\" (there are: {})", name, names));
  }
  const std::lock_guard lock(wiring_);
  Connection wanted{std::string(from), std::string(out), std::string(to), std::string(in)};
  const auto publisher = find_port(wanted.from, wanted.out, msg::Direction::out);
  const auto subscriber = find_port(wanted.to, wanted.in, msg::Direction::in);
  if (publisher && subscriber)
    check_types(*publisher, *subscriber, fmt::format("{}.{} to {}.{}", from, out, to, in));
  connections_.push_back(std::move(wanted));
  return *this;
}

// On the reactor's thread. A port of an earlier run belongs to that run's reactor, and is opened anew.
void Scheduler::open_port(NodeBase& node, const NodeBase::NodePort& node_port) {
  const std::shared_ptr<msg::Port> port = node_port.port.lock();
  if (port == nullptr) return;
  const bool out = port->info().direction == msg::Direction::out;
  port->close();
  for (const Connection& wanted : connections_) {
    if (!out && wanted.to == node.name() && wanted.in == node_port.name)
      port->rename(wanted.to + "/" + wanted.in);
  }
  port->open(hub_.core());
  if (out && !node.keeps_in_emergency_) port->outbox().obey(emergency_flag_);
  for (const Connection& wanted : connections_) {
    const bool ours = out ? wanted.from == node.name() && wanted.out == node_port.name
                          : wanted.to == node.name() && wanted.in == node_port.name;
    if (!ours) continue;
    const auto other = out ? find_port(wanted.to, wanted.in, msg::Direction::in)
                           : find_port(wanted.from, wanted.out, msg::Direction::out);
    if (other == nullptr || !other->is_open()) continue;
    const auto& publisher = out ? port : other;
    const auto& subscriber = out ? other : port;
    check_types(*publisher, *subscriber,
                fmt::format("{}.{} to {}.{}", wanted.from, wanted.out, wanted.to, wanted.in));
    msg::connect_here(publisher->outbox(), subscriber->shared_inbox()).or_throw();
  }
}

// A node that a scheduler has started opens its ports at once.
std::shared_ptr<msg::Port> NodeBase::add_port(std::shared_ptr<msg::Port> port) {
  if (scheduler_ != nullptr) {
    scheduler_->add_port(*this, port);
  } else {
    ports_.push_back({port->info().topic, port});
  }
  return port;
}

void Scheduler::add_port(NodeBase& node, const std::shared_ptr<msg::Port>& port) {
  const std::lock_guard lock(wiring_);
  std::erase_if(node.ports_, [](const NodeBase::NodePort& other) { return other.port.expired(); });
  node.ports_.push_back({port->info().topic, port});
  open_port(node, node.ports_.back());
}

// A port that an earlier run opened is stale, and must not meet a fresh one.
void Scheduler::close_stale_ports() {
  const std::lock_guard lock(wiring_);
  for (auto& record : nodes_) {
    for (const auto& port : record->node->ports_) {
      if (const auto stale = port.port.lock()) stale->close();
    }
  }
}

void Scheduler::open_ports(const std::vector<detail::NodeRecord*>& nodes) {
  const std::lock_guard lock(wiring_);
  for (detail::NodeRecord* record : nodes) {
    record->node->scheduler_ = this;
    for (const auto& port : record->node->ports_) open_port(*record->node, port);
  }
}

// An emergency stop mutes a node's publishers and holds what its subscribers are given; at the reset these are empty.
void Scheduler::hold_ports(NodeBase& node, bool held) {
  const std::lock_guard lock(wiring_);
  for (const auto& port : node.ports_) {
    const auto alive = port.port.lock();
    if (alive == nullptr) continue;
    if (const auto outbox = alive->shared_outbox()) outbox->mute(msg::MuteReason::emergency, held);
    if (const auto inbox = alive->shared_inbox(); inbox != nullptr && inbox->owner().here()) {
      inbox->hold(held);
      if (!held) inbox->discard();
    }
  }
}

// What is worth only as long as it is new.
void Scheduler::discard_latest(NodeBase& node) {
  const std::lock_guard lock(wiring_);
  for (const auto& port : node.ports_) {
    const auto alive = port.port.lock();
    if (alive == nullptr || alive->info().subscribe.overflow != Overflow::latest) continue;
    if (const auto inbox = alive->shared_inbox(); inbox != nullptr && inbox->owner().here()) inbox->discard();
  }
}

namespace {

void mute_ports(const auto& ports, bool muted) noexcept {
  for (const auto& port : ports) {
    const auto alive = port.port.lock();
    if (alive == nullptr || alive->info().direction != msg::Direction::out) continue;
    if (const auto outbox = alive->shared_outbox()) outbox->mute(msg::MuteReason::isolated, muted);
  }
}

}  // namespace

void Scheduler::mute(NodeBase& node, bool muted) {
  const std::lock_guard lock(wiring_);
  mute_ports(node.ports_, muted);
}

bool Scheduler::try_mute(NodeBase& node, bool muted) noexcept {
  const std::unique_lock lock(wiring_, std::try_to_lock);
  if (lock.owns_lock()) mute_ports(node.ports_, muted);
  return lock.owns_lock();
}

void Scheduler::check_connections() const {
  const std::lock_guard lock(wiring_);
  for (const Connection& wanted : connections_) {
    const auto check = [&](const std::string& node, const std::string& port, msg::Direction direction) {
      if (find_port(node, port, direction) != nullptr) return;
      throw Error(EINVAL, "connect",
                  fmt::format("{}.{} to {}.{} (node \"{}\" {} no \"{}\")", wanted.from, wanted.out, wanted.to,
                              wanted.in, node, word_for(direction), port));
    };
    check(wanted.from, wanted.out, msg::Direction::out);
    check(wanted.to, wanted.in, msg::Direction::in);
  }
}

}  // namespace horus::HORUS_ABI
