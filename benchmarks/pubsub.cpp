// SPDX-License-Identifier: Apache-2.0
//
// Publish and subscribe through a Hub, between two threads, two processes, or on one reactor.
//
//   pubsub --transport inproc|shm|tcp --peers threads|processes|one --size N --count N --stream N --cpus A,B
//          --mode poll|sleep [--subscribers K] [--rhythm equal|reader|writer] [--json]
//
// Messages of 8, 48, 64, 112, 128 and 240 bytes are structs, and sent; others are loaned, so that a large one costs what a
// small one costs. --mode poll gives both reactors a busy-poll window
// that never ends. --peers one: publisher and awaiting subscriber share a reactor; its only figure is the CPU time of one
// send and one resume, in nanoseconds: `send_resume_ns`.

#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include <unistd.h>

#include <horus/horus.hpp>

#include "common/pubsub_load.hpp"

namespace {

using namespace std::chrono_literals;
using Bytes = std::vector<std::byte>;
using horus::Task;

// A message of a fixed size.
template <std::size_t N>
struct Fixed {
  std::uint64_t number = 0;
  std::array<std::uint64_t, N / 8 - 1> rest;
};
template <>
struct Fixed<8> {
  std::uint64_t number = 0;
};

struct Bench {
  bench::PubsubOptions options;
  std::string directory;  // of shared-memory hubs
  std::string address;    // of TCP hubs
  horus::Hub shared{"bench"};

  horus::io::ReactorConfig reactor() const {
    horus::io::ReactorConfig config;
    if (options.poll) config.busy_poll = std::chrono::hours(24);
    return config;
  }
  horus::Hub hub() const {
    if (options.transport == "inproc") return shared;
    if (options.transport == "shm")
      return horus::Hub::shm("bench", horus::ShmOptions().with_directory(directory)).or_throw();
    if (options.transport == "tcp") return horus::Hub::tcp(address, "bench").or_throw();
    bench::fail("--transport wants inproc, shm or tcp, not '" + options.transport + "'");
  }
  horus::AdvertiseOptions advertise() const {
    return horus::AdvertiseOptions()
        .with_max_bytes(options.size)
        .with_max_queued(static_cast<std::uint32_t>((options.depth() + 8) * options.subscribers + 64));
  }
  horus::SubscribeOptions subscribe() const {
    return horus::SubscribeOptions().with_depth(options.depth()).with_overflow(horus::Overflow::drop_newest);
  }
};

void publish(horus::Publisher<Bytes>& out, std::uint64_t size, std::uint64_t number) {
  auto loan = out.loan(size);
  if (!loan) bench::fail(loan.error().message());
  std::memcpy(loan->tail().data(), &number, sizeof number);
  out.publish(std::move(*loan));
}
template <std::size_t N>
void publish(horus::Publisher<Fixed<N>>& out, std::uint64_t /*size*/, std::uint64_t number) {
  Fixed<N> message;
  message.number = number;
  out.send(message);
}
std::uint64_t number_of(const horus::Sample<Bytes>& sample) {
  std::uint64_t number = 0;
  std::memcpy(&number, sample.tail().data(), sizeof number);
  return number;
}
template <std::size_t N>
std::uint64_t number_of(const horus::Sample<Fixed<N>>& sample) {
  return sample->number;
}

template <class Condition>
Task<> wait_until(Condition condition) {
  for (int i = 0; i < 20'000 && !condition(); ++i) co_await horus::sleep(500us);
  if (!condition()) bench::fail("the two sides did not meet within ten seconds");
}

// Echoes the pings, then counts the stream and says when the last one has come.
template <class Message>
Task<> echo_side(const Bench& bench) {
  horus::Hub hub = bench.hub();
  const auto& options = bench.options;
  auto ping = hub.subscribe<Message>("ping", bench.subscribe());
  auto pong = hub.advertise<Message>("pong", bench.advertise());
  std::vector<horus::Subscriber<Message>> stream;
  for (std::uint64_t i = 0; i < options.subscribers; ++i)
    stream.push_back(hub.subscribe<Message>("stream", bench.subscribe()));
  for (std::uint64_t i = 0; i < options.count + options.warm_up(); ++i) {
    auto message = co_await ping.recv();
    if (!message) bench::fail(message.error().message());
    const std::uint64_t number = number_of(*message);
    message->reset();
    publish(pong, options.size, number);
  }
  horus::Scope scope("stream");
  const bench::Slowness slowness(options, "reader");
  for (auto& in : stream) {
    scope.spawn([&in, &options, &slowness]() -> Task<> {
      std::uint64_t expected = 0;
      while (expected < options.stream) {
        auto message = co_await in.recv();
        if (!message) bench::fail(message.error().message());
        if (number_of(*message) != expected++) bench::fail("a message of the stream is missing");
        message->reset();
        slowness.spend();
        while (auto more = in.try_recv()) {
          if (number_of(*more) != expected++) bench::fail("a message of the stream is missing");
          slowness.spend();
        }
      }
    });
  }
  co_await scope.join();
  publish(pong, options.size, 0);
  auto last = co_await ping.recv();  // until the other side has heard it
}

template <class Message>
Task<> measuring_side(const Bench& bench, bench::PubsubResult& result) {
  horus::Hub hub = bench.hub();
  const auto& options = bench.options;
  auto pong = hub.subscribe<Message>("pong", bench.subscribe());
  auto ping = hub.advertise<Message>("ping", bench.advertise());
  auto stream = hub.advertise<Message>("stream", bench.advertise());
  co_await wait_until([&] {
    return ping.subscribers() == 1 && stream.subscribers() == options.subscribers && pong.publishers() == 1;
  });
  for (std::uint64_t i = 0; i < options.count + options.warm_up(); ++i) {
    const std::uint64_t start = bench::monotonic_ns();
    publish(ping, options.size, i);
    auto message = co_await pong.recv();
    if (!message || number_of(*message) != i) bench::fail("a ping came back wrong");
    if (i >= options.warm_up()) result.one_way_ns.record((bench::monotonic_ns() - start) / 2);
  }
  const bench::Slowness slowness(options, "writer");
  const std::uint64_t start = bench::monotonic_ns();
  for (std::uint64_t i = 0; i < options.stream; ++i) {
    if (!stream.has_room()) {
      auto room = co_await stream.room();
      if (!room) bench::fail(room.error().message());
    }
    publish(stream, options.size, i);
    slowness.spend();
  }
  auto done = co_await pong.recv();
  result.stream_ns = bench::monotonic_ns() - start;
  done = horus::Error(ECANCELED);
  publish(ping, options.size, 0);
  co_await horus::sleep(1ms);
}

// Publisher and subscriber on one reactor: the time of a send and of the resume of who awaits it.
template <class Message>
Task<> same_reactor(const Bench& bench) {
  horus::Hub hub = bench.hub();
  auto in = hub.subscribe<Message>("ping", bench.subscribe());
  auto out = hub.advertise<Message>("ping", bench.advertise());
  horus::Scope scope("reader");
  const std::uint64_t count = bench.options.stream;
  auto reader = scope.spawn([&]() -> Task<> {
    for (std::uint64_t i = 0; i < count; ++i) {
      auto message = co_await in.recv();
      if (number_of(*message) != i) bench::fail("a message is missing");
    }
  });
  co_await horus::yield();
  const std::uint64_t start = bench::thread_cpu_ns();
  for (std::uint64_t i = 0; i < count; ++i) {
    publish(out, bench.options.size, i);
    co_await horus::yield();
  }
  const std::uint64_t cpu_ns = bench::thread_cpu_ns() - start;
  co_await scope.join();
  bench::Report report;
  report.add("send_resume_ns", static_cast<double>(cpu_ns) / static_cast<double>(count));
  report.print(bench.options.json);
}

template <class Message>
void run(Bench& bench) {
  if (bench.options.peers == "one") {
    bench::pin_this_thread(bench.options.cpus[0]);
    horus::io::run(same_reactor<Message>(bench), bench.reactor());
    return;
  }
  bench::PubsubResult result;
  bench::run_two_sides(
      bench.options, [&] { horus::io::run(echo_side<Message>(bench), bench.reactor()); },
      [&] { horus::io::run(measuring_side<Message>(bench, result), bench.reactor()); });
  bench::print(bench.options, result);
}

}  // namespace

int main(int argc, char** argv) {
  bench::Arguments arguments(argc, argv);
  Bench bench;
  bench.options = bench::PubsubOptions::from(arguments, "shm");
  if (bench.options.transport == "inproc" && bench.options.peers == "processes")
    bench::fail("two processes share no memory of their own: --transport shm or tcp");
  std::string pattern = "/tmp/horus-bench-XXXXXX";
  if (::mkdtemp(pattern.data()) == nullptr) bench::fail("mkdtemp", errno);
  bench.directory = pattern;
  bench.address = "127.0.0.1:" + std::to_string(20'000 + ::getpid() % 20'000);
  switch (bench.options.size) {
    case 8: run<Fixed<8>>(bench); break;
    case 48: run<Fixed<48>>(bench); break;
    case 64: run<Fixed<64>>(bench); break;
    case 112: run<Fixed<112>>(bench); break;
    case 128: run<Fixed<128>>(bench); break;
    case 240: run<Fixed<240>>(bench); break;
    default: run<Bytes>(bench); break;
  }
  std::filesystem::remove_all(bench.directory);
}
