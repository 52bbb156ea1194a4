// SPDX-License-Identifier: Apache-2.0
// Random programs of submission entries, carried out in step by the kernel and by the interpreter. After each batch both
// have come to rest, and every operation must have come to the same end in both; every byte that was written must have
// been read once and in order in each. HORUS_FUZZ_SEEDS=N runs N programs, HORUS_FUZZ_FIRST=S starts at seed S.
#include <cerrno>
#include <cstdlib>
#include <set>
#include <string>

#include <poll.h>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <horus/base/clock.hpp>

#include "fuzz_world.hpp"

namespace {

using fuzz::kEventFd;
using fuzz::kFile;
using fuzz::kObjects;
using fuzz::kSockets;
using fuzz::kStreams;
using fuzz::Operation;
using fuzz::World;

constexpr int kBatches = 150;
constexpr std::uint32_t kCertainBytes = 1500;  // longer writes may be short: where is not specified
constexpr std::uint64_t kBacklog = 30'000;     // unread bytes that surely fit into a socket
constexpr int kQuietTurns = 3;

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

class Program {
 public:
  Program(World& kernel, World& interpreter, std::uint64_t seed)
      : worlds_{&kernel, &interpreter}, random_(seed) {}

  /// Empty when both agree; otherwise what differs, with the last operations.
  std::string run() {
    for (int batch = 0; batch < kBatches && failure_.empty(); ++batch) {
      batch_objects_.clear();
      const int entries = 1 + static_cast<int>(pick(3));
      for (int i = 0; i < entries; ++i) add();
      settle();
      compare();
      if (failure_.empty() && pick(12) == 0) reopen();
    }
    if (failure_.empty()) drain();
    if (failure_.empty()) return {};
    std::string story = failure_ + "\n";
    const std::size_t from = trace_.size() > 25 ? trace_.size() - 25 : 0;
    for (std::size_t i = from; i < trace_.size(); ++i) story += "  " + trace_[i] + "\n";
    return story;
  }

 private:
  std::uint64_t pick(std::uint64_t below) { return random_() % below; }
  bool chance(std::uint64_t one_in) { return pick(one_in) == 0; }

  static std::size_t index(int n) { return static_cast<std::size_t>(n); }
  bool open(int object, int end) const { return worlds_[0]->fds[index(object)][index(end)] >= 0; }
  // In flight in either world.
  const Operation* in_flight(int object, int end, bool reading) const {
    for (const auto& [id, operation] : operations_) {
      if (operation->object != object || operation->end != end || operation->prompt) continue;
      if ((reading ? operation->reads : operation->writes) &&
          !(operation->sides[0].ended && operation->sides[1].ended)) {
        return operation.get();
      }
    }
    return nullptr;
  }

  // --- Generating ---

  void add() {
    auto operation = std::make_unique<Operation>();
    operation->id = next_id_++ * 8;
    const std::uint64_t kind = pick(100);
    if (kind < 12) {
      make_cancel(*operation);
    } else if (kind < 16) {
      operation->opcode = kind < 14 ? std::uint8_t{IORING_OP_NOP} : std::uint8_t{250};
      operation->prompt = true;
    } else if (kind < 28) {
      make_file(*operation);
    } else if (kind < 36) {
      make_event(*operation);
    } else if (!make_stream(*operation)) {
      return;
    }
    // Operations of one batch on one object may meet in any order.
    if (operation->object >= 0 && !batch_objects_.insert(operation->object).second) return;
    if (operation->opcode == IORING_OP_ASYNC_CANCEL && !cancellable_in_batch(*operation)) return;
    trace_.push_back(describe(*operation));
    for (std::size_t side = 0; side < 2; ++side) operation->submit(*worlds_[side], side);
    operations_.emplace(operation->id, std::move(operation));
  }

  // A cancel in the same batch as anything that could end its target is a race.
  bool cancellable_in_batch(const Operation& cancel) {
    const auto target = operations_.find(cancel.target);
    if (target == operations_.end()) return true;
    const int object = target->second->object;
    return object < 0 || batch_objects_.insert(object).second;
  }

  std::uint64_t backlog(int object) const {
    std::uint64_t most = 0;
    for (const World* world : worlds_) {
      for (std::size_t writer = 0; writer < 2; ++writer) {
        most = std::max(most, world->written[index(object)][writer] - world->received[index(object)][writer]);
      }
    }
    return most;
  }

  void make_cancel(Operation& operation) {
    operation.opcode = IORING_OP_ASYNC_CANCEL;
    operation.prompt = true;
    if (chance(4)) {
      operation.flags = IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_ALL;
      operation.object = static_cast<int>(pick(kStreams));
      operation.end = static_cast<int>(pick(2));
      if (open(operation.object, operation.end)) return;
      operation.object = -1;
      operation.flags = 0;
    }
    operation.target = 7'000'000;
    std::vector<std::uint64_t> waiting;
    for (const auto& [id, other] : operations_) {
      if (!other->prompt) waiting.push_back(id);
    }
    if (!waiting.empty() && !chance(8)) operation.target = waiting[pick(waiting.size())];
  }

  void make_file(Operation& operation) {
    constexpr std::uint8_t kOpcodes[] = {IORING_OP_READ, IORING_OP_WRITE, IORING_OP_READV, IORING_OP_WRITEV,
                                         IORING_OP_FSYNC};
    operation.object = kFile;
    operation.opcode = kOpcodes[chance(30) ? 4 : pick(4)];  // few syncs: they take milliseconds
    operation.prompt = true;
    if (operation.opcode == IORING_OP_FSYNC) return;
    operation.reads = operation.opcode == IORING_OP_READ || operation.opcode == IORING_OP_READV;
    operation.writes = !operation.reads;
    operation.length = static_cast<std::uint32_t>(1 + pick(9000));
    operation.offset = static_cast<std::int64_t>(pick(20000));
  }

  void make_event(Operation& operation) {
    operation.object = kEventFd;
    const bool reading = chance(2) && in_flight(kEventFd, 0, true) == nullptr;
    operation.opcode = reading ? std::uint8_t{IORING_OP_READ} : std::uint8_t{IORING_OP_WRITE};
    operation.reads = reading;
    operation.writes = operation.prompt = !reading;
    operation.length = chance(6) ? 4 : 8;  // 4: EINVAL
  }

  bool make_stream(Operation& operation) {
    operation.object = static_cast<int>(pick(kStreams));
    operation.end = static_cast<int>(pick(2));
    if (!open(operation.object, operation.end)) return false;
    const bool socket = operation.object < kSockets;
    const std::uint64_t kind = pick(20);
    const bool full = uncertain_.count(operation.object) > 0 || backlog(operation.object) > kBacklog;
    if (kind == 0 && socket) {
      if (full) return false;
      operation.opcode = IORING_OP_SHUTDOWN;
      operation.length = static_cast<std::uint32_t>(pick(3));
      operation.prompt = true;
      shut_.insert(operation.object);
      return true;
    }
    const bool reading = socket ? kind < 11 : operation.end == 0;
    if (in_flight(operation.object, operation.end, reading) != nullptr) return false;
    operation.reads = reading;
    operation.writes = !reading;
    if (kind % 5 == 4) {
      operation.opcode = IORING_OP_POLL_ADD;
      operation.flags = reading ? POLLIN : POLLOUT;
      return true;
    }
    operation.length = static_cast<std::uint32_t>(1 + pick(chance(4) ? 1400 : 60));
    // Where the peer has shut down its side, the kernel moves a send that would wait to a thread (io_uring's poll takes
    // the hang-up for readiness), and a MSG_WAITALL send there outlives its cancellation: nothing to compare.
    const bool shut = shut_.count(operation.object) > 0;
    if (!reading && shut && full) return false;
    if (!reading && !shut && chance(12)) operation.length = static_cast<std::uint32_t>(1 + pick(400'000));
    if (reading && chance(12)) operation.length = 60'000;
    const std::uint64_t form = pick(socket ? 8 : 2);
    if (form == 0) {
      operation.opcode = reading ? std::uint8_t{IORING_OP_READ} : std::uint8_t{IORING_OP_WRITE};
    } else if (form == 1) {
      operation.opcode = reading ? std::uint8_t{IORING_OP_READV} : std::uint8_t{IORING_OP_WRITEV};
    } else if (form == 2) {
      operation.opcode = reading ? std::uint8_t{IORING_OP_RECVMSG} : std::uint8_t{IORING_OP_SENDMSG};
      if (chance(3)) operation.flags = MSG_WAITALL;
    } else {
      operation.opcode = reading ? std::uint8_t{IORING_OP_RECV} : std::uint8_t{IORING_OP_SEND};
      if (reading && form >= 6) {
        operation.entry_flags = IOSQE_BUFFER_SELECT;
        operation.ioprio = form == 7 ? IORING_RECV_MULTISHOT : 0;
        operation.length = 0;
        return true;
      }
      constexpr std::uint32_t kFlags[] = {0, 0, MSG_WAITALL, MSG_DONTWAIT, MSG_PEEK};
      operation.flags = kFlags[pick(reading ? 5 : 4)];
    }
    // From here on it is not specified how much of what is written fits.
    if (!reading && operation.length > kCertainBytes) uncertain_.insert(operation.object);
    return true;
  }

  // --- Running ---

  // Until nothing comes any more, and everything that must end has ended.
  void settle() {
    for (std::size_t side = 0; side < 2; ++side) {
      World& world = *worlds_[side];
      const std::int64_t limit = horus::monotonic_ns() + 10'000'000'000;
      for (int quiet = 0; quiet < kQuietTurns;) {
        world.driver.flush(all_prompt_ended(side) ? 0 : 1, 5'000'000);
        quiet = world.driver.reap() == 0 ? quiet + 1 : 0;
        while (!world.driver.seen.empty()) {
          const seam::Completion completion = world.driver.seen.front();
          world.driver.seen.erase(world.driver.seen.begin());
          take(side, completion);
        }
        if (!all_prompt_ended(side)) {
          quiet = 0;
          if (horus::monotonic_ns() > limit) return fail(stuck(side), side);
        }
      }
    }
  }

  std::string stuck(std::size_t side) const {
    for (const auto& [id, operation] : operations_) {
      if (operation->prompt && !operation->sides[side].ended) return describe(*operation) + " did not end";
    }
    return {};
  }
  bool all_prompt_ended(std::size_t side) const {
    for (const auto& [id, operation] : operations_) {
      if (operation->prompt && !operation->sides[side].ended) return false;
    }
    return true;
  }

  void take(std::size_t side, const seam::Completion& completion) {
    World& world = *worlds_[side];
    const auto found = operations_.find(completion.user_data);
    if (found == operations_.end())
      return fail(fmt::format("a completion for nobody ({})", completion.user_data), side);
    Operation& operation = *found->second;
    Operation::Side& mine = operation.sides[side];
    if (mine.ended) return fail(fmt::format("a second end of {}", operation.id), side);
    if (completion.result == -ENOBUFS && operation.selects()) {  // when buffers run out is not specified
      operation.submit(world, side);
      return;
    }
    const bool more = (completion.flags & IORING_CQE_F_MORE) != 0;
    if (operation.opcode != IORING_OP_POLL_ADD && completion.result > 0)
      check_bytes(side, operation, completion);
    if (operation.multishot() && completion.result > 0) {
      mine.taken += static_cast<std::uint64_t>(completion.result);
    }
    mine.ended = !more;
    if (!more) mine.seen.push_back(completion);
    if (!more && operation.multishot() && completion.result > 0) {  // the completion ring was full
      mine.ended = false;
      mine.seen.clear();
      operation.submit(world, side);
    }
  }

  void check_bytes(std::size_t side, const Operation& operation, const seam::Completion& completion) {
    World& world = *worlds_[side];
    const auto size = static_cast<std::uint64_t>(completion.result);
    if (operation.object < 0 || operation.object >= kStreams) return;
    if (operation.writes && operation.opcode != IORING_OP_SHUTDOWN) {
      world.written[index(operation.object)][index(operation.end)] += size;
    }
    if (!operation.reads) return;
    const char* data = operation.sides[side].data.data();
    if (operation.selects()) {
      if ((completion.flags & IORING_CQE_F_BUFFER) == 0) return fail("data without a buffer", side);
      const auto number = static_cast<std::uint16_t>(completion.flags >> IORING_CQE_BUFFER_SHIFT);
      data = world.buffer(number);
      check_pattern(side, operation, data, size);
      world.provide(number);
      return;
    }
    check_pattern(side, operation, data, size);
  }

  void check_pattern(std::size_t side, const Operation& operation, const char* data, std::uint64_t size) {
    World& world = *worlds_[side];
    const int writer = 1 - operation.end;
    std::uint64_t& position = world.received[index(operation.object)][index(writer)];
    for (std::uint64_t i = 0; i < size; ++i) {
      if (data[i] != fuzz::pattern(operation.object, writer, position + i)) {
        return fail(fmt::format("{} read a wrong byte at {}", describe(operation), position + i), side);
      }
    }
    if (!operation.peeks()) position += size;
  }

  void compare() {
    if (!failure_.empty()) return;
    std::vector<std::uint64_t> over;
    for (const auto& [id, operation] : operations_) {
      const Operation::Side& kernel = operation->sides[0];
      const Operation::Side& ours = operation->sides[1];
      const bool certain = operation->object < 0 || uncertain_.count(operation->object) == 0;
      if (kernel.ended && ours.ended) over.push_back(id);
      if (!certain || (operation->opcode == IORING_OP_ASYNC_CANCEL && uncertain_target(*operation))) continue;
      if (kernel.ended != ours.ended || kernel.taken != ours.taken ||
          (kernel.ended && !same(kernel.seen.back(), ours.seen.back()))) {
        return fail(
            fmt::format("{}: kernel {}, interpreter {}", describe(*operation), ends(kernel), ends(ours)), 1);
      }
      if (kernel.ended && operation->object == kFile && operation->reads && kernel.data != ours.data) {
        return fail(describe(*operation) + ": different bytes of a file", 1);
      }
    }
    for (const std::uint64_t id : over) operations_.erase(id);
  }
  bool uncertain_target(const Operation& cancel) const { return cancel.object < 0 && !uncertain_.empty(); }
  static bool same(const seam::Completion& a, const seam::Completion& b) {
    const std::uint32_t flags = IORING_CQE_F_BUFFER;
    return a.result == b.result && (a.flags & flags) == (b.flags & flags);
  }

  // Cancels everything on one end, closes it and, when both are gone, opens the object afresh.
  void reopen() {
    const int object = static_cast<int>(pick(kStreams));
    const int end = static_cast<int>(pick(2));
    if (!open(object, end)) return;
    for (const std::uint8_t opcode : {IORING_OP_ASYNC_CANCEL, IORING_OP_CLOSE}) {
      auto operation = std::make_unique<Operation>();
      operation->id = next_id_++ * 8;
      operation->opcode = opcode;
      operation->object = object;
      operation->end = end;
      operation->prompt = true;
      if (opcode == IORING_OP_ASYNC_CANCEL)
        operation->flags = IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_ALL;
      trace_.push_back(describe(*operation));
      for (std::size_t side = 0; side < 2; ++side) operation->submit(*worlds_[side], side);
      for (auto& [id, one] : operations_)
        one->prompt = one->prompt || (one->object == object && one->end == end);
      operations_.emplace(operation->id, std::move(operation));
      settle();
      compare();
      if (!failure_.empty()) return;
    }
    for (World* world : worlds_) world->fds[index(object)][index(end)] = -1;
    if (open(object, 1 - end)) return;
    for (World* world : worlds_) world->open(object);
    uncertain_.erase(object);
    shut_.erase(object);
  }

  // At the end: nothing waits that could go on, and every byte that was taken is there.
  void drain() {
    auto operation = std::make_unique<Operation>();
    operation->id = next_id_++ * 8;
    operation->opcode = IORING_OP_ASYNC_CANCEL;
    operation->flags = IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL;
    operation->prompt = true;
    for (std::size_t side = 0; side < 2; ++side) operation->submit(*worlds_[side], side);
    for (auto& [id, one] : operations_) one->prompt = true;  // a cancelled one may end a little later
    operations_.emplace(operation->id, std::move(operation));
    settle();
    if (!failure_.empty()) return;
    for (std::size_t side = 0; side < 2; ++side) {
      for (const auto& [id, one] : operations_) {
        if (!one->sides[side].ended) return fail(describe(*one) + " did not end with everything", side);
      }
      for (int object = 0; object < kStreams; ++object) {
        for (int writer = object < kSockets ? 0 : 1; writer < 2; ++writer)
          drain_direction(side, object, writer);
      }
    }
  }

  void drain_direction(std::size_t side, int object, int writer) {
    World& world = *worlds_[side];
    const int fd = world.fds[index(object)][index(1 - writer)];
    if (fd < 0) return;
    Operation reader;
    reader.object = object;
    reader.end = 1 - writer;
    reader.reads = true;
    std::vector<char> data(65536);
    pollfd ready{fd, POLLIN, 0};
    while (::poll(&ready, 1, 0) == 1 && (ready.revents & POLLIN) != 0) {
      const ssize_t got = ::read(fd, data.data(), data.size());
      if (got <= 0) break;
      check_pattern(side, reader, data.data(), static_cast<std::uint64_t>(got));
    }
    if (!open(object, writer)) return;  // a reset may have thrown bytes away
    const std::uint64_t in = world.written[index(object)][index(writer)];
    const std::uint64_t out = world.received[index(object)][index(writer)];
    if (in != out) fail(fmt::format("object {}: {} bytes went in, {} came out", object, in, out), side);
  }

  // --- Telling ---

  void fail(const std::string& what, std::size_t side) {
    if (failure_.empty()) failure_ = fmt::format("[{}] {}", worlds_[side]->name, what);
  }
  static std::string ends(const Operation::Side& side) {
    std::string text =
        side.ended ? fmt::format("{} flags {:x}", side.seen.back().result, side.seen.back().flags) : "waits";
    if (side.taken > 0) text += fmt::format(" after {} bytes", side.taken);
    return text;
  }
  static std::string describe(const Operation& operation) {
    return fmt::format(
        "#{} opcode {} object {}.{} length {} flags {:x} ioprio {:x} select {} target {} offset {}",
        operation.id, operation.opcode, operation.object, operation.end, operation.length, operation.flags,
        operation.ioprio, operation.selects(), operation.target, operation.offset);
  }

  std::array<World*, 2> worlds_;
  std::mt19937_64 random_;
  std::uint64_t next_id_ = 10;
  std::map<std::uint64_t, std::unique_ptr<Operation>> operations_;
  std::set<int> batch_objects_;
  std::set<int> uncertain_;
  std::set<int> shut_;
  std::vector<std::string> trace_;
  std::string failure_;
};

}  // namespace

TEST_CASE("random programs end alike on the kernel's ring and on the interpreter") {
#ifdef HORUS_WITH_URING
  // The two runs of the suite take different programs.
  const char* run = std::getenv("HORUS_IO");
  const std::uint64_t first =
      from_environment("HORUS_FUZZ_FIRST", run != nullptr && run[0] == 'u' ? 1000 : 1);
  const std::uint64_t seeds = from_environment("HORUS_FUZZ_SEEDS", 30);
  const auto config = horus::io::ReactorConfig().with_entries(64, 512);
  for (std::uint64_t seed = first; seed < first + seeds; ++seed) {
    auto ring = horus::io::make_uring_backend(config);
    if (!ring) {
      MESSAGE("skipped: " << ring.error().message() << ": " << horus::io::explain_uring_failure(ring.code()));
      return;
    }
    World kernel("kernel", *std::move(ring));
    World interpreter("interpreter", horus::io::make_epoll_backend(config).or_throw());
    REQUIRE(kernel.ready);
    REQUIRE(interpreter.ready);
    Program program(kernel, interpreter, seed);
    const std::string difference = program.run();
    if (!difference.empty()) FAIL("seed " << seed << ": " << difference);
  }
#else
  MESSAGE("skipped: built without the io_uring backend");
#endif
}
