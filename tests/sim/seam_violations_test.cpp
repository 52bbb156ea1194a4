// SPDX-License-Identifier: Apache-2.0
// A backend that does not keep its word, or code below the API that does not keep its own: each way is planted in front of
// the simulated kernel, and the checks of the world must name it within a thousand seeds. Without a plant they are silent.
#include <array>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <horus/base/log.hpp>
#include <horus/horus.hpp>
#include <horus/io/chunk_stream.hpp>
#include <horus/io/event_fd.hpp>
#include <horus/io/loop/awaiter.hpp>
#include <horus/sim/relay.hpp>
#include <horus/sim/world.hpp>

using horus::Scope;
using horus::Task;
using horus::io::TcpListener;
using horus::io::TcpStream;
using horus::sim::BackendWrap;
using horus::sim::Faults;
using horus::sim::World;
namespace io = horus::io;
using namespace horus::literals;

namespace {

// --- A program that is right: lines go there and back, one reader has little patience, an eventfd counts them. ---

Task<> echo(TcpStream stream, io::BufferPool& pool) {
  io::ChunkReader reader(stream.fd(), pool);
  while (true) {
    auto chunk = co_await reader.next();
    if (!chunk) break;
    auto sent = co_await stream.write_all(chunk->text());
    if (!sent) break;
  }
}

Task<int> serve() {
  io::BufferPool pool(4, 64);
  auto listener = TcpListener::listen("0.0.0.0:7000").or_throw();
  Scope scope("server", horus::Failures::log);
  while (true) {
    auto stream = co_await listener.accept();
    if (!stream) break;
    static_cast<void>(scope.spawn(echo(*std::move(stream), pool)));
  }
  scope.cancel();
  co_await scope.join();
  co_return 0;
}

Task<> ask(int& answered, io::EventFd& event) {
  auto stream = (co_await TcpStream::connect("10.0.0.2:7000")).or_throw();
  while (answered < 60) {
    const std::string question = "question " + std::to_string(answered);
    auto written = co_await stream.write_all(question + "\n");
    if (!written) co_return;
    auto answer = co_await horus::with_timeout(1ms, stream.read_line());
    while (answer.code() == ETIMEDOUT) answer = co_await horus::with_timeout(1ms, stream.read_line());
    if (!answer || *answer != question) co_return;
    event.set();
    ++answered;
  }
}

Task<> count(io::EventFd& event, std::uint64_t& counted) {
  while (counted < 60) {
    auto times = co_await event.wait();
    if (!times) co_return;
    counted += *times;
  }
}

Task<int> client(int& answered, std::uint64_t& counted) {
  io::EventFd event;
  Scope scope("client", horus::Failures::log);
  static_cast<void>(scope.spawn(ask(answered, event)));
  auto counting = scope.spawn(count(event, counted));
  try {
    co_await counting;
  } catch (const horus::Error&) {
    // The end of the run.
  }
  scope.cancel();
  co_await scope.join();
  co_return 0;
}

// What the world says about a run with `wrap` in front of one process; empty: nothing.
std::string verdict(std::uint64_t seed, const char* process, const BackendWrap& wrap) {
  World world(seed);
  int answered = 0;
  std::uint64_t counted = 0;
  world.process("server", serve, "10.0.0.2");
  world.process("client", [&] { return client(answered, counted); });
  horus::sim::Random random(seed);
  world.faults(Faults::unspecified(random));
  world.eventually("all is answered and counted", [&] { return counted == 60; }, 5s);
  if (wrap) world.backend(process, wrap);
  return world.run_for(10s).failure;
}

// The first verdict of a thousand seeds.
std::string first_verdict(const char* process, const BackendWrap& wrap) {
  const horus::LogSink before = horus::set_log_sink([](horus::LogLevel, std::string_view) {});
  std::string found;
  for (std::uint64_t seed = 1; seed <= 1000 && found.empty(); ++seed) found = verdict(seed, process, wrap);
  horus::set_log_sink(before);
  return found;
}

// --- Backends that break their word once ---

constexpr int kNth = 7;

class Plant : public horus::sim::RelayRing {
 public:
  using RelayRing::RelayRing;

 protected:
  void submitting(io_uring_sqe& entry) noexcept override { opcodes_[entry.user_data] = entry.opcode; }
  // Once: whether this is the seventh completion of its kind that moved something.
  bool now(const Completion& completion, int opcode) {
    const auto known = opcodes_.find(completion.user_data);
    const bool matches = known != opcodes_.end() && known->second == opcode && completion.result > 0;
    return matches && ++seen_ == kNth;
  }

 private:
  std::map<std::uint64_t, int> opcodes_;
  int seen_ = 0;
};

class DropsOne final : public Plant {
  using Plant::Plant;
  void completing(std::vector<Completion>& batch) noexcept override {
    std::erase_if(batch, [this](const Completion& one) { return now(one, IORING_OP_RECV); });
  }
};

class DeliversTwice final : public Plant {
  using Plant::Plant;
  void completing(std::vector<Completion>& batch) noexcept override {
    for (std::size_t i = 0; i < batch.size(); ++i) {
      if (now(batch[i], IORING_OP_SEND)) batch.push_back(batch[i]);
    }
  }
};

class LosesWakeUp final : public io::ForwardingSystem {
  using ForwardingSystem::ForwardingSystem;
  void add_to_event(int event_fd, std::uint64_t count) noexcept override {
    if (++wake_ups_ != kNth) ForwardingSystem::add_to_event(event_fd, count);
  }
  int wake_ups_ = 0;
};

// The buffer of a receive in flight, or of a send that has not completed, belongs to somebody else already.
class ReusesBuffer final : public Plant {
 public:
  ReusesBuffer(std::shared_ptr<io::Ring> real, int opcode) : Plant(std::move(real)), opcode_(opcode) {}

 private:
  void submitting(io_uring_sqe& entry) noexcept override {
    Plant::submitting(entry);
    if (entry.opcode != opcode_ || ++submitted_ != kNth) return;
    char* const bytes = reinterpret_cast<char*>(entry.addr);
    // A receive fills the front; whoever gets the memory next writes to all of it.
    (opcode_ == IORING_OP_RECV ? bytes[entry.len - 1] : bytes[0]) ^= 0x55;
  }
  int opcode_;
  int submitted_ = 0;
};

class FillsLentBuffer final : public Plant {
  using Plant::Plant;
  void completing(std::vector<Completion>& batch) noexcept override {
    for (Completion& one : batch) {
      if ((one.flags & IORING_CQE_F_BUFFER) == 0) continue;
      if (++filled_ == kNth) one.flags = (one.flags & 0xFFFFU) | 9U << IORING_CQE_BUFFER_SHIFT;  // of four
    }
  }
  int filled_ = 0;
};

class SwapsBytes final : public Plant {
  using Plant::Plant;
  void submitting(io_uring_sqe& entry) noexcept override {
    Plant::submitting(entry);
    if (entry.opcode == IORING_OP_RECV) buffers_[entry.user_data] = reinterpret_cast<char*>(entry.addr);
  }
  void completing(std::vector<Completion>& batch) noexcept override {
    for (const Completion& one : batch) {
      if (one.result > 2 && now(one, IORING_OP_RECV))
        std::swap(buffers_[one.user_data][0], buffers_[one.user_data][1]);
    }
  }
  std::map<std::uint64_t, char*> buffers_;
};

// After a short write all is sent again, not the rest, and reported as if it were the rest.
class RetriesWrongly final : public Plant {
  using Plant::Plant;
  void submitting(io_uring_sqe& entry) noexcept override {
    Plant::submitting(entry);
    if (entry.opcode != IORING_OP_SEND || done_) return;
    entry.msg_flags &= ~static_cast<unsigned>(MSG_WAITALL);
    sends_[entry.user_data] = entry;
  }
  void completing(std::vector<Completion>& batch) noexcept override {
    std::erase_if(batch, [this](Completion& one) {
      const auto send = sends_.find(one.user_data);
      if (send == sends_.end()) return false;
      const io_uring_sqe entry = send->second;
      sends_.erase(send);
      if (again_ == one.user_data) one.result = static_cast<std::int32_t>(entry.len);
      if (done_ || one.result <= 0 || static_cast<std::uint32_t>(one.result) >= entry.len) return false;
      done_ = true;
      again_ = one.user_data;
      io_uring_sqe whole = entry;
      whole.msg_flags |= MSG_WAITALL;
      sends_[one.user_data] = entry;
      return submit_own(whole);
    });
  }
  std::map<std::uint64_t, io_uring_sqe> sends_;
  std::uint64_t again_ = 0;
  bool done_ = false;
};

class TurnsTimeBack final : public io::ForwardingClock {
  using ForwardingClock::ForwardingClock;
  std::int64_t now_ns() noexcept override {
    return ForwardingClock::now_ns() - (++asked_ == 100 ? 1'000'000 : 0);
  }
  int asked_ = 0;
};

// The cancellations, for which nobody waits, never end.
class NeverCancels final : public Plant {
  using Plant::Plant;
  void completing(std::vector<Completion>& batch) noexcept override {
    std::erase_if(batch, [](const Completion& one) { return (one.user_data & 7) == 2; });
  }
};

template <class Part, class... Arguments>
BackendWrap planted(Arguments... arguments) {
  return [=](io::Backend real) -> io::Backend {
    if constexpr (std::is_base_of_v<io::Ring, Part>) {
      real.ring = std::make_shared<Part>(real.ring, arguments...);
    } else if constexpr (std::is_base_of_v<io::Clock, Part>) {
      real.clock = std::make_shared<Part>(real.clock, arguments...);
    } else {
      real.system = std::make_shared<Part>(real.system, arguments...);
    }
    return real;
  };
}

void check_found(const char* process, const BackendWrap& wrap, std::string_view words) {
  const std::string found = first_verdict(process, wrap);
  CHECK_MESSAGE(found.find(words) != std::string::npos, found);
}

}  // namespace

TEST_CASE("a backend that keeps its word is not blamed") {
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    const std::string nothing = verdict(seed, "client", {});
    CHECK_MESSAGE(nothing.empty(), nothing);
    const std::string relayed = verdict(seed, "client", planted<horus::sim::RelayRing>());
    CHECK_MESSAGE(relayed.empty(), relayed);
  }
}
TEST_CASE("a dropped completion is found") {
  check_found("client", planted<DropsOne>(), "the completion of recv on descriptor");
}
TEST_CASE("a completion that is delivered twice is found, and goes no further") {
  check_found("client", planted<DeliversTwice>(), "delivered twice");
}
TEST_CASE("a lost wake-up is found") {
  check_found("client", planted<LosesWakeUp>(), "\"all is answered and counted\" has not held");
}
TEST_CASE("a buffer that is used again while an operation works on it is found") {
  check_found("client", planted<ReusesBuffer>(static_cast<int>(IORING_OP_RECV)),
              "changed while it was in flight");
  check_found("client", planted<ReusesBuffer>(static_cast<int>(IORING_OP_SEND)),
              "changed while it was in flight");
}
TEST_CASE("a provided buffer that is filled while it is lent is found") {
  check_found("server", planted<FillsLentBuffer>(), "was filled while nobody had given it back");
}
TEST_CASE("bytes of a stream that change places are found") {
  check_found("client", planted<SwapsBytes>(), "a stream gave other bytes than it took");
}
TEST_CASE("a wrong retry is found") {
  check_found("client", planted<RetriesWrongly>(), "a stream gave other bytes than it took");
}
TEST_CASE("time that goes back is found") {
  check_found("client", planted<TurnsTimeBack>(), "virtual time went back by");
}
TEST_CASE("an operation that never ends is found at the end") {
  check_found("client", planted<NeverCancels>(), "operations never ended");
}

namespace {

struct RawRead : io::OperationAwaiter<RawRead> {
  static constexpr const char* kName = "read";
  RawRead(int descriptor, char* to) noexcept : OperationAwaiter(descriptor), to_(to) {}
  void prepare(io_uring_sqe& entry) const noexcept {
    entry.opcode = IORING_OP_READ;
    entry.fd = fd;
    entry.addr = reinterpret_cast<std::uintptr_t>(to_);
    entry.len = 1;
  }
  [[nodiscard]] int await_resume() const noexcept { return result; }

 private:
  char* to_;
};

std::string verdict_of(const std::function<Task<int>()>& main) {
  World world(1);
  world.process("careless", main);
  return world.run_for(1s).failure;
}

}  // namespace

TEST_CASE("what a process leaves behind is found: descriptors, registered buffers") {
  const std::string descriptors = verdict_of([]() -> Task<int> {
    const io::EventFd kept;
    static_cast<void>(io::Reactor::current()->system().event_fd(0, 0));
    co_return 0;
  });
  CHECK_MESSAGE(descriptors.find("careless left 1 descriptors open") != std::string::npos, descriptors);
  alignas(4096) static std::array<std::byte, 4096> ring{};
  const std::string buffers = verdict_of([]() -> Task<int> {
    auto* const slots = reinterpret_cast<io_uring_buf_ring*>(ring.data());
    CHECK(io::Reactor::current()->ring().register_buffer_ring(slots, 4, 3) == 0);
    co_return 0;
  });
  CHECK_MESSAGE(buffers.find("buffer group 3 was never unregistered") != std::string::npos, buffers);
}

TEST_CASE("two receives at once on one stream are found") {
  const std::string two = verdict_of([]() -> Task<int> {
    auto ends = io::make_pipe().or_throw();
    std::array<char, 2> bytes{};
    Scope scope;
    auto read = [](int fd, char* to) -> Task<> { co_await RawRead(fd, to); };
    static_cast<void>(scope.spawn(read(ends.reader.fd(), &bytes[0])));
    static_cast<void>(scope.spawn(read(ends.reader.fd(), &bytes[1])));
    auto written = co_await ends.writer.write_all("xy");
    CHECK(written.ok());
    co_await scope.join();
    co_return 0;
  });
  CHECK_MESSAGE(two.find("two receives are in flight on one stream") != std::string::npos, two);
}
