// SPDX-License-Identifier: Apache-2.0
#include <horus/sim/files/folder_watch.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <sys/epoll.h>
#include <sys/inotify.h>

namespace horus::HORUS_ABI::sim::detail {
namespace {

constexpr std::size_t kMostEvents = 16384;  // fs.inotify.max_queued_events

}  // namespace

std::uint32_t FolderWatch::ready() const noexcept { return events_.empty() ? 0U : EPOLLIN; }

ssize_t FolderWatch::receive(msghdr& message, int) {
  if (events_.empty()) return -EAGAIN;
  const std::size_t room = size_of(message);
  std::string data;
  while (!events_.empty() && data.size() + events_.front().size() <= room) {
    data += events_.front();
    events_.pop_front();
  }
  if (data.empty()) return -EINVAL;
  return static_cast<ssize_t>(scatter(data, message));
}

int FolderWatch::add(Inode& folder, std::uint32_t events) {
  const auto known = std::find_if(watched_.begin(), watched_.end(),
                                  [&](const Watched& one) { return one.inode == folder.number; });
  if (known != watched_.end()) {
    known->events = events;
    return known->number;
  }
  std::erase_if(folder.watches, [](const auto& other) { return other.expired(); });
  folder.watches.push_back(std::static_pointer_cast<FolderWatch>(shared_from_this()));
  watched_.push_back({folder.number, ++last_number_, events});
  return last_number_;
}

int FolderWatch::remove(int number) {
  if (std::erase_if(watched_, [&](const Watched& one) { return one.number == number; }) == 0) return -EINVAL;
  put(number, IN_IGNORED, {}, 0);
  return 0;
}

void FolderWatch::happened(const Inode& folder, std::uint32_t event, std::string_view name,
                           std::uint32_t cookie) {
  const auto known = std::find_if(watched_.begin(), watched_.end(),
                                  [&](const Watched& one) { return one.inode == folder.number; });
  if (known == watched_.end()) return;
  const int number = known->number;
  if ((known->events & event & IN_ALL_EVENTS) != 0) put(number, event, name, cookie);
  if (event != IN_DELETE_SELF) return;
  watched_.erase(known);
  put(number, IN_IGNORED, {}, 0);
}

// One that repeats the last one that nobody has read is left out.
void FolderWatch::put(int number, std::uint32_t event, std::string_view name, std::uint32_t cookie) {
  if (events_.size() > kMostEvents) return;
  inotify_event head{};
  head.wd = events_.size() < kMostEvents ? number : -1;
  head.mask = events_.size() < kMostEvents ? event : static_cast<std::uint32_t>(IN_Q_OVERFLOW);
  if (head.wd < 0) name = {};
  head.cookie = head.wd < 0 ? 0 : cookie;
  head.len =
      static_cast<std::uint32_t>(name.empty() ? 0 : (name.size() + sizeof head) / sizeof head * sizeof head);
  std::string one(sizeof head + head.len, '\0');
  std::memcpy(one.data(), &head, sizeof head);
  name.copy(one.data() + sizeof head, name.size());
  if (!events_.empty() && events_.back() == one) return;
  events_.push_back(std::move(one));
  changed();
}

}  // namespace horus::HORUS_ABI::sim::detail
