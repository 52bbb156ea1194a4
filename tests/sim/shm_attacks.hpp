// SPDX-License-Identifier: Apache-2.0
// What a process of the same user may do to hubs on shared memory: it breaks one rule after the other, or uses all that the
// rules leave. Each attack is a coroutine; which one, against whom and with which numbers is the seed's choice. One thread,
// that of the process.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <horus/horus.hpp>
#include <horus/io/seam/system.hpp>
#include <horus/msg/link/link_memory.hpp>
#include <horus/msg/shm/shm_directory.hpp>
#include <horus/msg/shm/shm_frames.hpp>
#include <horus/sim/random.hpp>

#include "../msg/shm_stranger.hpp"

namespace attacks {

using horus::Task;
using horus::io::Descriptor;
using horus::io::System;
using horus::sim::Random;
using namespace horus::literals;
namespace msg = horus::msg;
namespace shm = horus::msg::shm;

/// Memory that it shares, under a name by which it is known in /proc/self/maps.
inline constexpr auto kMemoryName = "hostile";

struct Target {
  std::string socket;
  std::uint64_t instance = 0;
};

/// What it needs to know of its victims.
struct Scene {
  std::string hub;
  std::string directory;
  std::string inline_topic;
  std::string slot_topic;
  const horus::Layout* inline_layout = nullptr;
  const horus::Layout* slot_layout = nullptr;
};

// --- Numbers ----------------------------------------------------------------------------------------------------------

inline std::uint64_t odd_number(Random& random, std::uint64_t near) {
  const std::uint64_t kind = random.below(10);
  const std::uint64_t some = random.below(1000);
  switch (kind) {
    case 0: return 0;
    case 1: return UINT64_MAX - some;
    case 2: return (std::uint64_t{1} << 63) + some;
    case 3: return (std::uint64_t{1} << 63) - 1 - some;
    case 4: return (std::uint64_t{1} << 32) + some;
    case 5: return some;
    case 6: return near - some;
    case 7: return near + some;
    case 8: return near + 1;
    default: return random.next();
  }
}

// --- Memory -----------------------------------------------------------------------------------------------------------

class Memory {
 public:
  Memory(std::size_t bytes, int seals) : file_(System::here().make_memory(kMemoryName)) {
    const int pages = kernel_file();
    if (pages < 0 || ::ftruncate(pages, static_cast<off_t>(bytes)) != 0) return;
    void* place = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, pages, 0);
    if (place != MAP_FAILED)
      mapping_ = std::make_shared<msg::Mapping>(static_cast<std::byte*>(place), bytes, -1);
    static_cast<void>(::fcntl(pages, F_ADD_SEALS, seals));
  }
  /// What a hub gave.
  Memory(Descriptor file, std::size_t bytes) : file_(std::move(file)) {
    void* place = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, kernel_file(), 0);
    if (place != MAP_FAILED)
      mapping_ = std::make_shared<msg::Mapping>(static_cast<std::byte*>(place), bytes, -1);
  }
  [[nodiscard]] int fd() const noexcept { return file_.get(); }
  [[nodiscard]] const std::shared_ptr<msg::Mapping>& mapping() const noexcept { return mapping_; }

 private:
  [[nodiscard]] int kernel_file() const noexcept {
    return file_ ? System::here().kernel_file(file_.get()) : -1;
  }
  Descriptor file_;
  std::shared_ptr<msg::Mapping> mapping_;
};

inline Descriptor odd_descriptor(Random& random) {
  std::array<int, 2> ends{-1, -1};
  System& host = System::here();
  switch (random.below(5)) {
    case 0: return Descriptor(horus::io::Reactor::current()->system().event_fd(0, 0));
    case 1:
      if (host.socket_pair(ends.data(), AF_UNIX, SOCK_DGRAM) < 0) return {};
      break;
    case 2:
      if (host.socket_pair(ends.data(), AF_UNIX, SOCK_STREAM) < 0) return {};
      break;
    case 3: return Descriptor(std::max(host.open_folder("/tmp"), -1));
    default: return Descriptor(std::max(host.make_memory(kMemoryName), -1));  // empty and without seals
  }
  host.close(ends[0]);
  return Descriptor(ends[1]);
}

// --- Whom ------------------------------------------------------------------------------------------------------------

inline std::vector<Target> targets(const Scene& scene) {
  std::vector<Target> found;
  auto reader = msg::DirectoryReader::open(scene.directory);
  if (!reader) return found;
  std::vector<std::string> names;
  while (reader->read(names)) {
  }
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    const auto instance = msg::instance_of(name, msg::socket_prefix(scene.hub));
    if (instance) found.push_back({scene.directory + "/" + name, *instance});
  }
  return found;
}

/// A process that was let in by one hub.
struct Visit {
  const Scene& scene;
  Random& random;
  Stranger stranger;

  [[nodiscard]] Task<> say(shm::Frame frame, int descriptor = -1) {
    std::vector<int> descriptors;
    if (descriptor >= 0) descriptors.push_back(descriptor);
    auto saying = stranger.say(std::move(frame), std::move(descriptors));
    const bool said = co_await saying;
    if (!said) throw horus::Error(EPIPE, "attack");
  }
};

inline Task<Visit> visit(const Scene& scene, Random& random, Target target) {
  auto connecting = Stranger::connect(target.socket);
  Stranger stranger = co_await connecting;
  Visit guest{scene, random, std::move(stranger)};
  auto introducing = guest.stranger.introduce(scene.hub, random.next());
  const bool let_in = co_await introducing;
  if (!let_in) throw horus::Error(EPIPE, "attack");
  co_return guest;
}

inline Task<> linger(Random& random) {
  const horus::Duration stays = random.between(0ms, 400ms);
  co_await horus::sleep(stays);
}

// --- Before it is let in ----------------------------------------------------------------------------------------------

/// Bytes as they are.
inline Task<> say_bytes(const Target& target, std::string bytes, horus::Duration stays) {
  auto connecting = horus::io::UnixStream::connect(target.socket);
  auto stream = (co_await connecting).or_throw();
  auto writing = stream.write_all(horus::io::Bytes(bytes));
  static_cast<void>(co_await writing);
  co_await horus::sleep(stays);
}

inline Task<> wrong_hello(const Scene& scene, Random& random, Target target) {
  shm::Hello hello;
  hello.hub = scene.hub;
  hello.instance = random.next();
  std::string bytes;
  const auto append = [&](const shm::Frame& frame) {
    const auto encoded = shm::encode(frame);
    bytes.append(reinterpret_cast<const char*>(encoded.data()), encoded.size());
  };
  switch (random.below(8)) {
    case 0: break;  // nothing at all
    case 1: bytes = std::string(random.below(64), '\xff'); break;
    case 2: append(shm::Welcome{}); break;
    case 3:
      hello.lowest = hello.highest = static_cast<std::uint16_t>(random.below(100));
      append(hello);
      break;
    case 4:
      append(hello);
      bytes.resize(bytes.size() - 1 - random.below(bytes.size() - 1));
      break;
    case 5:
      hello.hub = std::string(1 + random.below(255), '\xc0');
      append(hello);
      break;
    case 6:
      append(hello);
      append(hello);
      break;
    default: hello.instance = target.instance; append(hello);
  }
  const horus::Duration stays = random.between(0ms, 400ms);
  auto saying = say_bytes(target, std::move(bytes), stays);
  co_await saying;
}

/// Says that it is somebody else, who is there.
inline Task<> impostor(const Scene& scene, Random& random, Target target) {
  const auto all = targets(scene);
  if (all.empty()) co_return;
  const std::uint64_t whom = random.below(all.size());
  auto connecting = Stranger::connect(target.socket);
  Stranger stranger = co_await connecting;
  auto introducing = stranger.introduce(scene.hub, all[static_cast<std::size_t>(whom)].instance);
  static_cast<void>(co_await introducing);
  auto lingering = linger(random);
  co_await lingering;
}

inline Task<> crowd(const Scene& scene, Random& random, Target target) {
  std::vector<Stranger> all;
  const std::uint64_t count = 1 + random.below(300);
  const bool greets = random.chance(1, 2);
  for (std::uint64_t i = 0; i < count; ++i) {
    auto connecting = Stranger::connect(target.socket);
    all.push_back(co_await connecting);
    if (!greets) continue;
    shm::Hello hello;
    hello.hub = scene.hub;
    hello.instance = random.next();
    auto saying = all.back().say(hello);
    static_cast<void>(co_await saying);
  }
  auto lingering = linger(random);
  co_await lingering;
}

// --- Frames -----------------------------------------------------------------------------------------------------------

inline Task<> unasked(const Scene& scene, Random& random, Target target) {
  auto visiting = visit(scene, random, target);
  Visit here = co_await visiting;
  const auto number = static_cast<std::uint32_t>(odd_number(random, 1));
  shm::Subscribe subscribe;
  subscribe.publisher = number;
  subscribe.request = number;
  subscribe.depth = subscribe.max_held = 1;
  subscribe.bell = number;
  shm::Publishes publishes;
  publishes.publisher = number;
  publishes.topic = scene.inline_topic;
  publishes.layout_hash = random.next();
  const std::vector<shm::Frame> frames{shm::Connected{number, 1, 0, 16, 64, 2, 0, 16, 0},
                                       shm::Refused{number, true, "no"},
                                       shm::Forget{number},
                                       shm::Slots{number, {{0, 64, 1, 0}}},
                                       shm::Unmapped{number},
                                       shm::Gone{number},
                                       subscribe,
                                       publishes,
                                       shm::Hello{},
                                       shm::Welcome{},
                                       shm::Unknown{200}};
  while (true) {
    const std::uint64_t which = random.below(frames.size());
    auto saying = here.say(frames[static_cast<std::size_t>(which)]);
    co_await saying;
    if (random.chance(1, 4)) co_await horus::yield();
    if (random.chance(1, 50)) co_return;
  }
}

inline Task<> cut_short(const Scene& scene, Random& random, Target target) {
  auto visiting = visit(scene, random, target);
  Visit here = co_await visiting;
  shm::Publishes publishes;
  publishes.topic = "cut";
  std::vector<std::byte> bytes = shm::encode(publishes);
  if (random.chance(1, 2)) {
    bytes.resize(1 + random.below(bytes.size() - 1));
  } else {
    bytes[static_cast<std::size_t>(random.below(4))] = static_cast<std::byte>(1 + random.below(255));
  }
  auto sending = here.stranger.say_bytes(std::move(bytes));
  static_cast<void>(co_await sending);
  auto lingering = linger(random);
  co_await lingering;
}

/// As many frames as it can say, and hears no answer.
inline Task<> flood(const Scene& scene, Random& random, Target target) {
  auto visiting = visit(scene, random, target);
  Visit here = co_await visiting;
  const std::uint64_t kind = random.below(4);
  const std::uint64_t count = 1 + random.below(20'000);
  for (std::uint64_t i = 1; i <= count; ++i) {
    shm::Publishes publishes;
    publishes.publisher = kind == 1 ? 7 : i;
    publishes.topic = kind == 1 ? scene.inline_topic : "flood" + std::to_string(i);
    publishes.layout = std::string(kind == 1 ? 0 : random.below(2000), 'x');
    publishes.layout_hash = scene.inline_layout->hash;
    if (kind == 0) {
      auto saying = here.say(shm::Ping{i});
      co_await saying;
    } else if (kind == 3) {
      shm::Subscribe subscribe;
      subscribe.request = i;
      subscribe.depth = subscribe.max_held = 1;
      if (i == 1) {
        const Descriptor bell = odd_descriptor(random);
        if (bell) {
          auto giving = here.say(shm::BellIs{}, bell.get());
          co_await giving;
        }
      }
      auto saying = here.say(subscribe);
      co_await saying;
    } else {
      auto saying = here.say(publishes);
      co_await saying;
    }
    if (kind == 1) {
      auto saying = here.say(shm::Gone{7});
      co_await saying;
    }
  }
  auto lingering = linger(random);
  co_await lingering;
}

// --- Descriptors ------------------------------------------------------------------------------------------------------

inline Task<> odd_files(const Scene& scene, Random& random, Target target) {
  auto visiting = visit(scene, random, target);
  Visit here = co_await visiting;
  const bool bell = random.chance(1, 3);
  const std::uint64_t size = random.chance(1, 2) ? 65536 : odd_number(random, 65536);
  const int seals = random.chance(1, 2) ? F_SEAL_SHRINK | F_SEAL_GROW : static_cast<int>(random.below(16));
  if (random.chance(1, 2)) {
    const Descriptor file = odd_descriptor(random);
    if (!file) co_return;
    const shm::Frame frame = bell ? shm::Frame(shm::BellIs{}) : shm::Frame(shm::Memory{1, false, size});
    auto saying = here.say(frame, file.get());
    co_await saying;
  } else {
    const Memory memory(65536, seals);
    const bool links = random.chance(1, 2);
    auto saying = here.say(shm::Memory{1, links, size}, memory.fd());
    co_await saying;
  }
  auto lingering = linger(random);
  co_await lingering;
}

/// Descriptors until the hub has no more, or the connection is gone; over several connections.
inline Task<> many_files(const Scene& scene, Random& random, Target target) {
  std::vector<Visit> all;
  const std::uint64_t visits = 1 + random.below(40);
  const std::uint64_t kind = random.below(3);
  const Memory memory(4096, F_SEAL_SHRINK | F_SEAL_GROW);
  std::array<int, 2> ends{-1, -1};
  if (System::here().socket_pair(ends.data(), AF_UNIX, SOCK_STREAM) < 0) co_return;
  const Descriptor near(ends[0]);
  const Descriptor far(ends[1]);
  const std::uint32_t most = kind == 1 ? 300 : 64;
  try {
    for (std::uint64_t i = 0; i < visits; ++i) {
      auto visiting = visit(scene, random, target);
      all.push_back(co_await visiting);
      for (std::uint32_t number = 0; number < most; ++number) {
        if (kind == 0) {
          auto saying = all.back().say(shm::BellIs{number}, far.get());
          co_await saying;
        } else if (kind == 1) {
          auto saying = all.back().say(shm::Memory{number, random.chance(1, 2), 4096}, memory.fd());
          co_await saying;
        } else {  // in the middle of a frame, which needs them all
          auto sending = all.back().stranger.say_bytes(
              number == 0 ? std::vector<std::byte>{std::byte{100}, {}, {}, {}} : std::vector<std::byte>(1),
              far.get());
          const bool sent = co_await sending;
          if (!sent || number >= 30) break;
        }
      }
    }
  } catch (const horus::Error&) {
    // This one is out of it.
  }
  auto lingering = linger(random);
  co_await lingering;
}

// --- Memory that both can write ---------------------------------------------------------------------------------------

/// Writes what cannot be where a peer writes, and takes no slot back.
inline void scribble(Random& random, msg::LinkMemory& link, bool as_publisher) {
  msg::LinkState& state = *link.state;
  const std::uint64_t pushed = state.pushed.load();
  const std::uint64_t value = odd_number(random, pushed);
  switch (random.below(12)) {
    case 0: (as_publisher ? state.pushed : state.taken).store(value); break;
    case 1: (as_publisher ? state.refused : state.dropped).store(value); break;
    case 2: (as_publisher ? state.pushed : state.until).store(value); break;
    case 3: (as_publisher ? state.refused : state.returned).store(value); break;
    case 4: state.subscriber_asleep.store(static_cast<std::uint32_t>(value)); break;
    case 5: state.publisher_waits.store(static_cast<std::uint32_t>(value)); break;
    case 6:
      if (random.chance(1, 20))
        (as_publisher ? state.publisher_closed : state.subscriber_closed)
            .store(static_cast<std::uint32_t>(value));
      break;
    case 7:
      (as_publisher ? state.publisher_fences : state.subscriber_admits)
          .store(static_cast<std::uint32_t>(value));
      break;
    case 8: state.subscriber_polls.store(static_cast<std::uint32_t>(value % 2)); break;
    case 9:
      if (link.returns != nullptr)
        link.returns[random.below(link.return_capacity)].store(static_cast<std::uint32_t>(value));
      break;
    default: {
      const std::uint64_t near = as_publisher ? 4 * pushed + 1 : value;
      auto* entry = link.words.entry(as_publisher ? pushed : value);
      entry[random.below(link.words.entry_words)].store(random.chance(1, 2) ? near : value);
      break;
    }
  }
}

inline Task<> mad_publisher(const Scene& scene, Random& random, Target target) {
  auto visiting = visit(scene, random, target);
  Visit here = co_await visiting;
  const bool in_slots = random.chance(1, 2);
  const horus::Layout& layout = in_slots ? *scene.slot_layout : *scene.inline_layout;
  shm::Publishes publishes;
  publishes.publisher = 5;
  publishes.topic = in_slots ? scene.slot_topic : scene.inline_topic;
  publishes.layout_hash = layout.hash;
  auto announcing = here.say(publishes);
  co_await announcing;
  auto hearing = here.stranger.hear_of<shm::Subscribe>();
  const auto wanted = co_await hearing;
  if (!wanted) co_return;
  std::array<int, 2> ends{-1, -1};
  if (System::here().socket_pair(ends.data(), AF_UNIX, SOCK_STREAM) < 0) co_return;
  const Descriptor near(ends[0]);
  const Descriptor far(ends[1]);
  constexpr std::uint32_t kSlots = 128;  // of which it tells now and then
  const std::uint32_t stride = (layout.tail_offset + 63) / 64 * 64 + 64;
  const std::size_t slot_bytes = (std::size_t{kSlots} * stride + 4096 + 4095) / 4096 * 4096;
  const msg::LinkShape shape = msg::LinkShape::of(layout, wanted->depth, wanted->overflow, kSlots);
  const std::size_t link_bytes = (shape.bytes() + 4095) / 4096 * 4096;
  const Memory slots(slot_bytes, F_SEAL_SHRINK | F_SEAL_GROW);
  const Memory links(link_bytes, F_SEAL_SHRINK | F_SEAL_GROW);
  if (!slots.mapping() || !links.mapping()) co_return;
  auto ringing = here.say(shm::BellIs{}, far.get());
  co_await ringing;
  auto first = here.say(shm::Memory{1, false, slot_bytes}, slots.fd());
  co_await first;
  auto second = here.say(shm::Memory{2, true, link_bytes}, links.fd());
  co_await second;
  shm::Connected connected;
  connected.request = wanted->request;
  connected.word_chunk = 1;
  connected.word_at = std::uint64_t{kSlots} * stride;
  connected.slots = kSlots;
  connected.stride = stride;
  connected.link_chunk = 2;
  connected.depth = wanted->depth;
  auto connecting = here.say(connected);
  co_await connecting;
  const std::uint32_t half = kSlots / 2;
  if (in_slots) {
    auto telling = here.say(shm::Slots{wanted->request, {{0, half, 1, 0}}});
    co_await telling;
  }
  msg::LinkMemory link = msg::LinkMemory::over(links.mapping(), shape);
  msg::LinkWriter<msg::RealAtomics> writer(link.words);
  const std::vector<std::byte> message(512, std::byte{0x5a});
  const std::uint64_t sane = random.below(40);  // messages before it goes mad
  const std::uint64_t steps = 20 + random.below(400);
  for (std::uint64_t step = 0; step < steps; ++step) {
    const auto stamp =
        static_cast<std::int64_t>(odd_number(random, static_cast<std::uint64_t>(horus::now_ns())));
    if (step < sane || random.chance(1, 2)) {
      if (in_slots) {
        const std::uint64_t slot = random.chance(9, 10) ? random.below(kSlots) : odd_number(random, kSlots);
        const std::uint64_t tail = random.chance(9, 10) ? 0 : odd_number(random, stride);
        writer.push({static_cast<std::uint32_t>(slot), static_cast<std::uint32_t>(tail), stamp});
      } else {
        writer.push(message.data(), shape.inline_bytes, stamp);
      }
    } else {
      scribble(random, link, true);
    }
    for (int descriptor = 0; const Descriptor& bell : here.stranger.descriptors()) {
      const char once = 1;
      if (descriptor++ < 4) static_cast<void>(System::here().send(bell.get(), &once, sizeof once));
    }
    if (in_slots && random.chance(1, 60)) {
      shm::Slots more{wanted->request, {{half, half, 1, std::uint64_t{half} * stride}}};
      if (random.chance(1, 3)) {
        more.runs[0].first = static_cast<std::uint32_t>(odd_number(random, half));
        more.runs[0].count = static_cast<std::uint32_t>(odd_number(random, half));
      }
      auto telling = here.say(more);
      co_await telling;
    }
    if (random.chance(1, 4)) co_await horus::sleep(random.between(0ms, 5ms));
  }
}

/// Takes what there is, gives nothing back, and lies about it.
inline Task<> mad_subscriber(const Scene& scene, Random& random, Target target) {
  auto visiting = visit(scene, random, target);
  Visit here = co_await visiting;
  std::array<int, 2> ends{-1, -1};
  if (System::here().socket_pair(ends.data(), AF_UNIX, SOCK_STREAM) < 0) co_return;
  const Descriptor near(ends[0]);
  const Descriptor far(ends[1]);
  auto ringing = here.say(shm::BellIs{}, far.get());
  co_await ringing;
  std::map<std::uint32_t, std::shared_ptr<Memory>> memory;
  std::map<std::uint64_t, std::pair<shm::Subscribe, const horus::Layout*>> asked;
  std::vector<std::pair<msg::LinkMemory, std::uint32_t>> links;
  std::size_t files = 0;  // of the stranger's that were looked at
  std::uint64_t requests = 0;
  const std::uint64_t frames = 8 + random.below(60);
  for (std::uint64_t i = 0; i < frames; ++i) {
    auto hearing = here.stranger.hear();
    const auto frame = co_await hearing;
    if (!frame) break;
    if (const auto* published = std::get_if<shm::Publishes>(&*frame)) {
      const std::uint64_t times = 1 + random.below(4);
      for (std::uint64_t time = 0; time < times; ++time) {
        shm::Subscribe subscribe;
        subscribe.publisher = published->publisher;
        subscribe.request = ++requests;
        subscribe.depth =
            1 + static_cast<std::uint32_t>(random.chance(1, 4) ? random.below(65536) : random.below(32));
        subscribe.max_held =
            1 + static_cast<std::uint32_t>(random.chance(1, 4) ? random.below(65536) : random.below(32));
        subscribe.overflow = static_cast<horus::Overflow>(random.below(3));
        asked[subscribe.request] = {
            subscribe, published->topic == scene.slot_topic ? scene.slot_layout : scene.inline_layout};
        auto saying = here.say(subscribe);
        co_await saying;
      }
    } else if (const auto* piece = std::get_if<shm::Memory>(&*frame)) {
      if (files >= here.stranger.descriptors().size()) break;
      Descriptor file = std::move(here.stranger.descriptors()[files++]);
      if (piece->links) memory[piece->chunk] = std::make_shared<Memory>(std::move(file), piece->bytes);
    } else if (std::holds_alternative<shm::BellIs>(*frame)) {
      ++files;
    } else if (const auto* connected = std::get_if<shm::Connected>(&*frame)) {
      const auto& [subscribe, layout] = asked[connected->request];
      const auto piece = memory.find(connected->link_chunk);
      if (layout == nullptr || piece == memory.end() || !piece->second->mapping()) continue;
      const msg::LinkShape shape =
          msg::LinkShape::of(*layout, subscribe.depth, subscribe.overflow, connected->slots);
      links.emplace_back(msg::LinkMemory::over(piece->second->mapping(), shape, connected->link_at),
                         subscribe.depth);
    }
  }
  const std::uint64_t steps = links.empty() ? 0 : 20 + random.below(400);
  for (std::uint64_t step = 0; step < steps; ++step) {
    auto& [link, depth] = links[static_cast<std::size_t>(random.below(links.size()))];
    if (random.chance(1, 3)) {  // claims what it may have, and keeps it
      const std::uint64_t pushed = link.state->pushed.load();
      std::uint64_t expected = 4 * (pushed - 1) + msg::entry_state::kSlot;
      if (pushed > 0 && link.return_capacity > 0)
        link.words.entry(pushed - 1)->compare_exchange_strong(expected, expected + 1);
    } else {
      scribble(random, link, false);
    }
    if (random.chance(1, 4)) co_await horus::sleep(random.between(0ms, 5ms));
  }
  if (random.chance(1, 2)) {
    auto saying = here.say(shm::Goodbye{"enough", random.chance(1, 2)});
    co_await saying;
  }
}

/// Rings the bell that it was given without end, and fills its own.
inline Task<> ringing(const Scene& scene, Random& random, Target target) {
  auto visiting = visit(scene, random, target);
  Visit here = co_await visiting;
  shm::Publishes publishes;
  publishes.publisher = 5;
  publishes.topic = scene.inline_topic;
  publishes.layout_hash = scene.inline_layout->hash;
  auto announcing = here.say(publishes);
  co_await announcing;
  auto hearing = here.stranger.hear_of<shm::Subscribe>();
  static_cast<void>(co_await hearing);
  const std::vector<char> rings(4096, '\1');
  const std::uint64_t rounds = 1 + random.below(200);
  for (std::uint64_t round = 0; round < rounds; ++round) {
    for (const Descriptor& bell : here.stranger.descriptors()) {
      for (int i = 0; i < 300; ++i) {
        if (System::here().send(bell.get(), rings.data(), 1 + random.below(rings.size())) < 0) break;
      }
    }
    co_await horus::sleep(random.between(0ms, 5ms));
  }
}

/// Files that look like hubs.
inline Task<> false_sockets(const Scene& scene, Random& random, Target) {
  std::vector<horus::io::UnixListener> listeners;
  const std::uint64_t count = 1 + random.below(40);
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::string path = scene.directory + "/" + msg::socket_name(scene.hub, random.next());
    auto listener = horus::io::UnixListener::listen(path);
    if (listener && random.chance(1, 2)) listeners.push_back(std::move(*listener));
  }
  auto lingering = linger(random);
  co_await lingering;
}

// --- All of them ------------------------------------------------------------------------------------------------------

using Attack = Task<> (*)(const Scene&, Random&, Target);
struct Named {
  const char* name;
  Attack attack;
};
inline constexpr std::array<Named, 12> kAttacks{{{"wrong hello", &wrong_hello},
                                                 {"impostor", &impostor},
                                                 {"crowd", &crowd},
                                                 {"unasked", &unasked},
                                                 {"cut short", &cut_short},
                                                 {"flood", &flood},
                                                 {"odd files", &odd_files},
                                                 {"many files", &many_files},
                                                 {"mad publisher", &mad_publisher},
                                                 {"mad subscriber", &mad_subscriber},
                                                 {"ringing", &ringing},
                                                 {"false sockets", &false_sockets}}};

/// One attack after the other until `until_ns`.
inline Task<> attack_until(const Scene& scene, Random& random, std::int64_t until_ns) {
  while (horus::now_ns() < until_ns) {
    const auto all = targets(scene);
    if (!all.empty()) {
      const Target target = all[static_cast<std::size_t>(random.below(all.size()))];
      const Named& chosen = kAttacks[static_cast<std::size_t>(random.below(kAttacks.size()))];
      try {
        auto attacking = horus::with_timeout(2s, chosen.attack(scene, random, target));
        static_cast<void>(co_await attacking);
      } catch (const horus::Error& error) {
        if (error.cancelled()) throw;
      }
    }
    co_await horus::sleep(random.between(1ms, 100ms));
  }
}

}  // namespace attacks
