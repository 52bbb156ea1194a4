// SPDX-License-Identifier: Apache-2.0
#include <horus/io/watch.hpp>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include <fcntl.h>

#include <horus/io/base/owner_thread.hpp>
#include <horus/io/file/inotify.hpp>
#include <horus/io/offload.hpp>
#include <horus/io/poll.hpp>
#include <horus/io/time.hpp>

namespace horus::HORUS_ABI::io::fs {
namespace {

constexpr const char* kOperation = "watch";
constexpr int kRenameReads = 64;
constexpr std::size_t kMostKept = 4096;  // changes that were read and not yet told
// rename(2) says both names, one right behind the other; only a reader that comes between them waits.
constexpr Duration kPairWait = std::chrono::milliseconds(2);
constexpr std::uint32_t kUsual = IN_CREATE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE | IN_CLOSE_WRITE |
                                 IN_DELETE_SELF | IN_MOVE_SELF | IN_EXCL_UNLINK;
constexpr std::uint32_t kGone = IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT | IN_IGNORED;

std::string without_slashes(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

Error moved_from() { return Error(EBADF, kOperation, "(this Watch was moved from)"); }

Result<int> add_now(System* system, const detail::Inotify* inotify, std::string folder,
                    std::uint32_t events) {
  return inotify->add(*system, folder, events);
}

}  // namespace

const char* to_string(WatchEvent::Kind kind) noexcept {
  using Kind = WatchEvent::Kind;
  switch (kind) {
    case Kind::created: return "created";
    case Kind::moved: return "moved";
    case Kind::removed: return "removed";
    case Kind::written: return "written";
    case Kind::modified: return "modified";
    case Kind::attributes: return "attributes";
    case Kind::gone: return "gone";
    case Kind::overflow: return "overflow";
  }
  return "?";
}

// Shared with the tasks that wait; the Watch's end closes it.
struct Watch::State {
  // A folder that is watched, for itself or for some names in it.
  struct Place {
    std::string folder;
    bool whole = false;
    std::set<std::string> names;
    // The same folder was renamed and added again by its new name, before `gone` of its old one was told.
    std::unique_ptr<Place> renamed;
    [[nodiscard]] bool wants(const std::string& name) const { return whole || names.contains(name); }
  };

  detail::Inotify inotify;
  std::uint32_t events = kUsual;
  std::map<int, Place> places;
  std::deque<detail::Change> changes;  // read and not yet told
  std::int64_t pair_until_ns = 0;      // how long the first of them waits for its other half; 0: it does not
  detail::Change renamed_away;         // the last one that did not wait: its other half may still come
  bool waiting = false;
  bool closed = false;
  detail::OwnerThread owner;

  [[nodiscard]] Error closed_error() const { return Error(ECANCELED, kOperation, "(it was closed)"); }
  void close() noexcept {
    closed = true;
    inotify.release().reset();
  }

  // What the kernel has said: an event when somebody wants to know it.
  std::optional<WatchEvent> take();
  std::optional<Result<WatchEvent>> try_next();
  std::optional<WatchEvent> take_gone(const detail::Change& change);
  [[nodiscard]] bool is_renamed(int watch);
  // The first change is a name that was renamed away.
  enum class Pair : std::uint8_t { here, elsewhere, waits };
  Pair find_pair(std::deque<detail::Change>::iterator& other);
};

std::optional<WatchEvent> Watch::State::take_gone(const detail::Change& change) {
  const auto place = places.find(change.watch);
  if (place == places.end()) return std::nullopt;
  WatchEvent event;
  event.kind = WatchEvent::Kind::gone;
  event.folder = std::move(place->second.folder);
  if ((change.mask & IN_MOVE_SELF) != 0 && place->second.renamed != nullptr) {
    const std::unique_ptr<Place> renamed = std::move(place->second.renamed);
    place->second = std::move(*renamed);
    return event;
  }
  places.erase(place);
  if ((change.mask & IN_MOVE_SELF) != 0) inotify.remove(change.watch);  // it lives on under another name
  return event;
}

// Whether a watched folder has another name by now, which nobody was told.
bool Watch::State::is_renamed(int watch) {
  for (int reads = 0; reads < kRenameReads && changes.size() < kMostKept; ++reads) {
    const auto more = inotify.read(changes);
    if (!more || !*more) break;
  }
  return std::any_of(changes.begin(), changes.end(), [&](const detail::Change& change) {
    return change.watch == watch && (change.mask & IN_MOVE_SELF) != 0;
  });
}

Watch::State::Pair Watch::State::find_pair(std::deque<detail::Change>::iterator& other) {
  const detail::Change& from = changes.front();
  other = std::find_if(changes.begin() + 1, changes.end(), [&](const detail::Change& change) {
    return (change.mask & IN_MOVED_TO) != 0 && change.cookie == from.cookie;
  });
  if (other != changes.end()) return other->watch == from.watch ? Pair::here : Pair::elsewhere;
  // What lies behind it is not its other half; and nobody waits for names of no interest.
  if (changes.size() > 1 || !places.at(from.watch).wants(from.name)) return Pair::elsewhere;
  if (pair_until_ns == 0) pair_until_ns = now_ns() + kPairWait.count();
  return now_ns() < pair_until_ns && changes.size() < kMostKept ? Pair::waits : Pair::elsewhere;
}

std::optional<WatchEvent> Watch::State::take() {
  using Kind = WatchEvent::Kind;
  while (!changes.empty()) {
    WatchEvent event;
    const std::uint32_t mask = changes.front().mask;
    const auto known = places.find(changes.front().watch);
    if ((mask & IN_Q_OVERFLOW) != 0) {
      changes.pop_front();
      return event;
    }
    if (known == places.end()) {  // it was removed
      changes.pop_front();
      continue;
    }
    if ((mask & kGone) != 0) {
      auto gone = take_gone(changes.front());
      changes.pop_front();
      if (gone) return gone;
      continue;
    }
    const Place& place = known->second;
    event.folder = place.folder;
    event.is_folder = (mask & IN_ISDIR) != 0;
    if ((mask & IN_MOVED_FROM) != 0) {
      std::deque<detail::Change>::iterator other;
      const Pair pair = find_pair(other);
      if (pair == Pair::waits) return std::nullopt;
      pair_until_ns = 0;
      event.kind = Kind::removed;
      if (pair != Pair::here) renamed_away = changes.front();
      event.name = std::move(changes.front().name);
      if (pair == Pair::here) {
        if (place.wants(other->name)) {
          event.kind = Kind::moved;
          event.from = std::exchange(event.name, std::move(other->name));
        }
        changes.erase(other);
      }
      changes.pop_front();
    } else {
      event.kind = (mask & IN_CREATE) != 0        ? Kind::created
                   : (mask & IN_MOVED_TO) != 0    ? Kind::moved
                   : (mask & IN_DELETE) != 0      ? Kind::removed
                   : (mask & IN_CLOSE_WRITE) != 0 ? Kind::written
                   : (mask & IN_MODIFY) != 0      ? Kind::modified
                                                  : Kind::attributes;
      if (event.kind == Kind::moved && renamed_away.watch == changes.front().watch &&
          renamed_away.cookie == changes.front().cookie)
        event.from = renamed_away.name;
      event.name = std::move(changes.front().name);
      changes.pop_front();
    }
    if (place.wants(event.name)) return event;
  }
  return std::nullopt;
}

Watch::Watch(std::shared_ptr<State> state) noexcept : state_(std::move(state)) {}

Watch& Watch::operator=(Watch&& other) noexcept {
  if (this != &other) {
    if (state_) state_->close();
    state_ = std::move(other.state_);
  }
  return *this;
}

Watch::~Watch() {
  if (state_) state_->close();
}

Task<Result<>> Watch::add(std::shared_ptr<State> state, std::string path, bool whole) {
  if (state == nullptr) co_return moved_from();
  state->owner.check("fs::Watch");
  if (state->closed) co_return state->closed_error();
  std::string folder = path;
  std::string name;
  if (!whole) {
    const std::size_t slash = path.rfind('/');
    name = slash == std::string::npos ? path : path.substr(slash + 1);
    folder = slash == std::string::npos ? "." : path.substr(0, std::max<std::size_t>(slash, 1));
    if (name.empty() || name == "." || name == "..")
      co_return Error(EINVAL, kOperation, path + " (the name of a file was expected)");
  }
  if (folder.empty()) co_return Error(ENOENT, kOperation, path);
  folder = without_slashes(std::move(folder));
  System& system = System::here();
  Result<int> number = 0;
  if (system.path_may_wait(AT_FDCWD, folder.c_str())) {
    const auto same = state->inotify.duplicate();
    if (!same) co_return same.error();
    auto adding = offload_on(ThreadPool::patient(), &add_now, &system, &*same, folder, state->events);
    number = co_await adding;
    if (state->closed) co_return state->closed_error();
  } else {
    number = state->inotify.add(system, folder, state->events);
  }
  if (!number) co_return number.error();
  State::Place* place = &state->places[*number];
  if (place->folder.empty()) place->folder = folder;
  if (place->folder != folder && state->is_renamed(*number)) {
    if (place->renamed == nullptr) place->renamed = std::make_unique<State::Place>();
    place = place->renamed.get();
    if (place->folder.empty()) place->folder = std::move(folder);
  }
  if (whole) {
    place->whole = true;
  } else {
    place->names.insert(std::move(name));
  }
  co_return Result<>();
}

Task<Result<Watch>> Watch::make(std::string path, bool whole, WatchOptions options) {
  auto inotify = detail::Inotify::open();
  if (!inotify) co_return inotify.error().on(kOperation, path);
  auto state = std::make_shared<State>();
  state->inotify = *std::move(inotify);
  if (options.modifications) state->events |= IN_MODIFY;
  if (options.attributes) state->events |= IN_ATTRIB;
  Watch watch(state);
  auto adding = add(state, std::move(path), whole);
  auto added = co_await adding;
  if (!added) co_return added.error();
  co_return Result<Watch>(std::move(watch));
}

Task<Result<Watch>> Watch::folder(std::string path, WatchOptions options) {
  return make(std::move(path), true, options);
}
Task<Result<Watch>> Watch::file(std::string path, WatchOptions options) {
  return make(std::move(path), false, options);
}
Task<Result<>> Watch::add_folder(std::string path) { return add(state_, std::move(path), true); }
Task<Result<>> Watch::add_file(std::string path) { return add(state_, std::move(path), false); }

// At most one read: what is of no interest may come as fast as it can be read.
std::optional<Result<WatchEvent>> Watch::State::try_next() {
  owner.check("fs::Watch");
  if (closed) return closed_error();
  if (auto event = take()) return Result<WatchEvent>(*std::move(event));
  if (places.empty()) return Error(kEndOfStream, kOperation, "(nothing is watched any more)");
  const auto more = inotify.read(changes);
  if (!more) return more.error();
  if (auto event = take()) return Result<WatchEvent>(*std::move(event));
  return std::nullopt;
}

std::optional<Result<WatchEvent>> Watch::try_next() {
  if (state_ == nullptr) return moved_from();
  return state_->try_next();
}

Task<Result<>> Watch::wait(std::shared_ptr<State> state) {
  if (state == nullptr) co_return moved_from();
  state->owner.check("fs::Watch");
  if (state->closed) co_return state->closed_error();
  if (state->places.empty() || (!state->changes.empty() && state->pair_until_ns == 0)) co_return Result<>();
  if (state->waiting) co_return Error(EBUSY, kOperation, "(another task waits for this watch)");
  struct Turn {
    State& state;
    explicit Turn(State& one) noexcept : state(one) { state.waiting = true; }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    ~Turn() { state.waiting = false; }
  };
  const Turn turn(*state);
  const int fd = state->inotify.fd();
  Result<short> ready = short{0};
  if (state->pair_until_ns != 0) {
    const Duration left(std::max<std::int64_t>(state->pair_until_ns - now_ns(), 0));
    auto waiting = with_timeout(left, wait_readable(fd));
    ready = co_await waiting;
    if (!ready && ready.error().timed_out()) co_return Result<>();
  } else {
    auto waiting = wait_readable(fd);
    ready = co_await waiting;
  }
  if (!ready) co_return ready.error().on(kOperation, {});
  co_return Result<>();
}

Task<Result<WatchEvent>> Watch::next_of(std::shared_ptr<State> state) {
  if (state == nullptr) co_return moved_from();
  while (true) {
    auto event = state->try_next();
    if (event) co_return *std::move(event);
    auto waiting = wait(state);
    const auto ready = co_await waiting;
    if (!ready) co_return ready.error();
  }
}

Task<Result<WatchEvent>> Watch::next() { return next_of(state_); }
Task<Result<>> Watch::ready() { return wait(state_); }

namespace {

Task<Result<>> refuse_close() { co_return Error(EBADF, "close"); }

}  // namespace

Task<Result<>> Watch::close() {
  if (state_ == nullptr) return refuse_close();
  state_->owner.check("fs::Watch");
  if (std::exchange(state_->closed, true)) return refuse_close();
  return io::close(state_->inotify.release());
}

}  // namespace horus::HORUS_ABI::io::fs
