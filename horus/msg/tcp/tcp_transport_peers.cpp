// SPDX-License-Identifier: Apache-2.0
// Whom a TCP hub knows: which of two connections stays, what is told about each.
#include <algorithm>
#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include <horus/base/log.hpp>
#include <horus/io/reactor.hpp>
#include <horus/msg/tcp/tcp_transport.hpp>

namespace horus::HORUS_ABI::msg {
namespace {

constexpr std::size_t kFailuresKept = 8;
constexpr std::size_t kProblemsKept = 8;                    // of one peer
constexpr std::size_t kLongestProblem = 4096;               // bytes
constexpr Duration kUnusedAfter = std::chrono::seconds(2);  // its place may be given to another
constexpr Duration kSilentAfter = std::chrono::milliseconds(200);
constexpr std::size_t kProblemsTold = 1024;                  // each once; then no more
constexpr Duration kRefusalEvery = std::chrono::seconds(1);  // lines in the log about refused connections

}  // namespace

// One connection between two hubs is enough. Of two that both began, the one that the hub with the smaller instance began
// stays: both ends see it alike.
Result<> TcpTransport::admit(TcpSession& session) {
  const auto refused = [&](std::string why) { return Error(EALREADY, "greet", why); };
  Connection& connection = *find(session);
  const std::uint64_t theirs = session.peer().instance;
  if (connection.target != nullptr) {
    connection.target->instance = theirs;
    publish_state();
  }
  if (theirs == greeting_.instance) return refused("(it is this hub itself)");
  if (Connection* other = find(theirs); other != nullptr) {
    const bool mine_is_smaller = greeting_.instance < theirs;
    const bool preferred = connection.outgoing == mine_is_smaller;
    const bool other_preferred = other->outgoing == mine_is_smaller;
    // Equally good: the older, unless it has been silent for longer than a heartbeat takes.
    const bool silent = now_ns() - other->session->last_received_ns() > options_.idle_limit.count() / 2;
    const bool replaces = preferred != other_preferred ? preferred : silent;
    if (!replaces) return refused(fmt::format("(hub {} is connected already)", session.peer().hub));
    other->session->fail(
        Error(EALREADY, "stay connected to", other->session->name() + " (another connection is better)"));
  }
  connection.admitted = true;
  if (connection.target != nullptr) {
    connection.target->told = false;
    connection.target->state.connected = true;
    connection.target->state.name = session.peer().hub;
    connection.target->state.problem.clear();
  }
  log_info(fmt::format("hub {}: connected with hub {} at {}", hub_, session.peer().hub, session.name()));
  publish_state();
  return {};
}

void TcpTransport::complain(TcpSession& session, const std::string& words) {
  const std::string problem = words.substr(0, kLongestProblem);  // it may be a peer's
  if (told_.size() < kProblemsTold && told_.insert(problem).second)
    log_warning(fmt::format("hub {}: {}", hub_, problem));
  Connection* connection = find(session);
  if (connection == nullptr || connection->problems.size() >= kProblemsKept) return;
  if (std::find(connection->problems.begin(), connection->problems.end(), problem) !=
      connection->problems.end())
    return;
  connection->problems.push_back(problem);
  publish_state();
}

void TcpTransport::withdraw_complaint(TcpSession& session, const std::string& words) {
  Connection* connection = find(session);
  if (connection == nullptr) return;
  if (std::erase(connection->problems, words.substr(0, kLongestProblem)) > 0) publish_state();
}

void TcpTransport::remember_seen(const PairOfPorts& pair, std::optional<std::uint64_t> seen) {
  if (seen) {
    seen_.remember(pair, *seen);
  } else {
    seen_.forget(pair);
  }
}

std::optional<std::uint64_t> TcpTransport::seen_of(const PairOfPorts& pair) const {
  // The connection before may be about to end.
  for (const Connection& connection : connections_) {
    if (!connection.admitted || !connection.session->failed()) continue;
    if (const auto seen = connection.session->seen_here(pair)) return seen;
  }
  return seen_.seen_of(pair);
}

// One that has not said who it is after a while, or that has wanted nothing since it did.
bool TcpTransport::make_room(const std::string& host) {
  const std::int64_t now = now_ns();
  const auto idle = std::find_if(connections_.begin(), connections_.end(), [&](const Connection& one) {
    if (one.host.empty() || (!host.empty() && one.host != host) || one.session->failed()) return false;
    const std::int64_t age = now - one.since_ns;
    return one.admitted ? one.session->is_idle() && age >= kUnusedAfter.count() : age >= kSilentAfter.count();
  });
  if (idle == connections_.end()) return false;
  idle->session->fail(
      Error(EBUSY, "keep connected with",
            idle->session->name() + " (others wait for its place, and nothing was wanted of it)"));
  return true;
}

TcpTransport::Connection* TcpTransport::find(const TcpSession& session) noexcept {
  const auto found = std::find_if(connections_.begin(), connections_.end(),
                                  [&](const Connection& one) { return one.session.get() == &session; });
  return found == connections_.end() ? nullptr : &*found;
}

TcpTransport::Connection* TcpTransport::find(std::uint64_t instance) noexcept {
  const auto found = std::find_if(connections_.begin(), connections_.end(), [&](const Connection& one) {
    return one.admitted && !one.session->failed() && one.session->peer().instance == instance;
  });
  return found == connections_.end() ? nullptr : &*found;
}

void TcpTransport::remember_failure(const std::string& address, const std::string& problem) {
  PeerState state;
  state.address = "tcp " + address;
  state.problem = problem;
  failed_.push_back(std::move(state));
  if (failed_.size() > kFailuresKept) failed_.pop_front();
  publish_state();
  if (now_ns() - last_refusal_ns_ < kRefusalEvery.count()) return;
  last_refusal_ns_ = now_ns();
  log_warning(fmt::format("hub {}: from {}: {}", hub_, address, problem));
}

void TcpTransport::publish_state() {
  std::vector<PeerState> state;
  for (const Connection& connection : connections_) {
    if (!connection.admitted) continue;
    PeerState& peer = state.emplace_back();
    peer.name = connection.session->peer().hub;
    peer.address = connection.session->name();
    peer.connected = true;
    for (const std::string& problem : connection.problems)
      peer.problem += (peer.problem.empty() ? "" : "; ") + problem;
  }
  for (const Target& target : targets_) {
    const bool listening = target.may_listen && listener_;
    const bool reached = target.state.connected || (target.instance != 0 && find(target.instance) != nullptr);
    if (!listening && !reached) state.push_back(target.state);
  }
  state.insert(state.end(), failed_.begin(), failed_.end());
  const std::lock_guard lock(mutex_);
  state_ = std::move(state);
}

}  // namespace horus::HORUS_ABI::msg
