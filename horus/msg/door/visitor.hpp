// SPDX-License-Identifier: Apache-2.0
// One visitor of a door: its socket, what it asked and is owed, and its taps. On the door's thread alone. Internal.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include <horus/base/clock.hpp>
#include <horus/msg/door/frames.hpp>
#include <horus/msg/door/talk.hpp>
#include <horus/msg/inspect.hpp>
#include <horus/msg/tap.hpp>

namespace horus::HORUS_ABI::msg::door {

/// What visitors may cost.
struct DoorLimits {
  DoorLimits() {}
  std::size_t max_visitors = 16;
  std::size_t max_taps = 16;  ///< of one visitor
  std::size_t max_unsent = std::size_t{4}
                           << 20;  ///< bytes of messages for a visitor; one longer message may wait alone
  Duration hello_limit = std::chrono::seconds(2);    ///< until a visitor has said hello
  Duration frame_limit = std::chrono::seconds(5);    ///< from the first byte of a request to its last
  Duration unread_limit = std::chrono::seconds(60);  ///< without reading what is there for it
};

/// Messages reach a visitor at least this often.
inline constexpr Duration kFlushEvery = std::chrono::milliseconds(10);

/// What a door tells of its program, and when that began on the monotonic clock.
struct Host {
  inspect::Process process;
  std::int64_t started_ns = 0;

  [[nodiscard]] inspect::Process at(std::int64_t now_ns) const;
};

class Visitor {
 public:
  /// Owns `socket`, which does not block.
  Visitor(int socket, const Host& host, const DoorLimits& limits, std::int64_t now_ns);
  Visitor(const Visitor&) = delete;
  Visitor& operator=(const Visitor&) = delete;
  ~Visitor();

  [[nodiscard]] int socket() const noexcept { return socket_; }
  /// What poll(2) should wait for.
  [[nodiscard]] short events() const noexcept;
  /// Reads and answers requests, some of them: has_more() says whether to call again.
  void serve(bool readable, std::int64_t now_ns);
  [[nodiscard]] bool has_more() const noexcept { return has_more_ || (stalled_ && !owes_much()); }
  /// Takes what its taps have, as far as there is room.
  void take_messages(std::int64_t now_ns);
  [[nodiscard]] bool has_taps() const noexcept { return !taps_.empty(); }
  void send(std::int64_t now_ns);
  /// Closes for `why`, once the visitor has read it.
  void dismiss(std::string_view why, std::int64_t now_ns);
  /// Looks at the limits.
  void look_at_clock(std::int64_t now_ns);
  /// When to look next.
  [[nodiscard]] std::int64_t next_limit_ns() const noexcept;
  [[nodiscard]] bool is_gone() const noexcept { return gone_; }
  void give_up() noexcept { gone_ = true; }
  /// In the child of a fork: closes the socket, which is the parent's, and leaves everything else alone.
  void forget() noexcept;

 private:
  struct Tapped {
    std::uint32_t number;
    Tap tap;
    const Tap::Message* waiting = nullptr;  // taken, and without room yet
    std::uint64_t too_long = 0;
    std::uint64_t told_missed = 0;

    [[nodiscard]] std::uint64_t missed() const noexcept { return tap.missed() + too_long; }
  };
  struct Owed {
    std::uint64_t end;  // its place in the stream of bytes
    std::size_t bytes;
  };

  void receive();
  void answer(FrameBytes text, std::int64_t now_ns);
  Answer answer(const Request& request, std::int64_t now_ns);
  void hello(const Request& request, Answer& answer, std::int64_t now_ns);
  static void describe(const Request& request, Answer& answer);
  static void nodes(const Request& request, Answer& answer);
  void tap(const Request& request, Answer& answer);
  void untap(const Request& request, Answer& answer);
  void say(const Answer& answer);
  void tell_missed(Tapped& tapped);
  bool take_some(Tapped& tapped);
  [[nodiscard]] std::size_t unsent() const noexcept { return out_.size() - sent_; }
  [[nodiscard]] bool owes_much() const noexcept;

  const DoorLimits& limits_;
  const Host& host_;
  int socket_;
  FrameReader in_{kLongestText};
  std::vector<std::byte> out_;
  std::size_t sent_ = 0;         // of out_
  std::uint64_t sent_ever_ = 0;  // of the stream
  std::deque<Owed> owed_;        // answers in out_
  std::size_t owed_bytes_ = 0;
  std::vector<Tapped> taps_;
  std::uint32_t last_number_ = 0;
  std::int64_t next_look_ns_ = 0;
  std::int64_t hello_until_ns_;
  std::int64_t frame_until_ns_ = INT64_MAX;
  std::int64_t unread_until_ns_ = INT64_MAX;
  std::int64_t gone_at_ns_ = INT64_MAX;  // dismissed
  bool greeted_ = false;
  bool has_more_ = false;
  bool stalled_ = false;  // requests wait until it has read answers
  bool hung_up_ = false;  // it sends nothing any more
  bool gone_ = false;
};

/// The user's publishers of this process, with their counters; those with higher numbers than `after`.
std::vector<inspect::Topic> topics_after(std::uint64_t after);

}  // namespace horus::HORUS_ABI::msg::door
