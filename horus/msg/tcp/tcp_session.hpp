// SPDX-License-Identifier: Apache-2.0
// One connection to another hub, from the greeting to its end: announces this hub's ports, joins them with the other's,
// and carries messages both ways. The transport's thread; every task of it keeps it alive. Internal.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <horus/base/result.hpp>
#include <horus/io/bytes.hpp>
#include <horus/msg/session/port.hpp>
#include <horus/msg/session/session_stream.hpp>
#include <horus/msg/tcp/outgoing.hpp>
#include <horus/msg/tcp/seen_messages.hpp>
#include <horus/msg/tcp/tcp_receive_channel.hpp>
#include <horus/msg/tcp/tcp_send_channel.hpp>
#include <horus/msg/tcp/wire.hpp>
#include <horus/msg/tcp_options.hpp>
#include <horus/task/event.hpp>
#include <horus/task/scope.hpp>
#include <horus/task/task.hpp>

namespace horus::HORUS_ABI::msg {

using LocalPorts = std::map<std::uint64_t, LocalPort>;

/// Who has sessions.
class SessionOwner {
 public:
  virtual ~SessionOwner() = default;
  /// The other end has said who it is. An error ends the session: its text is what the other end hears.
  virtual Result<> admit(TcpSession& session) = 0;
  /// Something was refused that a person should know; the session goes on.
  virtual void complain(TcpSession& session, const std::string& problem) = 0;
  /// It is solved.
  virtual void withdraw_complaint(TcpSession& session, const std::string& problem) = 0;
  /// How many messages of a publisher a subscriber knows of, for the next connection; nothing forgets.
  virtual void remember_seen(const PairOfPorts& pair, std::optional<std::uint64_t> seen) = 0;
  [[nodiscard]] virtual std::optional<std::uint64_t> seen_of(const PairOfPorts& pair) const = 0;
  /// What messages of all peers have taken.
  [[nodiscard]] virtual const std::shared_ptr<InboundBudget>& inbound() const = 0;
  [[nodiscard]] virtual const LocalPorts& ports() const = 0;
  /// True when the other end is a hub of this process.
  [[nodiscard]] virtual bool is_neighbour(const wire::Greeting& peer) const = 0;
};

class TcpSession : public std::enable_shared_from_this<TcpSession> {
 public:
  /// `owner` outlives the session's tasks. `same_machine`: the other end reads the same clock.
  TcpSession(std::unique_ptr<SessionStream> stream, std::string name, wire::Greeting self,
             const TcpHubOptions& options, bool same_machine, SessionOwner& owner);
  TcpSession(const TcpSession&) = delete;
  TcpSession& operator=(const TcpSession&) = delete;
  ~TcpSession();

  /// Everything, until the connection ends; gives why it did. Errors: ETIMEDOUT, kEndOfStream, kBadInput, ECONNABORTED
  /// when the other end ended it with a reason, what admit() gave, the stream's.
  static Task<Result<>> run(std::shared_ptr<TcpSession> self);
  /// Waits until what local publishers left behind is sent.
  Task<> drained();

  void port_opened(const LocalPort& port);
  void port_closed(const PortInfo& port);

  [[nodiscard]] const wire::Greeting& peer() const noexcept { return peer_; }
  [[nodiscard]] const wire::Greeting& self() const noexcept { return self_; }
  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] bool established() const noexcept { return established_; }
  /// As SessionOwner::seen_of, of a channel of this session.
  [[nodiscard]] std::optional<std::uint64_t> seen_here(const PairOfPorts& pair) const;
  /// Neither end has asked the other for anything: its place may be given to somebody else.
  [[nodiscard]] bool is_idle() const noexcept { return sending_.empty() && receiving_.empty(); }
  /// horus::now_ns() when the last byte came.
  [[nodiscard]] std::int64_t last_received_ns() const noexcept { return last_received_ns_; }

  // --- For channels
  [[nodiscard]] bool ending() const noexcept { return ending_; }
  [[nodiscard]] bool failed() const noexcept { return ending_ || failure_.has_value(); }
  /// A message is copied, and goes with whatever else is sent in this turn, in one write.
  void append(std::uint32_t channel, const wire::DataPrefix& prefix, wire::Bytes message) {
    outgoing_.append(channel, prefix, message);
    control_due_.set();
  }
  /// The same for a large one: it is sent from its slot, which is given back then.
  void append_slot(std::uint32_t channel, const wire::DataPrefix& prefix, wire::Bytes message,
                   const Arrival& slot) {
    outgoing_.append_slot(channel, prefix, message, slot);
    control_due_.set();
  }
  /// So much waits to be sent that no more is to be appended for now.
  [[nodiscard]] bool outbound_full() const noexcept { return outgoing_.is_full(); }
  /// Waits until some of it has been sent, or is being sent.
  Task<> outbound_moves();
  /// In front of a channel's first message: where its numbers begin, and whether the publisher is mute.
  void tell_beginning(SendChannel& channel);
  /// Ends the session.
  void fail(const Error& error) noexcept;
  void channel_ended(const SendChannel& channel);
  /// Tells the other end when the publisher was muted, or is not any more.
  void tell_state(SendChannel& channel);
  /// The account of a receive channel changed.
  void tell_account(std::uint32_t channel);

 private:
  class TakenBell;
  // A message of a channel is being read in pieces.
  class Reading {
   public:
    Reading(TcpSession& session, std::uint32_t channel) noexcept : session_(session) {
      session_.reading_ = channel;
    }
    Reading(const Reading&) = delete;
    Reading& operator=(const Reading&) = delete;
    ~Reading() {
      session_.reading_ = 0;
      session_.orphan_.reset();
    }

   private:
    TcpSession& session_;
  };

  Task<Result<>> greet();
  Task<Result<>> read_exactly(io::MutableBytes into);
  Task<Result<>> converse();
  Task<Result<>> read_frames();
  /// Takes what has come whole. Gives how many bytes of the next frame are to stand in the buffer; 0: all that this takes,
  /// and read_message() goes on.
  Result<std::size_t> take_frames();
  Result<> take_message(const wire::Header& header, wire::Bytes frame);
  [[nodiscard]] std::size_t read_at_once() const noexcept;
  [[nodiscard]] io::MutableBytes room_to_read(std::size_t wanted) noexcept;
  Task<Result<>> read_message();
  Task<> write_outgoing();
  Task<Result<>> write(Outgoing& sending);
  Task<> watch();
  Task<Result<>> farewell(std::string text);

  Result<> handle(const wire::Header& header, wire::Bytes payload);
  Result<> on_advertise(wire::Bytes payload);
  Result<> on_subscribe(std::uint32_t channel, wire::Bytes payload);
  Result<> on_unsubscribe(std::uint32_t channel, wire::Bytes payload);
  Result<> on_refuse(std::uint32_t channel, wire::Bytes payload);
  Result<> on_end(std::uint32_t channel, wire::Bytes payload);
  Result<> on_account(std::uint32_t channel, wire::Bytes payload);
  Result<> on_loss(std::uint32_t channel, wire::Bytes payload);
  Result<> on_state(std::uint32_t channel, wire::Bytes payload);
  Result<> on_started(std::uint32_t channel, wire::Bytes payload);
  [[nodiscard]] PairOfPorts pair_of(const ReceiveChannel& channel) const;
  void remember(const ReceiveChannel& channel);
  Task<> watch_states();
  void ask_again(std::int64_t now_ns);
  void trim_memory();
  /// Null: a channel that has ended. Errors: kBadInput: one that there never was.
  Result<std::shared_ptr<ReceiveChannel>> receiver(std::uint32_t channel) const;
  /// The same for a channel that is used at once: mostly without a look into the map.
  Result<ReceiveChannel*> receiver_now(std::uint32_t channel);
  /// A message of it has come.
  void note_arrival(ReceiveChannel& channel);
  void forget_receiver(std::uint32_t channel);
  [[nodiscard]] std::int64_t stamp_here(std::int64_t stamp_ns) const noexcept;

  [[nodiscard]] bool joins(const PortInfo& port) const;
  void announce(const LocalPort& port);
  void subscribe(const wire::Advertise& publisher, const LocalPort& subscriber);
  void refuse(std::uint32_t channel, std::string why);
  void append_accounts();
  /// Where frames other than messages are appended.
  [[nodiscard]] wire::Buffer& frames() noexcept { return outgoing_.frames(); }
  /// What was appended there is to be sent.
  void send_control();
  void end_channels() noexcept;

  std::unique_ptr<SessionStream> stream_;
  const std::string name_;
  const wire::Greeting self_;
  const TcpHubOptions options_;
  const bool same_machine_;
  SessionOwner& owner_;
  const std::shared_ptr<InboundBudget> inbound_;  // what the peer's messages have taken
  wire::Greeting peer_;
  std::int64_t clock_shift_ = 0;  // what makes its times ours, on the same machine
  bool established_ = false;
  bool ending_ = false;
  std::optional<Error> failure_;
  Scope scope_;

  // Reading
  wire::Buffer received_;
  std::size_t begin_ = 0, end_ = 0;  // of what received_ holds
  std::int64_t last_received_ns_ = 0;
  std::size_t latest_often_ = 0;  // of the channel of the message that came last
  std::size_t latest_bytes_ = 0;  // of its frame

  // Writing
  Outgoing outgoing_;
  Event control_due_;
  Event outbound_moved_;
  bool torn_ = false;  // a write was cut: nothing sensible can follow it
  std::int64_t last_sent_ns_ = 0;
  const std::size_t most_at_once_;     // bytes of a write
  std::size_t write_chunk_;            // now
  std::int64_t writing_since_ns_ = 0;  // without progress; 0: nothing is being written

  std::map<std::uint64_t, wire::Advertise>
      publishers_;  // of the other end, without what describes their types
  std::map<std::uint32_t, std::shared_ptr<SendChannel>> sending_;
  std::map<std::uint32_t, std::shared_ptr<ReceiveChannel>> receiving_;
  std::array<ReceiveChannel*, 256>
      near_{};                 // of receiving_, by the last bits of their numbers; null: not known
  std::uint32_t reading_ = 0;  // the channel whose message comes in pieces; 0: none
  std::shared_ptr<ReceiveChannel> orphan_;  // the same, when it has been forgotten meanwhile
  std::uint32_t last_requested_ = 0;        // channel numbers: ours
  std::uint32_t last_served_ = 0;           // and theirs
  struct Refusal {
    std::uint64_t publisher = 0;
    std::uint64_t subscriber = 0;
    std::int64_t again_ns = 0;
    std::string problem;
  };
  std::vector<Refusal> refused_;  // for want of room: asked for again
  bool watching_states_ = false;
  std::vector<std::uint32_t> due_;  // receive channels whose account is to be told
  Event drained_;                   // no send channel is left that has to finish
};

}  // namespace horus::HORUS_ABI::msg
