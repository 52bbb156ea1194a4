// SPDX-License-Identifier: Apache-2.0
// Deterministic simulation of whole programs: the user's own graph, unchanged, in virtual time with seeded faults.
// One thread. A World owns its processes; it must outlive what they use.
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
#include <horus/sim/faults.hpp>
#include <horus/sim/program.hpp>
#include <horus/sim/random.hpp>
#include <horus/task/task.hpp>

namespace horus::sim {

/// What became of a run. Plain data.
struct Report {
  std::uint64_t seed = 0;
  bool passed = true;
  std::string failure;           ///< the first broken promise, with its time; empty when it passed
  std::uint64_t trace_hash = 0;  ///< equal for equal programs and seeds, on every compiler
  Duration virtual_time{0};
  Duration real_time{0};
  std::uint64_t turns = 0;  ///< turns of the processes' loops
  std::uint64_t faults_fired = 0;
  Oddities oddities;                ///< what the kernel did that it need not have done
  std::vector<std::string> faults;  ///< the first thousand of them, each with its time
  std::vector<std::string> swarm;   ///< what the seed chose for `swarm`; the place here is its number

  explicit operator bool() const noexcept { return passed; }
  /// Virtual time per real time.
  [[nodiscard]] double speed() const noexcept {
    return real_time > Duration::zero()
               ? static_cast<double>(virtual_time.count()) / static_cast<double>(real_time.count())
               : 0;
  }
  /// A few lines for people, the seed first.
  [[nodiscard]] HORUS_API std::string to_string() const;
};

/// Puts parts of its own in front of those that it is given (io::ForwardingClock, sim::RelayRing and their like).
using BackendWrap = std::function<io::Backend(io::Backend)>;

/// Talks with one connection of a scripted peer.
using Conversation = std::function<Task<>(io::TcpStream)>;

/// A peer that sends `lines`, one every `interval`, again and again, and hears nothing.
[[nodiscard]] HORUS_API Conversation repeat_lines(std::vector<std::string> lines, Duration interval);

/// A simulated network of processes, each with its own descriptors, reactor and clock, in one thread.
///
/// Semantics: user code runs as it is; `horus::now()`, timers, sockets, pipes and pool work are answered by the world.
/// Everything that chance decides comes from the seed. Nodes take no CPU time unless `cost` says so. A world runs once.
/// Errors: std::invalid_argument for a name, address or time that cannot be; a broken promise is in the Report.
/// Thread safety: one thread, and no reactor of its own while it runs.
/// Example: examples/simulation.
/// Source: the simulators of FoundationDB (Zhou et al., SIGMOD 2021) and TigerBeetle.
class HORUS_API World {
 public:
  /// `without`: numbers of what `swarm` must leave out, to find out which of its faults a failure needs.
  explicit World(std::uint64_t seed, std::vector<unsigned> without = {});
  World(const World&) = delete;
  World& operator=(const World&) = delete;
  ~World();

  /// Adds a process that runs `main` from the beginning on. It has a host of its own, 10.0.1.N, unless `address` names
  /// one. The run fails when it throws or ends with another code than 0 without having been killed.
  World& process(std::string name, std::function<Task<int>()> main, std::string address = {});
  /// Adds a host that listens at `address` ("10.0.0.2:10110") and plays `conversation` with whoever connects. What it
  /// throws (its peer has gone) is nobody's failure.
  World& tcp_peer(std::string address, Conversation conversation);

  /// A program that processes of every host can start with `io::Process`: `play` is its main function. Where a host's disk
  /// has a file at `path` as well, its permissions count (EACCES, without x); a file alone is no program (ENOEXEC).
  /// How it ends is its parent's business, never a failure of the run.
  World& program(const std::string& path, Program play);
  /// A name that `io::resolve` and `TcpStream::connect` know; every process's own name is one too.
  World& name(const std::string& name, const std::string& address);
  /// Whatever `wrap` makes stands between the reactor of each life of a process and the simulated kernel: a fault of
  /// your own. The world's checks see what it does.
  World& backend(const std::string& process, BackendWrap wrap);

  /// CPU time of each tick of the nodes with this name, in every process.
  World& cost(std::string node, Distribution time);
  /// The small faults. They may be changed at any time of the run: `world.at(30s).faults(…)`.
  World& faults(const Faults& faults);

  /// A file on a host's disk, named by a process or an address: put there before the run, and durable.
  World& file(const std::string& host, const std::string& path, const std::string& contents);
  /// What a process has written to its standard output and error: the last 64 KiB of its present or last life.
  [[nodiscard]] std::string output(const std::string& process) const;
  /// What a file holds now; none: there is no such file.
  [[nodiscard]] std::optional<std::string> file(const std::string& host, const std::string& path);

  /// Chaos, as the seed chooses: until `until` a random subset of the small faults, partitions, resets, and kills of
  /// processes that start again; then all is well. Call it when all processes have been added.
  /// `kills`: processes that may be killed; they must be able to start again. A program's path means its children, which
  /// nobody but their parent starts again.
  World& swarm(Duration until, std::vector<std::string> kills = {});

  /// `holds` is asked after every step of the world.
  World& always(std::string name, std::function<bool()> holds);
  /// `holds` may be false for `within` at a time at most, not counting the time of partitions and dead processes.
  World& eventually(std::string name, std::function<bool()> holds, Duration within);

  /// What happens at a time of the run: `world.at(30s).partition("rover", "10.0.0.2", 5s)`.
  class HORUS_API At {
   public:
    /// Cuts the network between two hosts, named by a process or an address. Segments wait and come later; datagrams
    /// are lost.
    At& partition(std::string one, std::string other, Duration length);
    /// Breaks all connections between the two: both sides see ECONNRESET.
    At& reset(std::string one, std::string other);
    /// Kills a process as SIGKILL does: its descriptors close at that moment. (Its coroutines are asked to stop, and
    /// run to their end cut off from the world.)
    At& kill(std::string process);
    /// Sends a signal to a process, as kill(1) does; unless it waits for it with a SignalSet, SIGTERM ends it like
    /// `kill`. SIGSTOP freezes it until SIGCONT. To a program's path: to all who run it.
    At& signal(std::string process, int number);
    /// Cuts the power of a host: its processes die, and what they wrote and did not sync may be lost, page by page
    /// and name by name.
    At& cut_power(std::string host);
    /// Starts a killed or ended process anew.
    At& restart(std::string process);
    /// Asks a process's main task to stop, as a stop() from outside would.
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

  /// Runs for `length` of virtual time, or until every process has ended; then asks all to stop, lets them end, and
  /// checks what they left behind: descriptors, coroutine frames.
  const Report& run_for(Duration length);

  /// What the run came to; the seed alone before it.
  [[nodiscard]] const Report& report() const noexcept;
  /// Before the run: remembers what a timeline shows.
  World& record_timeline();
  /// Writes a picture of the run, one lane per process: activity, faults, the moment of the failure (an SVG file).
  /// False when the file cannot be written.
  [[nodiscard]] bool write_timeline(const std::string& path) const;

  /// Virtual time since the beginning.
  [[nodiscard]] Duration now() const noexcept;
  /// What `horus::now_ns()` says in its processes, for promises that compare times.
  [[nodiscard]] std::int64_t now_ns() const noexcept;
  /// For decisions of the scenario itself.
  [[nodiscard]] Random& random() noexcept;
  [[nodiscard]] std::uint64_t seed() const noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace horus::sim
