// SPDX-License-Identifier: Apache-2.0
// Carries a hub's topics between the processes of one user on one machine, through memory that they share. Each hub
// listens on a Unix socket in a directory where the others find it; what is published never passes a socket. Works on the
// reactor of the thread that made it. Internal: Hub::shm makes it.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <tuple>
#include <vector>

#include <horus/base/result.hpp>
#include <horus/io/unix.hpp>
#include <horus/msg/shm_options.hpp>
#include <horus/msg/transport.hpp>
#include <horus/msg/wake_source.hpp>
#include <horus/task/event.hpp>
#include <horus/task/scope.hpp>

namespace horus::msg {

class ShmSession;

class ShmTransport final : public Transport, public std::enable_shared_from_this<ShmTransport> {
 public:
  /// Errors: those of making the directory and listening in it.
  static Result<std::shared_ptr<Transport>> create(std::string hub, ShmOptions options);
  ShmTransport(std::string hub, ShmOptions options, std::string directory);
  ~ShmTransport() override;

  void port_opened(const std::shared_ptr<Port>& port) override;
  void port_closed(const PortInfo& port) override;
  [[nodiscard]] std::vector<PeerState> peers() const override;
  [[nodiscard]] bool alive() const noexcept override { return alive_.load(std::memory_order_acquire); }
  void close() override;

  // --- For its sessions, on its reactor
  [[nodiscard]] const std::string& hub() const noexcept { return hub_; }
  [[nodiscard]] const std::string& instance() const noexcept { return instance_; }
  [[nodiscard]] const ShmOptions& options() const noexcept { return options_; }
  /// The open ports of this hub.
  [[nodiscard]] std::vector<std::shared_ptr<Port>> ports() const;
  [[nodiscard]] std::shared_ptr<Port> find_port(std::uint64_t id) const;
  /// What wakes the owner of a port; that of the transport where the owner has no reactor.
  Result<std::shared_ptr<WakeSource>> wake_source(const Owner& owner);
  /// True for the first session with that peer that connects this publisher of it with that subscriber of ours: two hubs
  /// that find each other at the same moment have two sessions.
  bool claim(const ShmSession& session, std::uint64_t publisher, std::uint64_t subscriber);
  void set_peer_state(std::uint64_t session, PeerState state);
  void forget(ShmSession& session);

 private:
  Task<> run(std::shared_ptr<ShmTransport> self);
  Task<> accept(std::shared_ptr<ShmTransport> self);
  Task<> serve(std::shared_ptr<ShmTransport> self, io::UnixStream stream, std::string address);
  Task<> find_members(std::shared_ptr<ShmTransport> self, std::string hub);
  Task<> clear_after(std::shared_ptr<ShmTransport> self, std::string instance);
  Task<Result<io::UnixStream>> reach(std::string instance);
  void add_port(const std::shared_ptr<Port>& port);
  void find_peer_of(const PortInfo& port);

  const std::string hub_;
  const ShmOptions options_;
  const std::string directory_;
  std::string instance_;  // file name of the socket
  io::UnixListener listener_;
  io::Reactor* reactor_;
  std::shared_ptr<io::Waker> waker_;
  std::atomic<bool> alive_{true};
  bool closing_ = false;
  Event closed_;
  Scope* scope_ = nullptr;  // of run(), while it runs
  std::map<std::uint64_t, std::weak_ptr<Port>> ports_;
  std::vector<ShmSession*> sessions_;
  std::uint64_t last_session_ = 0;
  // Peer, publisher, subscriber → session.
  std::map<std::tuple<std::string, std::uint64_t, std::uint64_t>, std::uint64_t> claims_;
  std::vector<std::shared_ptr<WakeSource>> sources_;
  mutable std::mutex mutex_;  // of what follows
  std::map<std::uint64_t, PeerState> states_;
};

/// Where the sockets of this user's hubs are: see ShmOptions::directory. Made when it is missing. Errors: EPERM for a
/// directory that others may write to.
Result<std::string> runtime_directory(const std::string& wanted);
/// What the names of a hub's sockets begin with.
std::string socket_prefix(const std::string& hub);

}  // namespace horus::msg
