// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/door/door.hpp>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fmt/format.h>

#include <horus/base/above_standard.hpp>
#include <horus/base/background_thread.hpp>
#include <horus/base/clock.hpp>
#include <horus/base/log.hpp>
#include <horus/io/seam/system.hpp>
#include <horus/msg/door/doorstep.hpp>
#include <horus/msg/door/insight.hpp>

namespace horus::HORUS_ABI::msg::door {
namespace {

constexpr int kBacklog = 64;
constexpr Duration kEndWait = std::chrono::milliseconds(100);
constexpr Duration kPause = std::chrono::milliseconds(100);  // without descriptors or memory

// Of every door of this process, for fork().
struct Doors {
  std::mutex mutex;
  std::vector<Door*> open;
};

// The door of this process.
struct Own {
  std::mutex mutex;
  std::unique_ptr<Door> door;
  bool forbidden = false;
  bool exit_known = false;
};
constinit std::atomic<bool> tried{false};

}  // namespace

// Shared by the door and its thread: whichever ends last frees it.
struct Door::Room {
  Room(Doorstep step, const DoorLimits& wanted) : doorstep(std::move(step)), limits(wanted) {}
  ~Room() {
    visitors.clear();
    for (const int fd : {doorstep.listener, wake}) {
      if (fd >= 0) ::close(fd);
    }
  }

  static void* run(void* argument);
  void serve();
  int wait_ms(std::int64_t now_ns) const;
  void poll_all(int limit_ms, std::unique_lock<std::mutex>& lock);
  void round(std::int64_t now_ns);
  void accept_some(std::int64_t now_ns);
  void look_after(Visitor& visitor, bool readable, std::int64_t now_ns);

  Doorstep doorstep;
  const DoorLimits limits;
  Host host;
  int wake = -1;
  pid_t owner = ::getpid();

  std::mutex working;  // held by the thread except while it sleeps, so that a fork finds everything in order
  std::condition_variable over;
  bool stopping = false;
  bool ended = false;
  std::vector<std::unique_ptr<Visitor>> visitors;
  std::vector<pollfd> polled;
  std::int64_t accept_again_ns = 0;
  std::int64_t next_flush_ns = 0;
};

namespace {

Doors& doors() {
  static auto* all = new Doors();  // never destroyed: a thread may still serve at the end
  return *all;
}

Own& own() {
  static auto* only = new Own();  // the same
  return *only;
}

void close_at_exit() {
  const std::lock_guard lock(own().mutex);
  own().door.reset();
}

// What the environment says about it: that wins.
std::optional<bool> wish_of_environment() {
  const char* wish = std::getenv("HORUS_INSPECT");
  if (wish == nullptr || *wish == '\0') return std::nullopt;
  return std::strcmp(wish, "0") != 0;
}

}  // namespace

void* Door::Room::run(void* argument) {
  const std::unique_ptr<std::shared_ptr<Room>> room(static_cast<std::shared_ptr<Room>*>(argument));
  ::pthread_setname_np(::pthread_self(), "horus-inspect");
  sweep((*room)->doorstep.folder);
  (*room)->serve();
  return nullptr;
}

void Door::Room::serve() {
  std::unique_lock lock(working);
  while (!stopping) {
    try {
      poll_all(wait_ms(monotonic_ns()), lock);
      if (!stopping) round(monotonic_ns());
    } catch (const std::exception&) {  // no memory
      lock.unlock();
      static_cast<void>(::poll(nullptr, 0, static_cast<int>(kPause / std::chrono::milliseconds(1))));
      lock.lock();
    }
  }
  visitors.clear();
  ended = true;
  lock.unlock();
  over.notify_all();
}

int Door::Room::wait_ms(std::int64_t now_ns) const {
  std::int64_t until = accept_again_ns > 0 ? accept_again_ns : INT64_MAX;
  for (const auto& visitor : visitors) {
    if (visitor->has_more()) return 0;
    until = std::min(until, visitor->next_limit_ns());
    if (visitor->has_taps()) until = std::min(until, next_flush_ns);
  }
  if (until == INT64_MAX) return -1;
  const Duration left(std::max<std::int64_t>(until - now_ns, 0));
  return static_cast<int>(
      std::min<std::int64_t>(std::chrono::ceil<std::chrono::milliseconds>(left).count(), 60'000));
}

// Its places: the wake-up, the listener, and then the visitors in their order.
void Door::Room::poll_all(int limit_ms, std::unique_lock<std::mutex>& lock) {
  polled.clear();
  polled.push_back({wake, POLLIN, 0});
  polled.push_back({accept_again_ns > 0 ? -1 : doorstep.listener, POLLIN, 0});
  for (const auto& visitor : visitors) polled.push_back({visitor->socket(), visitor->events(), 0});
  lock.unlock();
  static_cast<void>(::poll(polled.data(), polled.size(), limit_ms));
  lock.lock();
}

void Door::Room::round(std::int64_t now_ns) {
  const bool flush = now_ns >= next_flush_ns;
  if (flush) next_flush_ns = now_ns + kFlushEvery.count();
  for (std::size_t i = 0; i < visitors.size(); ++i) {
    Visitor& visitor = *visitors[i];
    const bool readable = (polled[i + 2].revents & (POLLIN | POLLHUP | POLLERR)) != 0;
    try {
      if (flush) visitor.take_messages(now_ns);
      look_after(visitor, readable, now_ns);
    } catch (const std::exception& error) {  // no memory: it is this visitor's loss
      log_line(LogLevel::debug, fmt::format("a visitor of {} is given up: {}", doorstep.path, error.what()));
      visitor.give_up();
    }
  }
  std::erase_if(visitors, [](const auto& visitor) { return visitor->is_gone(); });
  if (accept_again_ns > 0 && now_ns >= accept_again_ns) accept_again_ns = 0;
  if ((polled[1].revents & POLLIN) != 0) accept_some(now_ns);
}

void Door::Room::look_after(Visitor& visitor, bool readable, std::int64_t now_ns) {
  visitor.serve(readable, now_ns);
  visitor.look_at_clock(now_ns);
  visitor.send(now_ns);
}

void Door::Room::accept_some(std::int64_t now_ns) {
  for (int i = 0; i < kBacklog; ++i) {
    const int socket =
        above_standard(::accept4(doorstep.listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (socket < 0) {
      if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
        accept_again_ns = now_ns + kPause.count();
      return;
    }
    if (!may_enter(socket)) {
      ::close(socket);
      continue;
    }
    std::unique_ptr<Visitor> visitor;
    try {
      visitor = std::make_unique<Visitor>(socket, host, limits, now_ns);
    } catch (const std::exception&) {  // no memory for it
      ::close(socket);
      throw;
    }
    if (visitors.size() >= limits.max_visitors)
      visitor->dismiss(fmt::format("{} visitors are here already", limits.max_visitors), now_ns);
    visitor->send(now_ns);
    if (!visitor->is_gone() && visitors.size() < limits.max_visitors) visitors.push_back(std::move(visitor));
  }
}

// --- The door

Door::Door(std::shared_ptr<Room> room) noexcept : room_(std::move(room)) {}

const std::string& Door::path() const noexcept { return room_->doorstep.path; }

Result<std::unique_ptr<Door>> Door::open(const std::string& wanted, const std::string& name,
                                         const DoorLimits& limits) {
  auto doorstep = bind_door(wanted, name);
  if (!doorstep) return doorstep.error();
  auto room = std::make_shared<Room>(std::move(*doorstep), limits);
  room->host = host_of_process(name);
  room->wake = above_standard(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  int refused = room->wake < 0 ? errno : 0;
  std::unique_ptr<Door> door(new Door(room));
  static const int fork_known = ::pthread_atfork(&before_fork, &parent_after_fork, &child_after_fork);
  static_cast<void>(fork_known);
  Doors& all = doors();
  const std::lock_guard lock(all.mutex);
  if (refused == 0) {
    auto* theirs = new std::shared_ptr<Room>(room);
    refused = horus::detail::start_background_thread(kStackBytes, &Room::run, theirs);
    if (refused != 0) delete theirs;
  }
  if (refused != 0) {
    room->ended = true;
    return Error(refused, "start the thread of", door->path());
  }
  all.open.push_back(door.get());
  return door;
}

Door::~Door() {
  {
    Doors& all = doors();
    const std::lock_guard lock(all.mutex);
    std::erase(all.open, this);
  }
  if (room_->owner != ::getpid()) return;
  static_cast<void>(::unlink(path().c_str()));
  std::unique_lock lock(room_->working);
  room_->stopping = true;
  const std::uint64_t one = 1;
  static_cast<void>(!::write(room_->wake, &one, sizeof one));
  room_->over.wait_for(lock, kEndWait, [&] { return room_->ended; });
}

// --- fork(): the child has no thread of ours, and no visitors. Its own door opens with its next Hub or Scheduler.

void Door::before_fork() noexcept {
  own().mutex.lock();
  doors().mutex.lock();
  for (Door* door : doors().open) door->room_->working.lock();
  lock_offers();
}

void Door::parent_after_fork() noexcept {
  unlock_offers();
  for (Door* door : doors().open) door->room_->working.unlock();
  doors().mutex.unlock();
  own().mutex.unlock();
}

void Door::child_after_fork() noexcept {
  unlock_offers();
  Doors& all = doors();
  for (Door* door : all.open) {
    Room& room = *door->room_;
    for (const auto& visitor : room.visitors) visitor->forget();
    for (int* fd : {&room.doorstep.listener, &room.wake}) ::close(std::exchange(*fd, -1));
    room.working.unlock();
  }
  all.open.clear();
  all.mutex.unlock();
  static_cast<void>(
      own().door.release());  // the parent's; its memory is shared with a thread that is not here
  tried.store(false);
  own().mutex.unlock();
}

// --- The door of this process

void open_once() noexcept {
  if (tried.load(std::memory_order_relaxed)) return;
  if (const io::System& system = io::System::here(); system.world_process() != 0 || !system.has_threads())
    return;
  std::string problem;
  try {
    Own& mine = own();
    const std::lock_guard lock(mine.mutex);
    if (tried.exchange(true)) return;
    if (!wish_of_environment().value_or(!mine.forbidden)) return;
    auto door = Door::open("", program_invocation_short_name);
    if (door) {
      mine.door = std::move(*door);
      if (!mine.exit_known) mine.exit_known = std::atexit(&close_at_exit) == 0;
      return;
    }
    problem = door.error().message();
  } catch (const std::exception& error) {
    problem = error.what();
  }
  // Without the lock: a sink may do anything.
  log_warning("tools cannot look into this program: " + problem + " (HORUS_INSPECT=0 does without)");
}

void permit(bool permitted) noexcept {
  Own& mine = own();
  const std::lock_guard lock(mine.mutex);
  if (permitted) return;
  mine.forbidden = true;
  if (!wish_of_environment().value_or(false)) mine.door.reset();
}

std::string path_of_process() {
  Own& mine = own();
  const std::lock_guard lock(mine.mutex);
  return mine.door != nullptr ? mine.door->path() : std::string();
}

}  // namespace horus::HORUS_ABI::msg::door
