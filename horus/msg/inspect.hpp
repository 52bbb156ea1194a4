// SPDX-License-Identifier: Apache-2.0
// Looks into running programs from outside, through their doors: what they publish, how much, and the messages themselves.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

#include <horus/base/clock.hpp>
#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/msg/description.hpp>
#include <horus/msg/layout.hpp>

namespace horus::HORUS_ABI::inspect {

/// A program whose door is open.
struct Process {
  pid_t pid = 0;        ///< as it sees itself: in a container another number than outside
  std::string name;     ///< the file name of its executable
  std::string version;  ///< of its Horus library
  Duration uptime{0};
  std::vector<std::string> command_line;  ///< at most the first 4096 bytes
  /// Unix time minus the monotonic clock, in nanoseconds: what to add to `Message::published_ns`.
  std::int64_t unix_offset_ns = 0;
  std::string socket;  ///< the path of its door
};

/// A publisher of that program.
struct Topic {
  std::uint64_t publisher = 0;  ///< its number in the program; no other one ever has it
  std::string name;
  std::string hub;
  std::string peer;    ///< of a link: name of the hub at the other end; else empty
  std::string type;    ///< of its messages
  std::string layout;  ///< of its messages, one line: Layout::describe()
  std::uint64_t layout_hash = 0;
  std::uint64_t published = 0;  ///< messages so far
  std::uint64_t bytes = 0;      ///< of them
  std::optional<Duration>
      silent;  ///< since its last message, accurate to a turn of its loop; nothing: it never sent one
  std::uint64_t dropped = 0;  ///< messages that subscribers lost, over all of them
  std::uint32_t subscribers = 0;
};

/// Some times, in nanoseconds; 0 when there were none.
struct Timing {
  std::int64_t p50_ns = 0;
  std::int64_t p99_ns = 0;
  std::int64_t max_ns = 0;
};

/// Where a node's ticks wait.
struct Await {
  std::string operation;  ///< "recv", "sleep", "file read", ...
  std::string place;      ///< file:line of the co_await
  std::uint64_t count = 0;
  std::int64_t total_ns = 0;
  std::int64_t worst_ns = 0;
};

/// A node of a scheduler that runs in that program. Counters are since the scheduler's start.
struct Node {
  std::string name;
  std::string executor;    ///< empty: the scheduler's own thread
  std::string state;       ///< "running", "paused", "restarting", ...: NodeState
  std::string circuit;     ///< "closed", "open", ...: CircuitState
  std::string last_error;  ///< of the last failed tick, at most 256 bytes
  int priority = 0;
  double rate_hz = 0;       ///< 0: event-driven
  double tick_rate_hz = 0;  ///< below `rate_hz` while misses have slowed it down
  /// How old the figures are: above 0 when the node's loop does not answer. State and watchdog are current all the same.
  double age_ms = 0;
  double kept = 1;  ///< share of grid points whose tick succeeded before the next one
  std::uint64_t ticks = 0;
  std::uint64_t failed = 0;
  std::uint64_t cancelled = 0;
  std::uint64_t skipped = 0;
  std::uint64_t deadline_misses = 0;
  std::uint64_t restarts = 0;
  double watchdog_ms = 0;  ///< 0: it has none
  bool watchdog_expired = false;
  double since_success_ms = 0;  ///< as its watchdog counts it
  std::uint64_t sent = 0;       ///< messages
  std::uint64_t received = 0;
  std::uint64_t queued = 0;
  Timing lateness;            ///< from the grid point to the start of the tick
  Timing execution;           ///< on the loop
  Timing response;            ///< from the grid point to the end of the tick
  std::vector<Await> awaits;  ///< at most 8, the longest total first
};

/// What a visitor may do to a program. All but `emergency_stop` need `control = true` in its `[inspect]`.
enum class Action : std::uint8_t { emergency_stop, reset_emergency_stop, pause, resume, restart };
HORUS_API const char* to_string(Action action) noexcept;

/// The type of a publisher's messages.
struct MessageType {
  Layout layout;
  std::shared_ptr<const Description> description;  ///< null when nobody in that program has described it
};

/// A tap that a program holds for this client.
struct Subscription {
  std::uint32_t number = 0;
  Topic topic;
};

/// One event of the taps: a message, or that a tap is over.
struct Message {
  std::uint32_t subscription = 0;
  bool ended = false;                ///< the publisher has gone: there are no bytes, and none follow
  std::int64_t published_ns = 0;     ///< of the monotonic clock
  std::uint64_t sequence = 0;        ///< since the tap began, from 0; a gap means a loss
  std::span<const std::byte> bytes;  ///< as Layout says; until the next call
};

struct ClientOptions {
  /// The longest wait for a program, in each call.
  Duration timeout = std::chrono::seconds(1);
  /// The hubs' directory; doors are in its folder `inspect`. Empty: each directory that Hub::shm would look into.
  std::string directory;
};

/// A visit in one program.
///
/// Semantics: the program's own loops take no part, so it answers while they are blocked. It does not answer while it is
/// stopped (SIGSTOP, a debugger). Doors are open to the program's user and to root.
/// Errors: ENOENT, with the programs that there are; ETIMEDOUT when it does not answer in time; EPIPE when it has ended;
/// kBadInput for an answer that makes no sense; EPROTO when it speaks another version; what the program refuses has
/// EINVAL and its own words.
/// Thread safety: one thread at a time. Blocking: not for the thread of a reactor.
/// Example:
/// ```
/// auto rover = horus::inspect::Client::connect("rover").or_throw();
/// for (const auto& topic : rover.topics().or_throw()) fmt::print("{} {}\n", topic.name, topic.published);
/// ```
class HORUS_API Client {
 public:
  /// All programs whose doors answer within the timeout, by pid.
  [[nodiscard]] static Result<std::vector<Process>> processes(const ClientOptions& options = {});
  /// Errors: ENOTUNIQ, with their pids, when several programs have that name.
  [[nodiscard]] static Result<Client> connect(std::string_view name, const ClientOptions& options = {});
  [[nodiscard]] static Result<Client> connect(pid_t pid, const ClientOptions& options = {});
  /// The door at this path.
  [[nodiscard]] static Result<Client> connect_to(const std::string& socket,
                                                 const ClientOptions& options = {});
  Client(Client&& other) noexcept;
  Client& operator=(Client&& other) noexcept;
  ~Client();

  /// Who it is, now.
  [[nodiscard]] Result<Process> process();
  /// In the order in which they were opened.
  [[nodiscard]] Result<std::vector<Topic>> topics();

  /// What a publisher's messages are. Errors: EINVAL when it has gone.
  [[nodiscard]] Result<MessageType> describe(std::uint64_t publisher);
  /// Of the schedulers that run, in the order in which they were added. A loop that is blocked delays the answer by 50 ms.
  [[nodiscard]] Result<std::vector<Node>> nodes();
  /// What every coroutine of the program waits for, and where: horus::io::dump_all_tasks(), at most 512 KiB of it. A loop that
  /// is blocked delays the answer by 200 ms, and its stack is in it.
  [[nodiscard]] Result<std::string> tasks();
  /// Does it to `node`; the emergency stop and its reset are for all nodes, and `node` is empty.
  /// Errors: EINVAL with the program's words when there is no such node, when no scheduler runs, or when the program does not
  /// permit it: then nothing was done.
  Result<> act(Action action, std::string_view node = {});

  /// Reads along what a publisher sends from now on. `max_bytes`, 1 KiB to 16 MiB: what the program keeps for this tap
  /// until it is sent; the oldest give way. A message above 16 MiB is missed.
  /// Errors: EINVAL, with what there is: no such publisher, or several of that name in several hubs.
  [[nodiscard]] Result<Subscription> tap(std::string_view topic,
                                         std::size_t max_bytes = std::size_t{1} << 20);
  [[nodiscard]] Result<Subscription> tap(std::uint64_t publisher,
                                         std::size_t max_bytes = std::size_t{1} << 20);
  /// How many messages were missed in all: lost in the program, because this client was slow.
  Result<std::uint64_t> untap(std::uint32_t subscription);
  /// The next message of any tap; nothing when none comes in time.
  [[nodiscard]] Result<std::optional<Message>> next(Duration timeout);
  /// Readable when next() may have something; for poll(2) alone. Of this client.
  [[nodiscard]] int descriptor() const noexcept;
  /// How many messages of this tap were missed, as far as the program has told.
  [[nodiscard]] std::uint64_t missed(std::uint32_t subscription) const;

 private:
  struct State;
  explicit Client(std::unique_ptr<State> state) noexcept;
  std::unique_ptr<State> state_;
};

}  // namespace horus::HORUS_ABI::inspect
