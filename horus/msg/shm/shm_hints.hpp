// SPDX-License-Identifier: Apache-2.0
// Hints that something has changed in a hubs' directory: one inotify instance for the whole process (for each process of a
// simulated world, too), since a user has 128 of them. Only a hint: whoever relies on it looks by itself, too. Any thread. Internal.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include <horus/io/file/inotify.hpp>
#include <horus/io/loop/lookout.hpp>
#include <horus/task/task.hpp>

namespace horus::HORUS_ABI::msg {

class DirectoryHints {
 public:
  /// Of this process.
  static std::shared_ptr<DirectoryHints> here();

  /// `tell` runs on the thread of `waker` when something changed in one of `directories`. It ends with the owner. Calling
  /// it again is how directories that were made meanwhile come under watch.
  void ask(const std::weak_ptr<void>& owner, const std::shared_ptr<io::Waker>& waker,
           const std::vector<std::string>& directories, std::function<void()> tell);
  /// Reads the instance for everybody, until it is cancelled: at once when somebody does so already, or there is none.
  static Task<> serve(std::shared_ptr<DirectoryHints> self);

 private:
  struct Listener {
    std::weak_ptr<void> owner;
    std::shared_ptr<io::Waker> waker;
    std::function<void()> tell;
  };
  void watch(const std::string& directory);
  void tell_all();

  std::mutex mutex_;
  io::detail::Inotify* inotify_ = nullptr;  // while somebody serves
  std::set<std::string> directories_;
  std::vector<Listener> listeners_;
};

}  // namespace horus::HORUS_ABI::msg
