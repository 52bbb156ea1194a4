// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/shm_hints.hpp>

#include <algorithm>
#include <array>
#include <utility>

#include <sys/inotify.h>
#include <unistd.h>

#include <horus/base/above_standard.hpp>
#include <horus/io/poll.hpp>

namespace horus::msg {

DirectoryHints& DirectoryHints::here() {
  static auto* hints =
      new DirectoryHints();  // never destroyed: hubs of static objects end later than any static
  return *hints;
}

void DirectoryHints::ask(const std::weak_ptr<void>& owner, const std::shared_ptr<io::Waker>& waker,
                         const std::vector<std::string>& directories, std::function<void()> tell) {
  const std::lock_guard lock(mutex_);
  for (const std::string& directory : directories) {
    directories_.insert(directory);
    watch(directory);
  }
  std::erase_if(listeners_, [&](const Listener& one) {
    return one.owner.expired() || (!one.owner.owner_before(owner) && !owner.owner_before(one.owner));
  });
  listeners_.push_back({owner, waker, std::move(tell)});
}

// A directory that was made anew needs a watch of its own; one that is watched already keeps the one it has.
void DirectoryHints::watch(const std::string& directory) {
  if (instance_ < 0) return;
  static_cast<void>(::inotify_add_watch(instance_, directory.c_str(),
                                        IN_MOVED_TO | IN_DELETE | IN_DELETE_SELF | IN_ONLYDIR));
}

void DirectoryHints::tell_all() {
  std::vector<Listener> all;
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(listeners_, [](const Listener& one) { return one.owner.expired(); });
    all = listeners_;
  }
  for (Listener& one : all) {
    one.waker->hand_over([owner = one.owner, tell = std::move(one.tell)] {
      if (const auto alive = owner.lock()) tell();
    });
  }
}

Task<> DirectoryHints::serve() {
  DirectoryHints& self = here();
  io::Descriptor instance;
  {
    const std::lock_guard lock(self.mutex_);
    if (self.instance_ >= 0) co_return;
    instance = io::Descriptor(above_standard(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)));
    if (!instance) co_return;  // the user has no more: everybody looks by himself
    self.instance_ = instance.get();
    for (const std::string& directory : self.directories_) self.watch(directory);
  }
  struct Serving {
    DirectoryHints& hints;
    explicit Serving(DirectoryHints& all) noexcept : hints(all) {}
    Serving(const Serving&) = delete;
    Serving& operator=(const Serving&) = delete;
    ~Serving() {
      const std::lock_guard lock(hints.mutex_);
      hints.instance_ = -1;
    }
  };
  const Serving serving(self);
  while (true) {
    auto ready = co_await io::wait_readable(instance.get());
    if (!ready) co_return;
    alignas(inotify_event) std::array<char, 4096> events;
    while (::read(instance.get(), events.data(), events.size()) > 0) {
    }
    self.tell_all();
  }
}

}  // namespace horus::msg
