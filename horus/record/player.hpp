// SPDX-License-Identifier: Apache-2.0
// Publishes the messages of a recording again, with their types and in their time. One reactor's thread.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <horus/bag/reader.hpp>
#include <horus/base/clock.hpp>
#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/msg/hub.hpp>
#include <horus/task/task.hpp>

namespace horus::HORUS_ABI {

/// What is played, and how. `PlayOptions().with_topics({"imu", "camera/*"}).with_rate(2)`
struct PlayOptions {
  PlayOptions() {}
  static constexpr double kMaxRate = 1e6;
  static constexpr double kMinRate = 1e-6;

  std::vector<std::string> topics;    ///< `*` stands for any characters; empty: all
  std::vector<std::string> left_out;  ///< of these, topics that are not played; `*` as above
  /// Of these, topics for which it says so; empty: all.
  std::function<bool(const std::string& topic)> wanted;
  std::map<std::string, std::string> renamed;  ///< recorded topic → the topic that is published
  double rate = 1;                             ///< of the recording's time; kMinRate to kMaxRate
  bool loop = false;                           ///< begin anew at the end, until it is stopped
  bool paused = false;                         ///< at first
  Duration start{0};                           ///< behind the first message of the recording
  Duration length{0};                          ///< of the recording's time; 0: to its end
  Duration delay{0};                           ///< before the first message
  Duration clock{
      0};  ///< between two messages of the topic "clock", which tells the recording's time; 0: none
  std::uint32_t subscribers = 0;  ///< wait until each topic has so many

  PlayOptions& with_topics(std::vector<std::string> patterns) & {
    return topics = std::move(patterns), *this;
  }
  PlayOptions& without_topics(std::vector<std::string> patterns) & {
    return left_out = std::move(patterns), *this;
  }
  PlayOptions& with_renamed(std::string topic, std::string to) & {
    return renamed.insert_or_assign(std::move(topic), std::move(to)), *this;
  }
  PlayOptions& with_rate(double times) & { return rate = times, *this; }
  PlayOptions& with_loop(bool on = true) & { return loop = on, *this; }
  PlayOptions& with_part(Duration begin, Duration time = Duration(0)) & {
    return start = begin, length = time, *this;
  }
  PlayOptions& with_delay(Duration time) & { return delay = time, *this; }
  PlayOptions& with_clock(Duration every) & { return clock = every, *this; }
  PlayOptions& with_subscribers(std::uint32_t count) & { return subscribers = count, *this; }
  [[nodiscard]] PlayOptions with_topics(std::vector<std::string> patterns) && {
    return std::move(with_topics(std::move(patterns)));
  }
  [[nodiscard]] PlayOptions without_topics(std::vector<std::string> patterns) && {
    return std::move(without_topics(std::move(patterns)));
  }
  [[nodiscard]] PlayOptions with_renamed(std::string topic, std::string to) && {
    return std::move(with_renamed(std::move(topic), std::move(to)));
  }
  [[nodiscard]] PlayOptions with_rate(double times) && { return std::move(with_rate(times)); }
  [[nodiscard]] PlayOptions with_loop(bool on = true) && { return std::move(with_loop(on)); }
  [[nodiscard]] PlayOptions with_part(Duration begin, Duration time = Duration(0)) && {
    return std::move(with_part(begin, time));
  }
  [[nodiscard]] PlayOptions with_delay(Duration time) && { return std::move(with_delay(time)); }
  [[nodiscard]] PlayOptions with_clock(Duration every) && { return std::move(with_clock(every)); }
  [[nodiscard]] PlayOptions with_subscribers(std::uint32_t count) && {
    return std::move(with_subscribers(count));
  }
};

/// A topic that is played, and what has become of its messages.
struct PlayedTopic {
  std::string topic;  ///< that is published
  std::string hub;    ///< on which it was recorded; empty: not known
  std::string type;
  std::uint64_t messages = 0;  ///< published
  std::uint64_t late = 0;      ///< of these, more than 10 ms after their time
  std::uint64_t sent = 0;      ///< messages times subscribers
  std::uint64_t dropped = 0;   ///< that a subscriber lost for want of room
  std::uint64_t failed = 0;    ///< that could not be decoded, or were too large
  std::uint32_t subscribers = 0;
};

/// How far a Player is.
struct PlayStatus {
  std::vector<PlayedTopic> topics;
  std::vector<std::string> left_out;  ///< topics that cannot be played, each with the reason
  std::uint64_t messages = 0;
  std::uint64_t late = 0;    ///< see PlayedTopic
  Duration latest{0};        ///< how late the latest one was
  Duration position{0};      ///< of the recording's time, behind its first message
  std::uint64_t rounds = 0;  ///< that have ended; without `loop` one at most
  bool paused = false;
  bool waiting = false;  ///< for subscribers
};

/// Plays recordings.
///
/// Semantics: each message is published when as much time has passed since the beginning as between it and the first one, by
/// their log times, divided by `rate`; equal times keep the order of the file. Several files are played as one. Messages have
/// the type with which they were recorded, so that a program's ordinary subscribers get them; data of Python goes to Python's
/// topics without a type. A topic that cannot be published, since nobody knows its type, or because it was a link between two
/// hubs, is in PlayStatus::left_out. Publishing never waits: subscribers lose messages as from any publisher. In a simulated
/// world all of that is virtual time.
/// Errors: open(): those of bag::Reader::open; EINVAL for options out of range, and for a pattern that fits no topic of the
/// recording. run(): EINVAL when there is no topic that can be played; kTypeMismatch when a topic carries another type on its hub; those of the disk; ECANCELED when its task is
/// asked to stop. A damaged chunk is a line in the log.
/// Thread safety: the thread of the reactor on which it was opened.
/// Example: `auto status = (co_await horus::play("run.mcap", hub, horus::PlayOptions().with_rate(2))).or_throw();`
class HORUS_API Player {
 public:
  /// Gives the hubs on which a topic is published, and is asked again while it gives none; then its messages go nowhere.
  using Hubs = std::function<std::vector<Hub>(const std::string& topic, const std::string& recorded_hub)>;

  [[nodiscard]] static Task<Result<Player>> open(std::vector<std::string> paths, PlayOptions options);
  [[nodiscard]] static Task<Result<Player>> open(std::vector<std::unique_ptr<bag::Source>> sources,
                                                 PlayOptions options);
  Player(Player&&) noexcept;
  Player& operator=(Player&&) noexcept;
  ~Player();

  /// Plays, once, and gives how that went. The Player must stay where it is until it has ended.
  [[nodiscard]] Task<Result<PlayStatus>> run(Hub hub);
  [[nodiscard]] Task<Result<PlayStatus>> run(Hubs hubs);

  /// Nothing is published until resume(); the time of the recording stands still.
  void pause() noexcept;
  void resume() noexcept;
  [[nodiscard]] bool paused() const noexcept;
  /// Paused, publishes the next message at once.
  void step() noexcept;
  /// run() ends soon.
  void stop() noexcept;
  [[nodiscard]] PlayStatus status() const;

 private:
  struct State;
  explicit Player(std::unique_ptr<State> state) noexcept;
  std::unique_ptr<State> state_;
};

/// Plays a recording on a hub, as Player::run.
[[nodiscard]] HORUS_API Task<Result<PlayStatus>> play(std::string path, Hub hub, PlayOptions options);
[[nodiscard]] inline Task<Result<PlayStatus>> play(std::string path, Hub hub) {
  return play(std::move(path), std::move(hub), PlayOptions());
}

}  // namespace horus::HORUS_ABI
