// SPDX-License-Identifier: Apache-2.0
// A hub's topics over TCP: listens or connects, connects again, and has a session with each hub that it finds. Made and
// worked on one reactor's thread; what Transport declares may be called from any. Internal.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <horus/io/loop/lookout.hpp>
#include <horus/io/tcp.hpp>
#include <horus/io/tls.hpp>
#include <horus/msg/session/transport.hpp>
#include <horus/msg/tcp/tcp_session.hpp>
#include <horus/msg/tcp_options.hpp>

namespace horus::HORUS_ABI::msg {

class TcpTransport final : public Transport,
                           private SessionOwner,
                           public std::enable_shared_from_this<TcpTransport> {
 public:
  /// Errors: EINVAL for options and addresses that cannot be; EPERM for an address that other machines reach without
  /// `insecure`.
  static Result<> check(const std::string& address, const std::string& hub, const TcpHubOptions& options);
  /// On this thread's reactor, whose background scope has its tasks. Listens already, if it is to. Errors: EADDRINUSE,
  /// EADDRNOTAVAIL when it must listen; EACCES.
  static Result<std::shared_ptr<Transport>> create(const std::string& address, const std::string& hub,
                                                   const TcpHubOptions& options);
  ~TcpTransport() override;

  void port_opened(const std::shared_ptr<Port>& port) override;
  void port_closed(const PortInfo& port) override;
  [[nodiscard]] std::vector<PeerState> peers() const override;
  [[nodiscard]] std::string address() const override;
  [[nodiscard]] bool alive() const noexcept override { return alive_.load(std::memory_order_relaxed); }
  void close() override;

 private:
  struct Target {
    std::string address;
    bool may_listen = false;
    std::uint64_t instance = 0;  // who answered there last; 0: nobody yet
    bool told = false;           // that it is not connected
    PeerState state;
  };
  struct Connection {
    std::shared_ptr<TcpSession> session;
    bool outgoing = false;
    bool admitted = false;
    std::string host;  // of an incoming one
    std::int64_t since_ns = 0;
    Target* target = nullptr;  // of an outgoing one
    std::vector<std::string> problems;
  };

  TcpTransport(std::string address, std::string hub, const TcpHubOptions& options);
  Result<> listen();
  /// What encrypts this hub's connections. Errors: those of TlsContext.
  Result<> use_tls();

  static Task<> run(std::shared_ptr<TcpTransport> self);
  Task<> wait_for_end();
  Task<> reach(Target& target);
  Task<> connect(Target& target, bool& established);
  Task<> accept_all();
  Task<> serve(io::TcpStream stream);
  Task<Result<io::ByteStream>> secured(io::TcpStream stream, const Target* target);
  Task<Result<>> hold(io::TcpStream stream, bool outgoing, Target* target);
  [[nodiscard]] Duration jittered(Duration pause);

  Result<> admit(TcpSession& session) override;
  void complain(TcpSession& session, const std::string& words) override;
  void withdraw_complaint(TcpSession& session, const std::string& words) override;
  void remember_seen(const PairOfPorts& pair, std::optional<std::uint64_t> seen) override;
  [[nodiscard]] std::optional<std::uint64_t> seen_of(const PairOfPorts& pair) const override;
  [[nodiscard]] const std::shared_ptr<InboundBudget>& inbound() const override { return inbound_; }
  /// Ends a connection that gives its place up: from `host`, or from anywhere when it is empty.
  bool make_room(const std::string& host);
  [[nodiscard]] const LocalPorts& ports() const override { return ports_; }
  [[nodiscard]] bool is_neighbour(const wire::Greeting& peer) const override;
  [[nodiscard]] Connection* find(const TcpSession& session) noexcept;
  [[nodiscard]] Connection* find(std::uint64_t instance) noexcept;
  void settle_port(LocalPort port);
  void remove_port(const PortInfo& port);
  void remember_failure(const std::string& address, const std::string& problem);
  void publish_state();

  const std::string address_;
  const std::string hub_;
  const TcpHubOptions options_;
  io::Reactor* const reactor_;
  const std::shared_ptr<io::Waker> waker_;
  wire::Greeting greeting_;
  io::TlsContext tls_server_;  // empty: nothing is encrypted
  io::TlsContext tls_client_;
  io::TcpListener listener_;
  std::deque<Target> targets_;
  std::vector<Connection> connections_;            // those being greeted, too
  std::map<std::string, std::uint32_t> incoming_;  // connections by host
  std::deque<PeerState> failed_;                   // incoming ones, the latest few
  std::set<std::string> told_;                     // problems that are in the log
  std::int64_t last_refusal_ns_ = INT64_MIN / 2;
  LocalPorts ports_;
  const std::shared_ptr<InboundBudget> inbound_;  // what messages of all peers have taken
  SeenMessages seen_;
  Scope* scope_ = nullptr;  // of run()
  Event session_ended_;
  Event stop_;

  std::atomic<bool> alive_{true};
  mutable std::mutex mutex_;  // of what follows
  std::vector<PeerState> state_;
  std::string reached_at_;
};

}  // namespace horus::HORUS_ABI::msg
