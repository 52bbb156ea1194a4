// SPDX-License-Identifier: Apache-2.0
// Hubs in processes whose memory is limited: what is refused is an error with the name of the limit, and nobody is killed.
#include <horus/base/memory_limits.hpp>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <horus/io/file.hpp>
#include <horus/io/reactor.hpp>
#include <horus/msg/hub.hpp>
#include <horus/msg/link/shm_arena.hpp>
#include <horus/msg/link/slot_pool.hpp>
#include <horus/msg/link/slot_table.hpp>

#include "../support/captured_log.hpp"
#include "../support/eventually.hpp"

namespace {

using horus::AdvertiseOptions;
using horus::Hub;
using horus::ShmOptions;
using horus::Task;
using horus::detail::memory_limit;
using horus::detail::MemoryCall;
using horus::detail::MemoryFacts;
using horus::msg::Arena;
using horus::msg::SlotPool;
using horus::msg::SlotTable;
using horus::testing::CapturedLog;
using horus::testing::eventually;

constexpr std::uint64_t kKiB = 1024;
constexpr std::uint64_t kMiB = kKiB * 1024;

struct Image {
  std::uint32_t width = 0;
  using Tail = std::byte;
};

// A directory for hubs, made by the parent, since children are killed at times.
class Place {
 public:
  Place() {
    std::string pattern = "/tmp/horus-limits-XXXXXX";
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  ~Place() { std::filesystem::remove_all(path_); }
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] ShmOptions options() const { return ShmOptions().with_directory(path_); }

 private:
  std::string path_;
};

struct Ending {
  int status = -1;  // of waitpid
  std::string said;
};

// What `program` says, in a process of its own: limits cannot be taken back, and a signal would end it.
Ending in_a_child(const std::function<std::string()>& program) {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    std::string said;
    try {
      said = program();
    } catch (const std::exception& error) {
      said = error.what();
    }
    if (::write(ends[1], said.data(), said.size()) < 0) ::_exit(2);
    ::_exit(0);
  }
  ::close(ends[1]);
  Ending ending;
  char bytes[4096];
  while (true) {
    const ssize_t more = ::read(ends[0], bytes, sizeof bytes);
    if (more <= 0) break;
    ending.said.append(bytes, static_cast<std::size_t>(more));
  }
  ::close(ends[0]);
  ::waitpid(child, &ending.status, 0);
  return ending;
}

bool lives(const Ending& ending) { return WIFEXITED(ending.status) && WEXITSTATUS(ending.status) == 0; }
bool says(const Ending& ending, std::string_view words) {
  return ending.said.find(words) != std::string::npos;
}

void limit(int resource, std::uint64_t value) {
  rlimit now{};
  ::getrlimit(static_cast<__rlimit_resource_t>(resource), &now);
  const rlimit higher{value, std::max<rlim_t>(value, now.rlim_max)};
  if (::setrlimit(static_cast<__rlimit_resource_t>(resource), &higher) == 0) return;
  now.rlim_cur = std::min<rlim_t>(value, now.rlim_max);  // who may raise nothing
  if (::setrlimit(static_cast<__rlimit_resource_t>(resource), &now) != 0) ::_exit(3);
}

// One that can be lifted again.
void limit_softly(int resource, std::uint64_t value) {
  rlimit now{};
  ::getrlimit(static_cast<__rlimit_resource_t>(resource), &now);
  now.rlim_cur = std::min<rlim_t>(value, now.rlim_max);
  if (::setrlimit(static_cast<__rlimit_resource_t>(resource), &now) != 0) ::_exit(3);
}

// A subscriber on `hub` for which its publisher needs a gigabyte of addresses; what it failed with.
std::string advertise_much(Hub& hub) {
  try {
    auto out = hub.advertise<Image>("camera");
    auto in = hub.subscribe<Image>("camera", horus::SubscribeOptions().with_depth(1000));
    return "advertised";
  } catch (const horus::Error& error) {
    return fmt::format("{} {}", error.code(), error.message());
  }
}
std::string advertise_in(const Place& place) {
  Hub hub = Hub::shm("limits", place.options()).or_throw();
  return advertise_much(hub);
}

template <std::size_t kLength>
void filter_calls(sock_filter (&program)[kLength]) {
  const sock_fprog filter{kLength, program};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0)
    ::_exit(4);
}

// From now on fallocate fails with `error` in this thread: what it does when the system has no page to spare.
void no_pages(int error) {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_fallocate, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(error)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  filter_calls(program);
}

// From now on fallocate of more than `bytes` is interrupted in this thread, and has done nothing: what it does in many
// kernels when signals come often.
void interrupt_pages_beyond(std::uint64_t bytes) {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_fallocate, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args) + 3 * sizeof(std::uint64_t)),
      BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, static_cast<std::uint32_t>(bytes), 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(EINTR)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  filter_calls(program);
}

// Bytes of pages that an arena's files have.
std::uint64_t pages_of(const Arena& arena) { return arena.pages(); }

TEST_SUITE("msg/memory_limits") {
  TEST_CASE("ulimit -v: the address space is named") {
    const Place place;
    const auto limited = [] { limit(RLIMIT_AS, MemoryFacts::read().addresses + 256 * kMiB); };
    for (const bool shared : {false, true}) {
      CAPTURE(shared);
      const Ending ending = in_a_child([&] {
        limited();
        if (shared) return advertise_in(place);
        Hub hub;
        return advertise_much(hub);
      });
      CAPTURE(ending.said);
      CHECK(lives(ending));
      CHECK(says(ending, fmt::format("{} connect a subscriber camera", ENOMEM)));
      CHECK(says(ending, "RLIMIT_AS"));
      CHECK(says(ending, "ulimit -v"));
      CHECK_FALSE(says(ending, "ulimit -l"));
    }
  }

  TEST_CASE("ulimit -d: the data of the process is named where memory is its own alone") {
    const Ending ending = in_a_child([] {
      limit(RLIMIT_DATA, MemoryFacts::read().data + 256 * kMiB);
      Hub hub;
      return advertise_much(hub);
    });
    CAPTURE(ending.said);
    CHECK(lives(ending));
    CHECK(says(ending, "RLIMIT_DATA"));
    CHECK(says(ending, "ulimit -d"));
  }

  TEST_CASE("ulimit -f: EFBIG names the size of files, and SIGXFSZ ends nobody") {
    const Place place;
    const Ending ending = in_a_child([&] {
      limit(RLIMIT_FSIZE, 8 * kMiB);
      std::string said = advertise_in(place);  // on a thread without a reactor: nothing ignores the signal
      sigset_t pending;
      ::sigpending(&pending);
      return said + (::sigismember(&pending, SIGXFSZ) != 0 ? " [pending]" : " [none]");
    });
    CAPTURE(ending.said);
    CHECK(lives(ending));
    CHECK(says(ending, fmt::format("{} connect a subscriber camera", EFBIG)));
    CHECK(says(ending, "RLIMIT_FSIZE is 8192 KiB"));
    CHECK(says(ending, "ulimit -f"));
    CHECK(says(ending, "[none]"));
  }

  TEST_CASE("ulimit -f: a SIGXFSZ that waited already for somebody else still waits") {
    const Place place;
    const Ending ending = in_a_child([&] {
      sigset_t blocked;
      ::sigemptyset(&blocked);
      ::sigaddset(&blocked, SIGXFSZ);
      ::pthread_sigmask(SIG_BLOCK, &blocked, nullptr);
      ::raise(SIGXFSZ);
      limit(RLIMIT_FSIZE, 8 * kMiB);
      std::string said = advertise_in(place);
      sigset_t pending;
      ::sigpending(&pending);
      return said + (::sigismember(&pending, SIGXFSZ) != 0 ? " [pending]" : " [none]");
    });
    CAPTURE(ending.said);
    CHECK(lives(ending));
    CHECK(says(ending, "RLIMIT_FSIZE"));
    CHECK(says(ending, "[pending]"));
  }

  TEST_CASE("ulimit -f: a file that is written too far is EFBIG") {
    const Place place;
    const Ending ending = in_a_child([&] {
      limit(RLIMIT_FSIZE, 4 * kKiB);
      std::string said = "written";
      horus::io::run([&]() -> Task<> {
        auto file = co_await horus::io::File::create(place.path() + "/log");
        const std::vector<std::byte> much(8 * kKiB);
        auto sink = std::move(file).or_throw();
        for (int i = 0; i < 2; ++i) {
          auto written = co_await sink.write_all(horus::io::Bytes(much));
          if (!written) said = fmt::format("{}", written.error().code());
        }
      });
      return said;
    });
    CAPTURE(ending.said);
    CHECK(lives(ending));
    CHECK(ending.said == fmt::format("{}", EFBIG));
  }

  TEST_CASE("ulimit -n: the number of descriptors is named") {
    const Place place;
    const Ending ending = in_a_child([&] {
      Hub hub = Hub::shm("limits", place.options()).or_throw();
      limit(RLIMIT_NOFILE, 32);
      std::vector<int> all;
      while (all.empty() || all.back() >= 0) all.push_back(::open("/dev/null", O_RDONLY | O_CLOEXEC));
      return advertise_much(hub);
    });
    CAPTURE(ending.said);
    CHECK(lives(ending));
    CHECK(says(ending, fmt::format("{} advertise camera", EMFILE)));
    CHECK(says(ending, "RLIMIT_NOFILE is 32"));
    CHECK(says(ending, "ulimit -n"));
  }

  TEST_CASE("ulimit -n: a hub that cannot be made says why once") {
    const Place place;
    const Ending ending = in_a_child([&] {
      std::string said;
      horus::io::run([&]() -> Task<> {
        limit(RLIMIT_NOFILE, 64);
        std::vector<int> all;
        while (all.empty() || all.back() >= 0) all.push_back(::open("/dev/null", O_RDONLY | O_CLOEXEC));
        auto hub = Hub::shm("limits", place.options());
        said = hub ? "made" : hub.error().message();
        co_return;
      });
      return said;
    });
    CAPTURE(ending.said);
    CHECK(lives(ending));
    CHECK(says(ending, "Hub::shm limits: "));
    CHECK(says(ending, "ulimit -n"));
    const auto first = ending.said.find("too many open");
    CHECK(first != std::string::npos);
    CHECK(ending.said.find("too many open", first + 1) == std::string::npos);
  }

  TEST_CASE("ulimit -l: a process that locks what it maps is told of the limit of locked memory") {
    const Ending ending = in_a_child([&]() -> std::string {
      limit(RLIMIT_MEMLOCK, 8 * kMiB);
      if (::geteuid() == 0 && ::setuid(65534) != 0) return "skipped";  // who may lock everything has no limit
      if (::mlockall(MCL_FUTURE | MCL_ONFAULT) != 0) return "skipped";
      // Sanitizers make a call of it that does nothing.
      void* much = ::mmap(nullptr, 64 * kMiB, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      if (much != MAP_FAILED) return "skipped";
      Hub hub;
      return advertise_much(hub);
    });
    CAPTURE(ending.said);
    CHECK(lives(ending));
    if (ending.said == "skipped") {
      MESSAGE("nothing limits what this process locks");
      return;
    }
    CHECK(says(ending, fmt::format("{} connect a subscriber camera", ENOMEM)));
    CHECK(says(ending, "RLIMIT_MEMLOCK"));
    CHECK(says(ending, "ulimit -l"));
  }

  TEST_CASE("slots are reserved at first, and have their pages before anybody writes there") {
    const auto arena = std::make_shared<Arena>(Arena::Use::slots);
    SlotPool pool(std::make_shared<SlotTable>(16, kMiB), arena);
    CHECK(pool.take() == SlotPool::kNone);
    CHECK(arena->chunks() == 0);
    pool.reserve(16).or_throw();
    pool.adopt();
    CHECK(pages_of(*arena) == 0);
    const std::uint32_t slot = pool.take();
    CHECK(pages_of(*arena) == 0);
    REQUIRE(pool.have_pages(slot, 100));
    const std::uint64_t little = pages_of(*arena);
    CHECK(little > 0);
    CHECK(little <= 16 * kKiB);  // as much as the message needs, not as much as the slot could hold
    REQUIRE(pool.have_pages(slot, kMiB / 2));
    CHECK(pages_of(*arena) == kMiB / 2);
    REQUIRE(pool.have_pages(pool.take(), kMiB));
    CHECK(pages_of(*arena) == kMiB + kMiB / 2);
    REQUIRE(pool.have_pages(slot, kMiB / 2));
    CHECK(pages_of(*arena) == kMiB + kMiB / 2);
  }

  TEST_CASE("small slots have their pages together") {
    const auto arena = std::make_shared<Arena>(Arena::Use::slots);
    constexpr std::uint32_t kSlots = 1000;
    constexpr std::uint32_t kStride = 320;
    SlotPool pool(std::make_shared<SlotTable>(kSlots, kStride), arena);
    pool.reserve(kSlots).or_throw();
    pool.adopt();
    std::uint64_t growths = 0;
    std::uint64_t last = 0;
    for (std::uint32_t i = 0; i < kSlots; ++i) {
      REQUIRE(pool.have_pages(pool.take(), kStride));
      const std::uint64_t now = pages_of(*arena);
      growths += now != last ? 1 : 0;
      last = now;
      CHECK(now >= (i + 1) * kStride);
    }
    CHECK(growths <= 20);
  }

  TEST_CASE("slots come with subscribers, a run at a time, and go with them: memory and addresses") {
    const auto arena = std::make_shared<Arena>(Arena::Use::slots);
    SlotPool pool(std::make_shared<SlotTable>(1000, kMiB), arena);
    pool.reserve(20).or_throw();
    pool.adopt();
    const std::uint32_t few = pool.reserved();
    CHECK(few >= 20);
    CHECK(few <= 24);
    const std::uint32_t kept = pool.take();
    REQUIRE(pool.have_pages(kept, kMiB));
    pool.reserve(200).or_throw();
    pool.adopt();
    CHECK(pool.reserved() <= 204);
    CHECK(arena->chunks() < 10);
    std::vector<std::uint32_t> taken;
    for (std::uint32_t slot = pool.take(); slot != SlotPool::kNone; slot = pool.take()) {
      CHECK(slot != kept);
      CHECK(pool.data(slot) != nullptr);
      taken.push_back(slot);
    }
    CHECK(taken.size() == pool.reserved() - 1);
    for (const std::uint32_t slot : taken) REQUIRE(pool.have_pages(slot, 64));
    const std::uint64_t much = pages_of(*arena);
    pool.lower(20);
    CHECK_FALSE(pool.give_back(false));  // all are used
    for (const std::uint32_t slot : taken) pool.drop_user(slot);
    CHECK_FALSE(pool.give_back(true));  // somebody else may look there
    int steps = 1;
    while (pool.give_back(false)) ++steps;
    CHECK(steps >= 10);  // a run at a time: much at once takes long
    CHECK(pool.reserved() <= few + 4);
    CHECK(pool.data(kept) != nullptr);
    CHECK(arena->chunks() <= 5);
    CHECK(pages_of(*arena) < much);

    // Numbers are used again, and what is surplus is needed again at times.
    pool.reserve(200).or_throw();
    pool.adopt();
    CHECK(pool.free_slots() == pool.reserved() - 1);
    pool.lower(20);
    static_cast<void>(pool.give_back(true));
    CHECK(pool.free_slots() <= few + 4);
    pool.reserve(100).or_throw();
    pool.adopt();
    CHECK(pool.free_slots() >= 99);
    CHECK(pool.reserved() <= 204);
    CHECK_FALSE(pool.is_idle());
    pool.drop_user(kept);
    pool.lower(0);
    while (pool.give_back(false)) {
    }
    CHECK(pool.reserved() == 0);
    CHECK(arena->chunks() == 0);
    CHECK(pool.is_idle());
  }

  TEST_CASE("what cannot be reserved whole is not reserved at all") {
    const Ending ending = in_a_child([]() -> std::string {
      SlotPool pool(std::make_shared<SlotTable>(1000, kMiB));
      pool.reserve(10).or_throw();
      const std::uint64_t before = MemoryFacts::read().addresses;
      limit_softly(RLIMIT_AS, before + 100 * kMiB);
      const auto refused = pool.reserve(500);
      const bool nothing = MemoryFacts::read().addresses <= before + kMiB && pool.reserved() <= 12;
      const auto little = pool.reserve(50);
      return fmt::format("{} {} {}", refused.code(), nothing, little.ok());
    });
    CAPTURE(ending.said);
    CHECK(ending.said == fmt::format("{} true true", ENOMEM));
  }

  TEST_CASE("memory of links, which the peer writes, has all its pages") {
    const auto arena = std::make_shared<Arena>(Arena::Use::links);
    const auto link = arena->take(100 * kKiB).or_throw();
    CHECK(pages_of(*arena) >= 100 * kKiB);
    CHECK(pages_of(*arena) <= 108 * kKiB);
  }

  TEST_CASE("a machine without memory: loans and sends fail and say why, and nobody dies of SIGBUS") {
    const Place place;
    const Ending ending = in_a_child([&] {
      const CapturedLog log;
      Hub hub = Hub::shm("limits", place.options()).or_throw();
      auto out = hub.advertise<Image>("camera");
      std::optional in(hub.subscribe<Image>("camera"));
      no_pages(ENOSPC);
      auto loan = out.loan(100);
      std::string said = loan ? "lent" : fmt::format("{} {}", loan.error().code(), loan.error().message());
      const std::vector<std::byte> tail(1000);
      said += out.send({.width = 1}, tail) ? " sent" : " refused";
      said += fmt::format(" failures {}", out.metrics().send_failures);
      for (const auto& line : log.lines()) said += "\n" + line;
      in.reset();
      said += out.send({.width = 1}, tail) ? " accepted" : " refused";
      said += fmt::format(" failures {} published {}", out.metrics().send_failures, out.metrics().published);
      try {
        auto other = hub.advertise<Image>("other");
        said += " advertised";
      } catch (const horus::Error& error) {
        said += "\n" + error.message();
      }
      return said;
    });
    CAPTURE(ending.said);
    CHECK(lives(ending));
    CHECK(says(ending, fmt::format("{} loan camera: no space left on device (the machine", ENOSPC)));
    CHECK(says(ending, "MemAvailable"));
    CHECK_FALSE(says(ending, "disk"));
    CHECK(says(ending, " refused failures 1"));
    CHECK(says(ending, " accepted failures 1 published 1"));  // without subscribers there is nothing to do
    CHECK(says(ending, "topic camera: a message is lost"));
    CHECK(says(ending, "advertise other: no space left on device"));
  }

  TEST_CASE("a message that waits for room says when the machine has no memory for it") {
    const Place place;
    const Ending ending = in_a_child([&] {
      std::string said;
      horus::io::run([&]() -> Task<> {
        const CapturedLog log;
        Hub hub = Hub::shm("limits", place.options()).or_throw();
        auto out = hub.advertise<std::string>("words");
        auto in = hub.subscribe<std::string>("words");
        no_pages(ENOSPC);
        const auto sent = co_await out.send_wait("hello");
        said = sent ? "sent" : sent.error().message();
        said += in.has_msg() ? " queued" : " lost";
      });
      return said;
    });
    CAPTURE(ending.said);
    CHECK(lives(ending));
    CHECK(says(ending, "send words: no space left on device (the machine"));
    CHECK(says(ending, " lost"));
  }

  TEST_CASE("a large message has its pages although signals interrupt whatever takes long") {
    const Place place;
    const Ending ending = in_a_child([&]() -> std::string {
      Hub hub = Hub::shm("limits", place.options()).or_throw();
      auto out =
          hub.advertise<Image>("camera", AdvertiseOptions().with_max_bytes(32 * kMiB).with_max_queued(2));
      limit(RLIMIT_CPU, 20);  // seconds, against a try that never ends
      interrupt_pages_beyond(64 * kKiB);
      auto loan = out.loan(31 * kMiB);
      return loan ? "lent" : loan.error().message();
    });
    CAPTURE(ending.said);
    CHECK(lives(ending));
    CHECK(ending.said == "lent");
  }

  TEST_CASE("where there is no fallocate, pages come when they are touched") {
    const Place place;
    const Ending ending = in_a_child([&] {
      no_pages(EOPNOTSUPP);
      Hub hub = Hub::shm("limits", place.options()).or_throw();
      auto out = hub.advertise<Image>("camera");
      auto in = hub.subscribe<Image>("camera");
      const std::vector<std::byte> tail(1000);
      std::string said = out.send({.width = 7}, tail) ? "sent" : "refused";
      auto sample = in.try_recv();
      return said + fmt::format(" {}", sample ? (*sample)->width : 0);
    });
    CAPTURE(ending.said);
    CHECK(lives(ending));
    CHECK(ending.said == "sent 7");
  }

  TEST_CASE(
      "a subscriber without addresses for one publisher hears the others, and says why; then it hears that "
      "one") {
    const Place place;
    const Ending ending = in_a_child([&] {
      const CapturedLog log;
      std::string said;
      horus::io::run([&]() -> Task<> {
        Hub there = Hub::shm("limits", place.options()).or_throw();
        auto small = there.advertise<std::int64_t>("counter");
        auto large = there.advertise<Image>("camera");
        auto whole = there.subscribe<Image>("camera", horus::SubscribeOptions().with_depth(400));
        limit_softly(RLIMIT_AS, MemoryFacts::read().addresses + 256 * kMiB);
        Hub here = Hub::shm("limits", place.options()).or_throw();
        auto images = here.subscribe<Image>("camera");
        auto numbers = here.subscribe<std::int64_t>("counter");
        const auto problem = [&] {
          const auto state = here.connection_state();
          return state.peers.empty() ? std::string() : state.peers[0].problem;
        };
        const bool met = co_await eventually([&] { return small.subscribers() == 1 && !problem().empty(); });
        said = met ? "met" : "missed";
        small.send(7);
        auto number = co_await numbers.recv();
        said += fmt::format(" {} [{}]", number ? **number : 0, problem());
        limit_softly(RLIMIT_AS, RLIM_INFINITY);
        const bool healed =
            co_await eventually([&] { return problem().empty() && large.subscribers() == 2; });
        const std::vector<std::byte> tail(100);
        for (int i = 0; i < 10; ++i) large.send({.width = 9}, tail);
        auto image = co_await images.recv();
        said += fmt::format(" {} {}", healed ? "healed" : "ill", image ? (*image)->width : 0);
      });
      return said;
    });
    CAPTURE(ending.said);
    CHECK(lives(ending));
    CHECK(says(ending, "met 7 [topic camera: not connected: map message memory"));
    CHECK(says(ending, "RLIMIT_AS"));
    CHECK(says(ending, " healed 9"));
  }

  TEST_CASE("what a limit is taken for depends on what is used of it") {
    MemoryFacts facts;
    facts.addresses = 100 * kMiB;
    facts.address_limit = 200 * kMiB;
    const auto words = [&](int error, MemoryCall call, std::uint64_t bytes) {
      return memory_limit(error, call, bytes, facts);
    };
    CHECK(words(ENOMEM, MemoryCall::map_shared, 101 * kMiB) ==
          "(address space: RLIMIT_AS is 204800 KiB, 102400 KiB are mapped, and this takes 103424 KiB more; "
          "raise it with ulimit -v)");
    CHECK(words(ENOMEM, MemoryCall::map_shared, 100 * kMiB).find("RLIMIT_AS") == std::string::npos);
    facts.data = 10 * kMiB;
    facts.data_limit = 20 * kMiB;
    CHECK(words(ENOMEM, MemoryCall::map_private, 11 * kMiB).find("RLIMIT_DATA") != std::string::npos);
    CHECK(words(ENOMEM, MemoryCall::map_shared, 11 * kMiB).find("RLIMIT_DATA") == std::string::npos);
    facts.mappings = 65530;
    facts.mapping_limit = 65530;
    CHECK(words(ENOMEM, MemoryCall::map_shared, kMiB).find("vm.max_map_count is 65530") != std::string::npos);
    facts.mappings = 100;
    facts.overcommit = 2;
    facts.commit_limit = 4096 * kKiB;
    facts.committed = 4000 * kKiB;
    for (const int error : {ENOMEM, ENOSPC}) {
      CAPTURE(error);
      CHECK(words(error, MemoryCall::fill_file, kMiB) ==
            "(memory of the machine: vm.overcommit_memory is 2, and of CommitLimit, 4096 KiB, 4000 KiB are "
            "promised; 1024 KiB more do not fit)");
    }
    facts.overcommit = 0;
    facts.available = 512 * kKiB;
    CHECK(words(ENOSPC, MemoryCall::fill_file, kMiB).find("MemAvailable is 512 KiB") != std::string::npos);
    CHECK(words(EINVAL, MemoryCall::map_shared, kMiB).empty());
  }

  TEST_CASE("the limits of this process are read") {
    const MemoryFacts facts = MemoryFacts::read();
    CHECK(facts.addresses > kMiB);
    CHECK(facts.data > 0);
    CHECK(facts.mappings > 5);
    CHECK(facts.mapping_limit > facts.mappings);
    CHECK(facts.overcommit <= 2);
    CHECK(facts.commit_limit != MemoryFacts::kUnlimited);
    CHECK(facts.available != MemoryFacts::kUnlimited);
  }
}

}  // namespace
