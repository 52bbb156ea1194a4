// SPDX-License-Identifier: Apache-2.0
// Deterministic simulation of whole programs: the user's own program, unchanged, in virtual time with seeded faults.
// One thread. A World owns its processes, and everything that they use must outlive it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <horus/base/export.hpp>
#include <horus/io/seam/backend.hpp>
#include <horus/io/tcp.hpp>
#include <horus/record/player.hpp>
#include <horus/sim/faults.hpp>
#include <horus/sim/program.hpp>
#include <horus/sim/random.hpp>
#include <horus/task/task.hpp>

namespace horus::HORUS_ABI::sim {

/// The result of a run. Plain data.
struct Report {
  std::uint64_t seed = 0;
  bool passed = true;
  std::string failure;           ///< the first broken promise, with its time; empty when the run passed
  std::uint64_t trace_hash = 0;  ///< equal for equal programs and seeds, on every compiler
  Duration virtual_time{0};
  Duration real_time{0};
  std::uint64_t turns = 0;  ///< turns of the processes' loops
  std::uint64_t faults_fired = 0;
  Oddities oddities;                ///< rare but permitted behaviour of the kernel
  std::vector<std::string> faults;  ///< the first thousand of them, each with its time
  std::vector<std::string> swarm;   ///< the faults that the seed chose for `swarm`; the index is the number

  explicit operator bool() const noexcept { return passed; }
  /// Virtual time per real time.
  [[nodiscard]] double speed() const noexcept {
    return real_time > Duration::zero()
               ? static_cast<double>(virtual_time.count()) / static_cast<double>(real_time.count())
               : 0;
  }
  /// A few lines for a person; the first one has the seed.
  [[nodiscard]] HORUS_API std::string to_string() const;
};

/// Wraps a backend's parts in parts of its own (io::ForwardingClock, sim::RelayRing and their like).
using BackendWrap = std::function<io::Backend(io::Backend)>;

/// Handles one connection of a scripted peer.
using Conversation = std::function<Task<>(io::TcpStream)>;

/// A peer that sends `lines`, one every `interval`, again and again, and reads nothing.
[[nodiscard]] HORUS_API Conversation repeat_lines(std::vector<std::string> lines, Duration interval);

/// A simulated network of processes, each with its own descriptors, reactor and clock, in one thread.
///
/// Semantics: user code runs unchanged; the world answers `horus::now()`, timers, sockets, pipes and pool work. The
/// seed determines everything random. Nodes take no CPU time unless `cost` says so. A world runs once.
/// Errors: std::invalid_argument for an invalid name, address or time; a broken promise is in the Report.
/// Thread safety: one thread, and no reactor of its own while it runs.
/// Example: examples/simulation.
/// Source: the simulators of FoundationDB (Zhou et al., SIGMOD 2021) and TigerBeetle.
class HORUS_API World {
 public:
  /// `without`: the numbers of faults that `swarm` must leave out, to find out which faults a failure needs.
  explicit World(std::uint64_t seed, std::vector<unsigned> without = {});
  World(const World&) = delete;
  World& operator=(const World&) = delete;
  ~World();

  /// Adds a process that runs `main` from the start of the run. It has a host of its own, 10.0.1.N, unless `address`
  /// names one. The run fails when it throws, or ends with a code other than 0 without having been killed.
  World& process(std::string name, std::function<Task<int>()> main, std::string address = {});
  /// Adds a host that listens at `address` ("10.0.0.2:10110") and plays `conversation` for each connection. An
  /// exception from it (its peer has gone) fails nothing.
  World& tcp_peer(std::string address, Conversation conversation);

  /// A program that processes of every host can start with `io::Process`: `play` is its main function. When a host's
  /// disk also has a file at `path`, the permissions of that file count (EACCES, without x); a file alone is no
  /// program (ENOEXEC). Its end never fails the run; its parent has to handle it.
  World& program(const std::string& path, Program play);
  /// A name that `io::resolve` and `TcpStream::connect` know. The name of every process is known as well.
  World& name(const std::string& name, const std::string& address);
  /// Puts a fault of your own between the simulated kernel and the reactor of each life of a process: the parts that
  /// `wrap` makes. The world's checks see its effects.
  World& backend(const std::string& process, BackendWrap wrap);

  /// Sets the CPU time of each tick of the nodes with this name, in every process.
  World& cost(std::string node, Distribution time);
  /// The small faults. You may change them during the run: `world.at(30s).faults(…)`.
  World& faults(const Faults& faults);

  /// A file on the disk of a host, named by a process or an address. It is there before the run, and durable.
  World& file(const std::string& host, const std::string& path, const std::string& contents);
  /// The standard output and error of a process: the last 64 KiB of its present or last life.
  [[nodiscard]] std::string output(const std::string& process) const;
  /// Feeds a recording of the real disk into a process: its messages are published, in virtual time, on the hubs of the process
  /// that subscribe to their topics, so that a node can be tested with what a robot has seen. It begins when somebody subscribes
  /// to one of the topics; in each life of the process anew, until its main task has ended. Give it the topics that the
  /// process does not publish itself: `world.play("planner", "field.mcap", PlayOptions().with_topics({"odometry", "scan"}))`.
  /// Errors: Error at once for a file that cannot be read, and as Player::open for the options; the run fails when a topic that
  /// was asked for cannot be played, or carries another type in the process.
  World& play(const std::string& process, const std::string& path, PlayOptions options = PlayOptions());
  /// The present contents of a file; none when there is no such file.
  [[nodiscard]] std::optional<std::string> file(const std::string& host, const std::string& path);

  /// Chaos that the seed chooses: until `until`, a random subset of the small faults, partitions, resets, and kills
  /// of processes that start again; after that there are no faults. Call it when all processes have been added.
  /// `kills`: processes that may be killed; they must be able to start again. The path of a program means its
  /// children, which only their parent starts again.
  World& swarm(Duration until, std::vector<std::string> kills = {});

  /// A promise: `holds` is checked after every step of the world.
  World& always(std::string name, std::function<bool()> holds);
  /// A promise that may be broken for at most `within` at a time, not counting the time of partitions and dead
  /// processes.
  World& eventually(std::string name, std::function<bool()> holds, Duration within);

  /// Schedules an action for a time of the run: `world.at(30s).partition("rover", "10.0.0.2", 5s)`.
  class HORUS_API At {
   public:
    /// Cuts the network between two hosts, named by a process or an address. Segments are delayed until it is
    /// restored; datagrams are lost.
    At& partition(std::string one, std::string other, Duration length);
    /// Breaks all connections between the two: both sides see ECONNRESET.
    At& reset(std::string one, std::string other);
    /// Kills a process as SIGKILL does: its descriptors close at that moment. (Its coroutines are asked to stop and
    /// run to their end, cut off from the world.)
    At& kill(std::string process);
    /// Sends a signal to a process, as kill(1) does. SIGTERM ends the process like `kill`, unless it waits for it
    /// with a SignalSet. SIGSTOP freezes it until SIGCONT. With the path of a program, the signal goes to every
    /// process that runs it.
    At& signal(std::string process, int number);
    /// Cuts the power of a host: its processes die, and data that they wrote and did not sync may be lost, page by
    /// page and name by name.
    At& cut_power(std::string host);
    /// Restarts a process that was killed or has ended.
    At& restart(std::string process);
    /// Asks the main task of a process to stop, as a stop() from outside would.
    At& stop(std::string process);
    At& faults(const Faults& faults);
    At& call(std::function<void()> action);

   private:
    friend class World;
    At(World& world, Duration time) noexcept : world_(world), time_(time) {}
    World& world_;
    Duration time_;
  };
  At at(Duration time);

  /// Runs for `length` of virtual time, or until every process has ended. Then it asks all of them to stop, lets them
  /// end, and checks for leaks: descriptors and coroutine frames.
  const Report& run_for(Duration length);

  /// The result of the run; before the run it has the seed alone.
  [[nodiscard]] const Report& report() const noexcept;
  /// Call it before the run, to record the data for a timeline.
  World& record_timeline();
  /// Writes a picture of the run, one lane per process: activity, faults, the moment of the failure (an SVG file).
  /// False when the file cannot be written.
  [[nodiscard]] bool write_timeline(const std::string& path) const;

  /// Virtual time since the beginning.
  [[nodiscard]] Duration now() const noexcept;
  /// The time that `horus::now_ns()` gives in its processes, for promises that compare times.
  [[nodiscard]] std::int64_t now_ns() const noexcept;
  /// Random numbers for decisions of the scenario itself.
  [[nodiscard]] Random& random() noexcept;
  [[nodiscard]] std::uint64_t seed() const noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace horus::HORUS_ABI::sim
