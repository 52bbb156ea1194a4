// SPDX-License-Identifier: Apache-2.0
// Looks at what publishers of this process send, whatever its type, without being one of their subscribers.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/msg/description.hpp>
#include <horus/msg/layout.hpp>

namespace horus::HORUS_ABI {

namespace msg {
class Outbox;
}

/// A publisher that is open in this process.
struct PublishedTopic {
  std::uint64_t publisher = 0;  ///< its number in this process; no other one ever has it
  std::string topic;
  std::string hub;   ///< name of its hub
  std::string peer;  ///< of a link: name of the hub at the other end; else empty
  Layout layout;     ///< of its messages
  const Description* description =
      nullptr;  ///< of them; null when nobody in this process has compiled the type in
};

/// All of them, in the order in which they were opened. In a simulated world those of the calling process. Any thread.
[[nodiscard]] HORUS_API std::vector<PublishedTopic> published_topics();

/// Settings of a tap.
struct TapOptions {
  /// How many bytes of messages that were not taken yet are kept; the oldest give way. At least two messages are kept, at
  /// most `kMostMessages` of those that travel in their entry (a fixed size of up to 240 bytes), and at most
  /// `kMostSlots` - 1 of others.
  std::size_t max_bytes = std::size_t{1} << 20;

  static constexpr std::uint32_t kMostMessages = 4096;
  static constexpr std::uint32_t kMostSlots = 32;
};

/// Reads along what one publisher sends. The publisher does not count it as a subscriber, does not wait for it in
/// `send_wait`, and never has less room because of it; without taps a message costs nothing more.
///
/// Semantics: messages that are sent after open() arrive in order. They are not announced: take() looks, so call it
/// regularly. What could not be kept is counted by missed(). A message without a fixed size of up to 240 bytes is read
/// where its publisher wrote it, until the next call of take(); eight taps of such a publisher fit (ENOBUFS after that).
/// Thread safety: one thread at a time, which need not run a reactor.
/// Example:
/// ```
/// for (const horus::PublishedTopic& topic : horus::published_topics()) taps.push_back(horus::Tap::open(topic).or_throw());
/// ```
class HORUS_API Tap {
 public:
  struct Message {
    /// The head, its padding and the tail, as Layout says.
    std::span<const std::byte> bytes;
    std::uint64_t sequence = 0;     ///< since open(), from 0; a gap means a loss
    std::int64_t published_ns = 0;  ///< of the monotonic clock, accurate to one turn of the publisher's loop
  };

  /// Errors: ENOENT when the publisher has gone; ENOBUFS when it has too many taps; ENOMEM, EMFILE, with the name of the
  /// limit.
  [[nodiscard]] static Result<Tap> open(const PublishedTopic& topic,
                                        const TapOptions& options = TapOptions());
  Tap(Tap&& other) noexcept;
  Tap& operator=(Tap&& other) noexcept;
  ~Tap();

  /// The oldest message that is kept, or null. It can be read until the next call.
  [[nodiscard]] const Message* take();
  /// Messages that were lost because they were not taken in time.
  [[nodiscard]] std::uint64_t missed() const noexcept;
  /// The publisher has gone, and all that it sent has been taken.
  [[nodiscard]] bool ended();
  [[nodiscard]] const PublishedTopic& topic() const noexcept;

 private:
  friend class TapFeed;
  struct State;
  explicit Tap(std::unique_ptr<State> state) noexcept;
  static Result<Tap> open(msg::Outbox& outbox, PublishedTopic topic, const TapOptions& options);
  std::unique_ptr<State> state_;
};

/// Taps every publisher of this process from its first message on: those that are open, and those that will be.
///
/// Semantics: the tap of a publisher is made when the publisher is opened, before it can send; take() hands over those that
/// were made since the last call. In a simulated world it sees the publishers of the process that made it.
/// Thread safety: take() by one thread at a time. `wanted` is called on the threads that open publishers, under a lock: it
/// must be quick, and open, close and send nothing.
class HORUS_API TapFeed {
 public:
  using Wanted = std::function<bool(const PublishedTopic& topic)>;

  /// Of the publishers for which `wanted` says so; without it of all.
  explicit TapFeed(Wanted wanted = {}, const TapOptions& options = TapOptions());
  TapFeed(const TapFeed&) = delete;
  TapFeed& operator=(const TapFeed&) = delete;
  ~TapFeed();

  struct Taken {
    std::vector<Tap> taps;
    std::vector<Error> problems;  ///< of publishers that could not be tapped, as from Tap::open
  };
  [[nodiscard]] Taken take();

 private:
  class Watch;
  std::shared_ptr<Watch> watch_;
};

}  // namespace horus::HORUS_ABI
