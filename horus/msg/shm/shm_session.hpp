// SPDX-License-Identifier: Apache-2.0
// The one connection between two hubs that share memory: who is there, who wants what, and the links that came of it.
// The transport's reactor. What the frames mean is in shm_session_frames.cpp. Internal.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <horus/base/result.hpp>
#include <horus/io/descriptor.hpp>
#include <horus/io/unix.hpp>
#include <horus/msg/link/link_memory.hpp>
#include <horus/msg/link/shm_arena.hpp>
#include <horus/msg/session/peer_shares.hpp>
#include <horus/msg/session/port.hpp>
#include <horus/msg/session/transport.hpp>
#include <horus/msg/shm/shm_frames.hpp>
#include <horus/msg/shm/shm_lent.hpp>
#include <horus/msg/shm/wake_source.hpp>
#include <horus/task/event.hpp>
#include <horus/task/task.hpp>

namespace horus::HORUS_ABI::msg {

class ShmTransport;

/// How a session ended, for whoever may want another one.
enum class SessionEnd : std::uint8_t {
  lost,       ///< whatever it was: try again
  duplicate,  ///< there is another session with that hub
  refused,    ///< trying again soon changes nothing
};

class ShmSession : public std::enable_shared_from_this<ShmSession> {
 public:
  ShmSession(ShmTransport& transport, io::UnixStream stream, std::string address);
  ShmSession(const ShmSession&) = delete;
  ShmSession& operator=(const ShmSession&) = delete;
  ~ShmSession();

  /// From the handshake to the end of the peer. Then every link has ended, and its owner knows.
  static Task<SessionEnd> run(std::shared_ptr<ShmSession> self);
  /// A port of ours was opened.
  void announce(const std::shared_ptr<Port>& port);
  /// One was closed.
  void withdraw(const PortInfo& port);
  /// Asks whether anybody is there; false when nothing has come for so long.
  static Task<bool> proves_itself(std::shared_ptr<ShmSession> self, Duration limit);
  /// Ends it. An empty problem is nothing to talk about.
  void end(std::string problem);
  /// What the peer closed without a word is taken back, what was refused asked for again, memory that nobody needs
  /// forgotten.
  void look_after_links();

  [[nodiscard]] std::uint64_t peer_instance() const noexcept { return hello_.instance; }
  [[nodiscard]] const std::string& peer_hub() const noexcept { return hello_.hub; }
  [[nodiscard]] int pid() const noexcept { return pid_; }
  [[nodiscard]] bool has_ended() const noexcept { return ended_.is_set(); }
  /// It was one, and so another may be one soon.
  [[nodiscard]] bool was_up() const noexcept { return was_up_; }
  /// Up for so long, and neither end has anything that the other wants: its place may be given to somebody else.
  [[nodiscard]] bool is_idle(std::int64_t now_ns) const noexcept;
  /// The peer closed the connection while they shook hands: it ends, or has no room.
  [[nodiscard]] bool left_early() const noexcept { return left_early_; }
  [[nodiscard]] PeerState state() const;

 private:
  struct RemotePublisher {
    PortInfo info;
    Layout layout;
  };
  struct Request {
    std::uint64_t publisher = 0;
    std::uint64_t subscriber = 0;
    std::uint32_t depth = 0;
    std::int64_t asked_ns = 0;
    std::int64_t again_ns = 0;  // refused: when to ask again; 0: no answer yet, INT64_MAX: never
  };
  struct Received {  // a publisher of theirs
    LinkMemory memory;
    std::shared_ptr<SlotTable> slots;
    std::weak_ptr<Inbox> inbox;
    std::uint64_t publisher = 0;
    std::uint64_t request = 0;
  };
  struct Arriving {  // a link whose slots have not been told yet
    LinkMemory memory;
    std::shared_ptr<SlotTable> slots;
    std::shared_ptr<Bell> bell;

    /// From here on the publisher waits until we let go. False: it has given up.
    [[nodiscard]] bool claim() const noexcept;
    /// Nothing came of it.
    void refuse() const noexcept;
  };
  class MemoryBell;
  struct TheirMemory {
    std::shared_ptr<Mapping> whole;  // null: there were no addresses, and it is given again
    bool links = false;
    std::uint64_t bytes = 0;
    Result<> mapped;
  };
  struct OurBell {
    std::uint32_t number = 0;
    std::shared_ptr<WakeSource> source;
  };

  Task<Result<SessionEnd>> greet();
  Task<Result<SessionEnd>> agree();
  Task<> read();
  Task<> write();
  Task<> watch_process();
  Task<Result<shm::Decoded>> read_frame();
  Task<Result<>> fill(std::size_t bytes);
  Result<> handle(shm::Decoded frame);
  Result<> on(const shm::Hello& frame);
  Result<> on(const shm::Welcome&) { return {}; }
  Result<> on(const shm::Goodbye& frame);
  Result<> on(shm::Publishes& frame);
  Result<> on(const shm::Gone& frame);
  Result<> on(const shm::Memory& frame);
  Result<> on(const shm::Forget& frame);
  Result<> on(const shm::BellIs& frame);
  Result<> on(const shm::Subscribe& frame);
  Result<> on(const shm::Connected& frame);
  Result<> on(const shm::Refused& frame);
  Result<> on(const shm::Ping& frame);
  Result<> on(const shm::Pong&) { return {}; }
  Result<> on(const shm::Slots& frame);
  Result<> on(const shm::Unmapped& frame) {
    if (told_memory_.contains(frame.chunk)) unmapped_there_.insert(frame.chunk);
    return {};
  }
  Result<> on(const shm::Unknown&) { return {}; }

  /// `memory`: of the link.
  Result<> connect(const shm::Subscribe& frame, const std::shared_ptr<Outbox>& outbox,
                   std::shared_ptr<Mapping> memory);
  Task<> prepare();
  Result<> may_serve(const shm::Subscribe& frame, Outbox& outbox);
  void refuse(const shm::Subscribe& frame, const Error& why);
  [[nodiscard]] std::uint64_t reserved_of(std::uint64_t publisher) const noexcept;
  void serve(const shm::Subscribe& frame, Result<std::shared_ptr<Mapping>> memory);
  [[nodiscard]] std::shared_ptr<Outbox> wanted_of(const shm::Subscribe& frame);
  void offer(RemotePublisher& remote, Port& port);
  void ask(std::uint64_t publisher, Port& port);
  /// The number of the bell that wakes the owner of a port; told to the peer when it is new.
  Result<OurBell> bell_for(const Owner& owner);
  Result<> tell_memory(const Arena::Place& place, bool links);
  [[nodiscard]] const std::shared_ptr<Bell>& memory_bell();
  Result<> tell_slots(ServedLink& link);
  void tell_slots();
  void arrive(std::uint64_t number, const Arriving& link);
  /// `how`: see LinkState::publisher_closed.
  void end_subscription(const Received& link, std::uint32_t how = 1) noexcept;
  /// A problem that concerns one topic, until it is solved.
  void complain(const std::string& topic, const std::string& problem);
  void solved(const std::string& topic);
  void send(const shm::Frame& frame, int descriptor = -1, std::shared_ptr<const void> owner = nullptr,
            std::shared_ptr<WakeSource> bell = nullptr);
  [[nodiscard]] Task<bool> process_lives_on();
  void end_subscriptions() noexcept;
  void end_serving(bool lives_on);
  void look_whether_it_answers();
  io::Descriptor take_descriptor();
  void lack_addresses(std::uint64_t request, const Error& why);

  ShmTransport& transport_;
  io::UnixStream stream_;
  const std::string address_;
  shm::Hello hello_;              // the peer's
  std::int64_t clock_shift_ = 0;  // see Inlet
  int pid_ = 0;
  io::Descriptor process_;
  bool greeted_ = false;
  bool up_ = false;
  bool was_up_ = false;
  bool left_early_ = false;
  bool quiet_ = false;  // it ended for no fault of the peer's
  SessionEnd how_ended_ = SessionEnd::lost;
  std::int64_t up_since_ns_ = 0;
  std::int64_t last_received_ns_ = 0;
  std::int64_t asked_ns_ = 0;  // when a ping went out that nothing has followed; 0: none
  bool silent_ = false;
  Event received_something_;
  Event ended_;
  std::string problem_;
  std::map<std::string, std::string> problems_;  // by topic

  struct Outgoing {
    std::vector<std::byte> bytes;
    int descriptor = -1;
    std::shared_ptr<const void> owner;  // of the descriptor, until it is sent
    std::shared_ptr<WakeSource> bell;
  };
  std::deque<Outgoing> outgoing_;
  PeerShare outgoing_bytes_;
  Event to_write_;
  std::vector<std::byte> received_;
  std::size_t begin_ = 0;  // of what is left of received_
  std::deque<io::Descriptor> descriptors_;
  PeerShare their_descriptors_;  // with their bells, and with memory that is not mapped

  // What the peer has, and we want
  std::map<std::uint64_t, RemotePublisher> publishers_;
  PeerShare announced_;
  PeerShare description_bytes_;
  std::map<std::uint64_t, Request> requests_;
  std::uint64_t last_request_ = 0;
  std::map<std::uint32_t, TheirMemory> their_memory_;
  PeerShare their_chunks_;
  PeerShare their_bytes_;
  std::map<std::uint32_t, std::shared_ptr<Bell>> their_bells_;
  std::map<std::uint64_t, Arriving> arriving_;  // by request
  std::vector<Received> receiving_;

  // What it wants of us
  std::uint64_t last_served_ = 0;
  std::deque<shm::Subscribe> preparing_;  // links whose memory takes long
  Event to_prepare_;
  const std::shared_ptr<Arena> links_;  // links' memory: this peer's alone
  std::map<std::uint32_t, std::weak_ptr<Arena::Chunk>> told_memory_;
  std::set<std::uint32_t> unmapped_there_;  // of told_memory_: to be told again when it is needed
  std::vector<OurBell> bells_;
  std::vector<ServedLink> serving_;
  std::shared_ptr<Bell> memory_bell_;
};

}  // namespace horus::HORUS_ABI::msg
