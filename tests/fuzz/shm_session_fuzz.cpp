// SPDX-License-Identifier: Apache-2.0
// A whole session over shared memory against a peer that says anything, hands over any descriptor, and scribbles over the
// memory that it shares. The hub must neither crash nor stop: a publisher and a subscriber of it are used all the while.
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <horus/base/log.hpp>
#include <horus/io/reactor.hpp>
#include <horus/msg/hub.hpp>

#include "../msg/shm_stranger.hpp"

namespace {

using horus::Task;
using horus::io::Descriptor;
namespace shm = horus::msg::shm;

constexpr std::size_t kMemory = 65536;

struct Number {
  std::int64_t value = 0;
};

// The victim: it lives as long as the process.
struct Victim {
  horus::io::Reactor reactor;
  std::string directory = "/tmp/horus-fuzz-XXXXXX";
  std::string socket;
  std::optional<horus::Hub> hub;
  horus::Publisher<Number> out;
  horus::Subscriber<Number> in;

  Victim() {
    static_cast<void>(horus::set_log_sink([](horus::LogLevel, std::string_view) {}));
    Stranger::patience = std::chrono::minutes(5);  // a hub that hangs is what libFuzzer's own limit is for
    if (::mkdtemp(directory.data()) == nullptr) std::abort();
    reactor.run([this]() -> Task<> {
      auto options = horus::ShmOptions().with_directory(directory);
      options.handshake_limit = Stranger::patience;
      hub = horus::Hub::shm("rover", options).or_throw();
      out = hub->advertise<Number>("a2b");
      in = hub->subscribe<Number>("b2a");
      for (const auto& entry : std::filesystem::directory_iterator(directory)) socket = entry.path();
      co_return;
    });
  }
};

// Takes what an input has, and zeros when it has no more.
class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) noexcept : data_(data), size_(size) {}
  [[nodiscard]] bool empty() const noexcept { return at_ >= size_; }
  std::uint8_t byte() noexcept { return empty() ? 0 : data_[at_++]; }
  std::uint64_t number() noexcept {
    const std::uint8_t kind = byte();
    if (kind < 200) return kind % 8;  // mostly numbers that there are
    std::uint64_t value = 0;
    for (int i = 0; i < 8; ++i) value = value << 8 | byte();
    return value;
  }

 private:
  const std::uint8_t* data_;
  std::size_t size_;
  std::size_t at_ = 0;
};

Descriptor some_descriptor(std::uint8_t kind, int good) {
  std::array<int, 2> ends{};
  switch (kind % 8) {
    case 0: return Descriptor(::eventfd(0, EFD_CLOEXEC));
    case 1: return Descriptor(::open("/dev/null", O_RDWR | O_CLOEXEC));
    case 2: return Descriptor(::memfd_create("bare", MFD_CLOEXEC));
    case 3:
    case 4:
    case 5:
      if (::socketpair(AF_UNIX, kind % 2 == 0 ? SOCK_STREAM : SOCK_DGRAM, 0, ends.data()) != 0) return {};
      ::close(ends[0]);
      return Descriptor(ends[1]);
    default: return Descriptor(::fcntl(good, F_DUPFD_CLOEXEC, 3));
  }
}

shm::Frame some_frame(Input& input, std::uint64_t publisher) {
  switch (input.byte() % 15) {
    case 0: {
      shm::Publishes frame;
      frame.publisher = input.number();
      frame.topic = input.byte() % 4 == 0 ? "other" : "b2a";
      frame.layout_hash = horus::layout_of<Number>().hash + (input.byte() % 8 == 0 ? 1 : 0);
      frame.layout = std::string(input.byte(), 'x');
      frame.link = input.byte() % 8 == 0;
      return frame;
    }
    case 1: return shm::Gone{input.number()};
    case 2:
      return shm::Memory{static_cast<std::uint32_t>(input.number()), input.byte() % 2 == 0,
                         input.byte() % 8 == 0 ? input.number() : kMemory};
    case 3: return shm::Forget{static_cast<std::uint32_t>(input.number())};
    case 4: return shm::BellIs{static_cast<std::uint32_t>(input.number() % 70)};
    case 5:
    case 6: {
      shm::Subscribe frame;
      frame.publisher = input.byte() % 8 == 0 ? input.number() : publisher;
      frame.request = input.number();
      frame.depth = static_cast<std::uint32_t>(1 + input.number() % 70000);
      frame.max_held = static_cast<std::uint32_t>(1 + input.number() % 70000);
      frame.overflow = static_cast<horus::Overflow>(input.byte() % 3);
      frame.bell = static_cast<std::uint32_t>(input.number());
      return frame;
    }
    case 7:
    case 8: {
      shm::Connected frame;
      frame.request = input.number();
      frame.word_chunk = static_cast<std::uint32_t>(input.number());
      frame.word_at = input.number() * 64;
      frame.slots = static_cast<std::uint32_t>(1 + input.number());
      frame.stride = static_cast<std::uint32_t>(64 * (1 + input.number() % 100));
      frame.link_chunk = static_cast<std::uint32_t>(input.number());
      frame.link_at = input.number() * 128;
      frame.depth = input.byte() % 4 == 0 ? static_cast<std::uint32_t>(1 + input.number() % 70000) : 16;
      frame.bell = static_cast<std::uint32_t>(input.number());
      return frame;
    }
    case 9: return shm::Refused{input.number(), input.byte() % 2 == 0, "no"};
    case 10: return shm::Ping{input.number()};
    case 11: return shm::Goodbye{"enough"};
    case 12: return shm::Unmapped{static_cast<std::uint32_t>(input.number())};
    case 13: {
      shm::Slots frame;
      frame.request = input.number();
      for (std::uint32_t runs = 1 + input.byte() % 4; runs > 0; --runs) {
        frame.runs.push_back({static_cast<std::uint32_t>(input.number()),
                              static_cast<std::uint32_t>(input.number()),
                              static_cast<std::uint32_t>(input.number()), input.number() * 64});
      }
      return frame;
    }
    default: return shm::Unknown{static_cast<std::uint8_t>(100 + input.byte() % 100)};
  }
}

Task<> attack(Victim& victim, Input input) {
  Stranger stranger = co_await Stranger::connect(victim.socket);
  const bool let_in = co_await stranger.introduce("rover");
  if (!let_in) std::abort();  // the hub is always there
  auto published = co_await stranger.hear_of<shm::Publishes>();
  if (!published) std::abort();
  const Descriptor good(::memfd_create("good", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (::ftruncate(good.get(), kMemory) != 0 ||
      ::fcntl(good.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0)
    std::abort();
  auto* memory =
      static_cast<std::uint8_t*>(::mmap(nullptr, kMemory, PROT_READ | PROT_WRITE, MAP_SHARED, good.get(), 0));
  bool there = true;
  for (int steps = 0; there && !input.empty() && steps < 64; ++steps) {
    const std::uint8_t step = input.byte();
    if (step % 8 == 7) {
      const std::uint64_t at = (input.number() * 8 + input.byte()) % kMemory;
      memory[at] = input.byte();
      continue;
    }
    const shm::Frame frame = some_frame(input, published->publisher);
    std::vector<Descriptor> files;
    const std::size_t count = step % 16 == 0 ? input.byte() % 8 : shm::descriptors_of(frame);
    for (std::size_t i = 0; i < count; ++i) files.push_back(some_descriptor(input.byte(), good.get()));
    std::vector<int> descriptors;
    for (const Descriptor& file : files) {
      if (file) descriptors.push_back(file.get());
    }
    there = co_await stranger.say(frame, descriptors);
    if (step % 4 == 0) co_await horus::yield();
    victim.out.send({1});
    while (victim.in.try_recv()) {
    }
  }
  if (there) {
    there = co_await stranger.say(shm::Ping{1});
    auto answer = co_await stranger.hear_of<shm::Pong>();
    if (!answer && !stranger.closed()) std::abort();  // it hangs
  }
  victim.out.send({2});
  while (victim.in.try_recv()) {
  }
  ::munmap(memory, kMemory);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static auto* victim = new Victim();
  victim->reactor.run(attack(*victim, Input(data, size)));
  return 0;
}
