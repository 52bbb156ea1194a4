// SPDX-License-Identifier: Apache-2.0
// Carries a hub's topics between the processes of one user on one machine, through memory that they share. Each hub
// listens on a Unix socket in a directory where the others find it; what is published never passes a socket. To be
// connected with a member is a state: whatever ended a session, or kept it from beginning, it is tried again. Works on the
// reactor of the thread that made it. Internal: Hub::shm makes it.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include <horus/base/result.hpp>
#include <horus/io/unix.hpp>
#include <horus/msg/session/peer_shares.hpp>
#include <horus/msg/session/transport.hpp>
#include <horus/msg/shm/shm_directory.hpp>
#include <horus/msg/shm/shm_lent.hpp>
#include <horus/msg/shm_options.hpp>
#include <horus/task/event.hpp>
#include <horus/task/scope.hpp>

namespace horus::HORUS_ABI::msg {

class Arena;
class ShmSession;

/// What the peers of a hub have of its process.
struct ShmTotals {
  /// `descriptors`: that this process may have.
  explicit ShmTotals(std::size_t descriptors) noexcept;

  SharedTotal publishers;    ///< that they announced
  SharedTotal descriptions;  ///< bytes: of their types
  SharedTotal descriptors;   ///< that they sent, while they are open: bells, and what waits for its frame
  SharedTotal chunks;        ///< of memory that they gave; each is a mapping
  SharedTotal addresses;     ///< bytes: of such memory
  SharedTotal outgoing;      ///< bytes that wait because they read nothing, and what it takes to keep them
};

class ShmTransport final : public Transport, public std::enable_shared_from_this<ShmTransport> {
 public:
  /// `memory` is what the hub's publishers have their messages in. Errors: those of making the directory and listening
  /// in it.
  static Result<std::shared_ptr<Transport>> create(std::string hub, ShmOptions options,
                                                   std::shared_ptr<Arena> memory);
  ShmTransport(std::string hub, ShmOptions options, std::shared_ptr<Arena> memory);
  ~ShmTransport() override;

  void port_opened(const std::shared_ptr<Port>& port) override;
  void port_closed(const PortInfo& port) override;
  [[nodiscard]] std::vector<PeerState> peers() const override;
  [[nodiscard]] bool alive() const noexcept override { return alive_.load(std::memory_order_acquire); }
  void close() override;

  // --- For its sessions, on its reactor
  [[nodiscard]] const std::string& hub() const noexcept { return hub_; }
  [[nodiscard]] std::uint64_t instance() const noexcept { return instance_; }
  [[nodiscard]] const ShmOptions& options() const noexcept { return options_; }
  [[nodiscard]] const std::shared_ptr<Arena>& memory() const noexcept { return memory_; }
  [[nodiscard]] const std::shared_ptr<io::Waker>& waker() const noexcept { return waker_; }
  /// The open ports of this hub.
  [[nodiscard]] std::vector<std::shared_ptr<Port>> ports() const;
  [[nodiscard]] std::vector<std::shared_ptr<Port>> subscribers_of(const std::string& topic) const;
  [[nodiscard]] std::shared_ptr<Port> find_port(std::uint64_t id) const;
  /// True for a hub of this process, whose links with this one are joined here.
  [[nodiscard]] static bool is_neighbour(std::uint64_t instance);
  /// The session with that hub, if there is one.
  [[nodiscard]] std::shared_ptr<ShmSession> session_with(std::uint64_t instance) const;
  void has_session(const std::shared_ptr<ShmSession>& session);
  [[nodiscard]] ShmTotals& totals() noexcept { return totals_; }
  /// Sessions with process `pid`.
  [[nodiscard]] std::size_t sessions_of(int pid) const noexcept;
  /// What peers hold of sessions that have ended.
  [[nodiscard]] LentSlots& lent() noexcept { return *lent_; }
  void keep_lent(std::vector<ServedLink> lent, io::Descriptor process);
  /// What a peer's session is like has changed.
  void publish_state();
  /// One line in the log, each text once, and not too many.
  void say(const std::string& problem);

 private:
  // A hub that was found in a directory, whether there is a session with it or not.
  struct Member {
    std::string directory;
    std::string name;  // of its socket
    Duration pause{0};
    std::int64_t next_ns = 0;  // when to try again
    bool dialing = false;
    std::uint64_t seen = 0;  // the last scan that found it
    std::string problem;
  };

  static Task<> run(std::shared_ptr<ShmTransport> self);
  static Task<> accept(std::shared_ptr<ShmTransport> self);
  static Task<> look_around(std::shared_ptr<ShmTransport> self);
  static Task<> dial(std::shared_ptr<ShmTransport> self, std::uint64_t instance);
  static Task<> serve(std::shared_ptr<ShmTransport> self, io::UnixStream stream, std::string address);
  static Task<> clear_after(std::shared_ptr<ShmTransport> self, std::string name);
  static Task<> look_after_links(std::shared_ptr<ShmTransport> self);
  Task<> scan();
  void found(const std::string& directory, const std::string& name, std::uint64_t instance);
  [[nodiscard]] std::int64_t dial_whom_is_due();
  Result<> bind();
  void keep_socket();
  bool make_room();
  void try_later(Member& member, std::string problem);
  [[nodiscard]] Duration chance(Duration least, Duration most);
  bool begin(Task<> task, const char* name);
  void add_port(const std::shared_ptr<Port>& port);
  void look_again();

  const std::string hub_;
  const ShmOptions options_;
  const std::shared_ptr<Arena> memory_;
  const std::vector<std::string> directories_;  // in which hubs may be
  std::string directory_;                       // ours
  std::uint64_t instance_ = 0;
  std::string name_;  // of our socket's file
  io::UnixListener listener_;
  std::uint64_t inode_ = 0;       // of our socket's file
  std::uint64_t generation_ = 0;  // of the listener
  io::Reactor* reactor_;
  std::shared_ptr<io::Waker> waker_;
  std::atomic<bool> alive_{true};
  bool closing_ = false;
  Event closed_;
  Event look_;              // something has changed: members are due, or there are new ones
  bool hinted_ = false;     // in the directories
  Scope* scope_ = nullptr;  // of run(), while it runs
  std::map<std::uint64_t, std::weak_ptr<Port>> ports_;
  std::multimap<std::string, std::uint64_t> subscribers_;  // topic → port
  std::map<std::uint64_t, Member> members_;                // by instance
  std::uint64_t scans_ = 0;
  ShmTotals totals_;                                                // outlives the sessions
  std::vector<std::shared_ptr<ShmSession>> sessions_;               // those that shake hands, too
  std::map<std::uint64_t, std::weak_ptr<ShmSession>> established_;  // by instance
  const std::shared_ptr<LentSlots> lent_ = std::make_shared<LentSlots>();
  std::deque<PeerState> failed_;                     // the latest few
  std::map<std::string, std::string> own_problems_;  // by directory
  std::set<std::string> said_;
  mutable std::mutex mutex_;  // of what follows
  std::vector<PeerState> states_;
};

}  // namespace horus::HORUS_ABI::msg
