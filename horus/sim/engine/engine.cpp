// SPDX-License-Identifier: Apache-2.0
#include <horus/sim/engine/engine.hpp>

#include <algorithm>
#include <cerrno>
#include <initializer_list>

#include <fmt/format.h>

#include <horus/base/assert.hpp>
#include <horus/sim/engine/stream.hpp>

namespace horus::HORUS_ABI::sim {

namespace {

// Each of `rates` is off or, with equal chance, somewhere up to a fifth.
void draw(Random& random, std::initializer_list<unsigned*> rates) {
  for (unsigned* rate : rates) {
    const bool on = random.chance(1, 2);
    const std::uint64_t per_thousand = random.below(200);
    if (on) *rate = static_cast<unsigned>(per_thousand) + 1;
  }
}

}  // namespace

Faults Faults::swarm(Random& random) {
  Faults faults = unspecified(random);
  draw(random, {&faults.datagram_loss, &faults.datagram_duplicate, &faults.datagram_late,
                &faults.slow_segment, &faults.disk_error, &faults.disk_full, &faults.spawn_failure,
                &faults.slow_start, &faults.child_death});
  return faults;
}

Faults Faults::unspecified(Random& random) {
  Faults faults;
  draw(random,
       {&faults.short_transfer, &faults.early_return, &faults.completions_mixed, &faults.completion_late,
        &faults.cancel_late, &faults.multishot_end, &faults.no_buffers, &faults.ready_mixed});
  return faults;
}

namespace detail {
namespace {

constexpr std::int64_t kBoot_ns =
    1'000'000'000'000;  // a monotonic clock of a machine that was started a while ago
constexpr std::size_t kFaultsKept = 1000;
constexpr std::uint16_t kFirstPort = 32768;
constexpr std::uint16_t kLastPort = 60999;

bool is_loopback(const std::string& host) { return host.starts_with("127.") || host == "::1"; }

}  // namespace

bool is_of(const Host& host, const io::Address& address) {
  const std::string name = address.host();
  return is_any(address) || name == host.address || is_loopback(name);
}

io::Address address_on(const Host& host, const io::Address& like) {
  const std::string name = like.host();
  auto address = io::Address::ip(is_loopback(name) ? name : host.address, like.port());
  return address ? *address : like;
}

Engine::Engine(std::uint64_t seed)
    : now_(kBoot_ns),
      random_(seed),
      fault_random_(random_.derived("faults")),
      trace_(0xCBF29CE484222325U ^ seed) {}

Engine::~Engine() = default;

// --- Time -------------------------------------------------------------------------------------------------------------

void Engine::at(std::int64_t time_ns, std::function<void()> action) {
  if (time_ns == kNever) return;
  events_.push_back({std::max(time_ns, now_), next_number_++, std::move(action)});
  std::push_heap(events_.begin(), events_.end(), later);
}

void Engine::advance(std::int64_t time_ns) {
  HORUS_ASSERT(time_ns >= now_, "virtual time went back");
  now_ = time_ns;
  while (!events_.empty() && events_.front().time <= now_) {
    std::pop_heap(events_.begin(), events_.end(), later);
    const auto action = std::move(events_.back().action);
    events_.pop_back();
    ++events_run_;
    action();
  }
}

void Engine::trace(Trace what, std::uint64_t who, std::uint64_t detail) noexcept {
  const auto mix = [this](std::uint64_t word) {
    trace_ = (trace_ ^ word) * 0x9E3779B97F4A7C15U;
    trace_ ^= trace_ >> 29;
  };
  mix(static_cast<std::uint64_t>(now_));
  mix(static_cast<std::uint64_t>(what) << 56 | who);
  mix(detail);
}

void Engine::fault(std::string what) {
  ++faults_fired_;
  trace(Trace::fault, 0, faults_fired_);
  if (fired_.size() < kFaultsKept) {
    fired_.push_back(fmt::format("{:.6f} s: {}", static_cast<double>(now_ - kBoot_ns) / 1e9, what));
  }
}

void Engine::violated(const std::string& what) {
  HORUS_ASSERT(!ends_at_violations_, what.c_str());
  if (violation_.empty()) violation_ = what;
}

// --- Network ----------------------------------------------------------------------------------------------------------

Host& Engine::host(const std::string& address) {
  auto& place = hosts_[address];
  if (!place) {
    place = std::make_unique<Host>();
    place->address = address;
    place->next_port = kFirstPort;
  }
  return *place;
}

Host* Engine::find_host(const std::string& address) noexcept {
  const auto found = hosts_.find(address);
  return found == hosts_.end() ? nullptr : found->second.get();
}

std::vector<Host*> Engine::hosts() const {
  std::vector<Host*> all;
  all.reserve(hosts_.size());
  for (const auto& [address, host] : hosts_) all.push_back(host.get());
  return all;
}

Host* Engine::host_of(Host& from, const io::Address& address) noexcept {
  const std::string name = address.host();
  if (name.starts_with("127.") || name == "::1" || name == "0.0.0.0" || name == "::") return &from;
  return find_host(name);
}

std::int64_t Engine::partitioned_until(const Host& one, const Host& other) const noexcept {
  std::int64_t until = 0;
  for (const Partition& partition : partitions_) {
    const bool between = (partition.one == &one && partition.other == &other) ||
                         (partition.one == &other && partition.other == &one);
    if (between && partition.until > now_) until = std::max(until, partition.until);
  }
  return until;
}

bool Engine::partitioned(const Host& one, const Host& other) const noexcept {
  return partitioned_until(one, other) > now_;
}

void Engine::partition(const Host& one, const Host& other, std::int64_t until) {
  std::erase_if(partitions_, [this](const Partition& old) { return old.until <= now_; });
  partitions_.push_back({&one, &other, until});
}

std::int64_t Engine::arrival(const Host& from, const Host& to, std::int64_t earliest) noexcept {
  if (&from == &to) {
    const Duration latency = faults_.local_latency.draw(random_);
    return std::max(earliest, now_ + latency.count());
  }
  const Duration latency = faults_.latency.draw(random_);
  std::int64_t start = now_;
  if (const std::int64_t until = partitioned_until(from, to); until > now_) {
    if (until == kNever) return kNever;
    const std::int64_t retry = static_cast<std::int64_t>(random_.below(kRetransmit_ns));
    start = until + retry;
  }
  return std::max(earliest, start + latency.count());
}

void Engine::add_connection(const std::shared_ptr<Stream>& stream) {
  std::erase_if(connections_, [](const std::weak_ptr<Stream>& old) { return old.expired(); });
  connections_.push_back(stream);
}

std::size_t Engine::reset_connections(const Host& one, const Host& other) {
  std::vector<std::shared_ptr<Stream>> between;
  for (const auto& known : connections_) {
    const auto stream = known.lock();
    if (!stream || stream->state() != Stream::State::connected || !stream->other_end()) continue;
    const Host* here = stream->host();
    const Host* there = stream->other_end()->host();
    if ((here == &one && there == &other) || (here == &other && there == &one)) between.push_back(stream);
  }
  for (const auto& stream : between) stream->reset();
  return between.size();
}

const std::vector<std::string>* Engine::addresses_of(const std::string& name) const {
  const auto found = names_.find(name);
  return found == names_.end() ? nullptr : &found->second;
}

std::uint16_t Engine::free_port(const Host& host, bool stream) noexcept {
  auto& next = const_cast<Host&>(host).next_port;
  for (int i = kFirstPort; i <= kLastPort; ++i) {
    const std::uint16_t port = next;
    next = port == kLastPort ? kFirstPort : static_cast<std::uint16_t>(port + 1);
    const bool taken = (stream ? host.tcp : host.udp).taken(port);
    if (!taken) return port;
  }
  return 0;
}

}  // namespace detail
}  // namespace horus::HORUS_ABI::sim
