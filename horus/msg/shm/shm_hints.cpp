// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/shm/shm_hints.hpp>

#include <algorithm>
#include <utility>

#include <horus/io/poll.hpp>
#include <horus/io/seam/system.hpp>

namespace horus::HORUS_ABI::msg {

// Those of a simulated process live while somebody serves them.
std::shared_ptr<DirectoryHints> DirectoryHints::here() {
  struct All {
    std::shared_ptr<DirectoryHints> kernels = std::make_shared<DirectoryHints>();
    std::mutex mutex;
    std::map<std::uint64_t, std::weak_ptr<DirectoryHints>> of_worlds;
  };
  static auto* all = new All();  // never destroyed: hubs of static objects end later than any static
  const std::uint64_t process = io::System::here().world_process();
  if (process == 0) return all->kernels;
  const std::lock_guard lock(all->mutex);
  auto hints = all->of_worlds[process].lock();
  if (hints != nullptr) return hints;
  std::erase_if(all->of_worlds, [](const auto& one) { return one.second.expired(); });
  hints = std::make_shared<DirectoryHints>();
  all->of_worlds[process] = hints;
  return hints;
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
  if (inotify_ == nullptr) return;
  static_cast<void>(inotify_->add(io::System::here(), directory, IN_MOVED_TO | IN_DELETE | IN_DELETE_SELF));
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

Task<> DirectoryHints::serve(std::shared_ptr<DirectoryHints> self) {
  io::detail::Inotify inotify;
  {
    const std::lock_guard lock(self->mutex_);
    if (self->inotify_ != nullptr) co_return;
    auto opened = io::detail::Inotify::open();
    if (!opened) co_return;  // the user has no more: everybody looks by himself
    inotify = *std::move(opened);
    self->inotify_ = &inotify;
    for (const std::string& directory : self->directories_) self->watch(directory);
  }
  struct Serving {
    DirectoryHints& hints;
    explicit Serving(DirectoryHints& all) noexcept : hints(all) {}
    Serving(const Serving&) = delete;
    Serving& operator=(const Serving&) = delete;
    ~Serving() {
      const std::lock_guard lock(hints.mutex_);
      hints.inotify_ = nullptr;
    }
  };
  const Serving serving(*self);
  while (true) {
    auto ready = co_await io::wait_readable(inotify.fd());
    if (!ready) co_return;
    inotify.drain();
    self->tell_all();
  }
}

}  // namespace horus::HORUS_ABI::msg
