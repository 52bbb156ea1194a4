// SPDX-License-Identifier: Apache-2.0
// What drives a simulated world: virtual time, the queue of events, hosts and the network between them, the trace.
// One thread. Owns everything but the user's closures' captures.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <horus/io/address.hpp>
#include <horus/sim/base/objects.hpp>
#include <horus/sim/base/ports.hpp>
#include <horus/sim/engine/process_table.hpp>
#include <horus/sim/faults.hpp>
#include <horus/sim/files/file_system.hpp>
#include <horus/sim/random.hpp>

namespace horus::HORUS_ABI::sim::detail {

class Stream;
class UnixSocket;

/// How long a lost segment waits to be sent again.
inline constexpr std::int64_t kRetransmit_ns = 200'000'000;
/// The time of day at which worlds begin: 1 January 2030, 12:00 UTC.
inline constexpr std::int64_t kWorldBegins_ns = 1'893'499'200'000'000'000;

/// A machine of the simulated network: one address, its ports.
struct Host {
  std::string address;  // numeric, without port
  Ports tcp{Ports::Protocol::tcp};
  Ports udp{Ports::Protocol::udp};
  // Unix sockets, by the file that they are bound to or by their abstract name.
  std::map<std::uint64_t, UnixSocket*> bound_files;
  std::map<std::string, UnixSocket*> bound_names;
  std::uint16_t next_port = 32768;
  FileSystem disk;
};

/// A socket of `host` may be bound to it.
[[nodiscard]] bool is_of(const Host& host, const io::Address& address);
/// What `host` is called by whom it talks to at `like`; the port is that of `like`.
[[nodiscard]] io::Address address_on(const Host& host, const io::Address& like);

/// What was simulated, folded into one number: equal programs with equal seeds have equal traces.
enum class Trace : std::uint8_t { turn, attempt, arrival, fault, offload, node, ended, signal, spawn };

class Engine {
 public:
  explicit Engine(std::uint64_t seed);
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  ~Engine();

  // --- Time and events.
  [[nodiscard]] std::int64_t now() const noexcept { return now_; }
  /// Calls `action` at `time_ns` or now, whichever is later. Actions of one time run in the order they were asked for.
  void at(std::int64_t time_ns, std::function<void()> action);
  [[nodiscard]] std::int64_t next_event() const noexcept {
    return events_.empty() ? kNever : events_.front().time;
  }
  /// Advances to `time_ns` and runs what is due then.
  void advance(std::int64_t time_ns);
  [[nodiscard]] std::uint64_t events_run() const noexcept { return events_run_; }

  // --- Chance and trace.
  [[nodiscard]] Random& random() noexcept { return random_; }
  [[nodiscard]] Random& fault_random() noexcept { return fault_random_; }
  [[nodiscard]] Faults& faults() noexcept { return faults_; }
  void trace(Trace what, std::uint64_t who, std::uint64_t detail) noexcept;
  [[nodiscard]] std::uint64_t trace_hash() const noexcept { return trace_; }
  /// A fault happened. Kept for the report, at most a thousand.
  void fault(std::string what);
  [[nodiscard]] const std::vector<std::string>& fired() const noexcept { return fired_; }
  [[nodiscard]] std::uint64_t faults_fired() const noexcept { return faults_fired_; }

  /// What the kernel did that it need not have done.
  [[nodiscard]] Oddities& oddities() noexcept { return oddities_; }
  /// Something that always holds does not. The first one counts.
  void violated(const std::string& what);
  [[nodiscard]] const std::string& violation() const noexcept { return violation_; }
  /// A violation ends the program: nobody reads a report.
  void end_at_violations() noexcept { ends_at_violations_ = true; }

  // --- Network.
  Host& host(const std::string& address);
  [[nodiscard]] Host* find_host(const std::string& address) noexcept;
  /// All of them, in the order of their addresses.
  [[nodiscard]] std::vector<Host*> hosts() const;
  /// The host that `address` names, seen from `from`: a loopback address is itself. Null when there is none.
  [[nodiscard]] Host* host_of(Host& from, const io::Address& address) noexcept;
  /// When something sent now arrives, not before `earliest`; kNever when a partition lasts for ever.
  [[nodiscard]] std::int64_t arrival(const Host& from, const Host& to, std::int64_t earliest) noexcept;
  void partition(const Host& one, const Host& other, std::int64_t until);
  [[nodiscard]] bool partitioned(const Host& one, const Host& other) const noexcept;
  /// Breaks every connection between the two.
  std::size_t reset_connections(const Host& one, const Host& other);
  /// A name that everybody resolves; the addresses in the order in which they were given.
  void add_name(const std::string& name, const std::string& address) { names_[name].push_back(address); }
  [[nodiscard]] const std::vector<std::string>* addresses_of(const std::string& name) const;
  std::uint16_t free_port(const Host& host, bool stream) noexcept;
  void add_connection(const std::shared_ptr<Stream>& stream);

  [[nodiscard]] ProcessTable& processes() noexcept { return processes_; }

 private:
  struct Event {
    std::int64_t time;
    std::uint64_t number;
    std::function<void()> action;
  };
  struct Partition {
    const Host* one;
    const Host* other;
    std::int64_t until;
  };
  static bool later(const Event& a, const Event& b) noexcept {
    return a.time != b.time ? a.time > b.time : a.number > b.number;
  }
  [[nodiscard]] std::int64_t partitioned_until(const Host& one, const Host& other) const noexcept;

  std::int64_t now_;
  std::vector<Event> events_;  // a heap
  std::uint64_t next_number_ = 0;
  std::uint64_t events_run_ = 0;
  Random random_;
  Random fault_random_;
  Faults faults_;
  std::uint64_t trace_;
  std::vector<std::string> fired_;
  std::uint64_t faults_fired_ = 0;
  Oddities oddities_;
  std::string violation_;
  bool ends_at_violations_ = false;
  std::map<std::string, std::unique_ptr<Host>> hosts_;
  std::vector<Partition> partitions_;
  std::vector<std::weak_ptr<Stream>> connections_;
  std::map<std::string, std::vector<std::string>> names_;
  ProcessTable processes_{*this};
};

}  // namespace horus::HORUS_ABI::sim::detail
