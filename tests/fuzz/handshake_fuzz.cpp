// SPDX-License-Identifier: Apache-2.0
// A session of a hub with ports, fed with any bytes in pieces of any size: it must end by itself, in virtual time, and
// the accounts of its publisher must add up.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <horus/base/log.hpp>
#include <horus/io/time.hpp>
#include <horus/msg/hub.hpp>
#include <horus/msg/tcp/tcp_session.hpp>
#include <horus/sim/alone.hpp>

namespace {

using horus::Hub;
using horus::Result;
using horus::Task;
using namespace horus::msg;

struct Reading {
  std::int64_t number = 0;
};

// The fuzzer's bytes; the size of each piece comes from the bytes as well. Then silence, or the end.
class FuzzedStream final : public SessionStream {
 public:
  explicit FuzzedStream(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}

  Task<Result<std::size_t>> read(horus::io::MutableBytes into) override {
    co_await horus::yield();
    if (closed_) co_return horus::Error(ECANCELED, "read");
    if (bytes_.empty()) {
      if (silent_) {
        try {
          co_await closing_.wait();
        } catch (const horus::Error&) {
        }
        co_return horus::Error(ECANCELED, "read");
      }
      co_return horus::Error(horus::kEndOfStream, "read");
    }
    const std::size_t piece = bytes_[0] % 3 == 0 ? std::size_t{bytes_[0]} + 1 : bytes_.size();
    const std::size_t size = std::min({piece, bytes_.size(), into.size()});
    std::memcpy(into.data(), bytes_.data(), size);
    bytes_ = bytes_.subspan(size);
    if (bytes_.empty()) silent_ = size % 2 == 0;
    co_return size;
  }
  Task<Result<std::size_t>> read(std::span<const horus::io::MutableBytes> parts) override {
    std::size_t room = 0;
    for (const auto& part : parts) room += part.size();
    std::vector<std::byte> whole(room);
    auto reading = read(horus::io::MutableBytes(whole));
    const Result<std::size_t> count = co_await reading;
    if (!count) co_return count;
    std::size_t done = 0;
    for (const auto& part : parts) {
      const std::size_t size = std::min(part.size(), *count - done);
      std::memcpy(part.data(), whole.data() + done, size);
      done += size;
    }
    co_return count;
  }
  Task<Result<>> write(std::span<const horus::io::Bytes>) override {
    co_await horus::yield();
    if (closed_) co_return horus::Error(ECANCELED, "write");
    co_return Result<>();
  }
  void close() noexcept override {
    closed_ = true;
    closing_.set();
  }

 private:
  std::span<const std::uint8_t> bytes_;
  bool closed_ = false;
  bool silent_ = false;
  horus::Event closing_;
};

class Owner final : public SessionOwner {
 public:
  Result<> admit(TcpSession&) override { return {}; }
  void complain(TcpSession&, const std::string& problem) override {
    if (problem.empty()) std::abort();
  }
  void withdraw_complaint(TcpSession&, const std::string&) override {}
  void remember_seen(const PairOfPorts& pair, std::optional<std::uint64_t> seen) override {
    if (!seen) {
      seen_.erase(pair);
    } else {
      seen_[pair] = *seen;
    }
  }
  [[nodiscard]] std::optional<std::uint64_t> seen_of(const PairOfPorts& pair) const override {
    const auto found = seen_.find(pair);
    return found == seen_.end() ? std::nullopt : std::optional(found->second);
  }
  [[nodiscard]] const std::shared_ptr<InboundBudget>& inbound() const override { return inbound_; }
  [[nodiscard]] const LocalPorts& ports() const override { return ports_; }
  [[nodiscard]] bool is_neighbour(const wire::Greeting&) const override { return false; }

  // Numbers that seeds know.
  void add(std::uint64_t number, const Port& port) {
    LocalPort& local = ports_[number];
    local.info = port.info();
    local.info.id = number;
    local.layout = *port.info().layout;
    local.info.layout = nullptr;
    if (port.info().direction == Direction::out) {
      local.outbox = port.shared_outbox();
      local.max_bytes = local.layout.head_bytes;
    } else {
      local.inbox = port.shared_inbox();
    }
  }

 private:
  LocalPorts ports_;
  std::map<PairOfPorts, std::uint64_t> seen_;
  const std::shared_ptr<InboundBudget> inbound_ = std::make_shared<InboundBudget>(std::size_t{1} << 26);
};

Task<> converse(std::span<const std::uint8_t> bytes) {
  const Hub hub("fuzzed");
  const auto out = out_port<Reading>("imu", {});
  const auto in = in_port<Reading>("pose", {});
  const auto text = in_port<std::string>("chat", {});
  Owner owner;
  std::uint64_t number = 0;
  for (const auto& port : {out, in, text}) {
    port->open(hub.core());
    owner.add(++number, *port);
  }
  wire::Greeting self;
  self.instance = 1;
  self.idle_ms = 1000;
  self.hub = "fuzzed";
  const auto options = horus::TcpHubOptions().with_idle_limit(std::chrono::seconds(1));
  auto session = std::make_shared<TcpSession>(std::make_unique<FuzzedStream>(bytes), "fuzz", self, options,
                                              true, static_cast<SessionOwner&>(owner));
  horus::Scope scope("fuzz");
  auto running = scope.spawn(TcpSession::run(session), "session");
  const Reading reading;
  for (int i = 0; i < 20; ++i) {
    out->outbox().send(&reading, nullptr, 0);
    co_await horus::yield();
  }
  const Result<> ended = co_await running;
  if (ended) std::abort();
  co_await scope.join();
  const auto metrics = out->outbox().metrics();
  if (metrics.sent != metrics.delivered + metrics.dropped + metrics.queued + metrics.in_flight) std::abort();
  for (const auto& port : {in, text}) {
    Arrival arrival;
    MessageStorage storage;
    int failure = 0;
    while (port->inbox().take(arrival, failure, storage.bytes) && failure == 0) arrival.give_back();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const bool quiet = [] {
    horus::set_log_sink([](horus::LogLevel, std::string_view) {});
    return true;
  }();
  static_cast<void>(quiet);
  const horus::io::ReactorConfig config;
  auto backend = horus::sim::make_backend_alone(config);
  horus::io::Reactor reactor(std::move(*backend), config);
  reactor.run(converse({data, size}));
  return 0;
}
