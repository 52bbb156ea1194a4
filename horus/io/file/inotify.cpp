// SPDX-License-Identifier: Apache-2.0
#include <horus/io/file/inotify.hpp>

#include <array>
#include <cerrno>
#include <cstring>

namespace horus::HORUS_ABI::io::detail {
namespace {

constexpr const char* kOperation = "watch";
constexpr int kDrainReads = 64;  // more than the kernel keeps unless told otherwise (16384 events)

// EMFILE means one of two limits.
Error too_many(System& system) {
  Error error(EMFILE, kOperation);
  const int another = system.event_fd(0, 0);
  if (another < 0) return error;
  system.close(another);
  return error.with_detail(
      "(this user has as many inotify instances as fs.inotify.max_user_instances allows: watch several "
      "folders with one Watch, or raise it with sysctl)");
}

}  // namespace

bool parse_changes(Bytes bytes, std::deque<Change>& changes) {
  const std::byte* at = bytes.data();
  std::size_t left = bytes.size();
  while (left > 0) {
    inotify_event head;
    if (left < sizeof head) return false;
    std::memcpy(&head, at, sizeof head);
    if (head.len > left - sizeof head) return false;
    const auto* name = reinterpret_cast<const char*>(at) + sizeof head;
    changes.push_back({head.wd, head.mask, head.cookie, std::string(name, ::strnlen(name, head.len))});
    at += sizeof head + head.len;
    left -= sizeof head + head.len;
  }
  return true;
}

Result<Inotify> Inotify::open() {
  System& system = System::here();
  const int fd = system.make_watch();
  if (fd == -EMFILE) return too_many(system);
  if (fd < 0) return Error(-fd, kOperation);
  return Inotify(Descriptor(fd));
}

Result<int> Inotify::add(System& system, const std::string& folder, std::uint32_t events) const {
  const int number = system.watch_folder(descriptor_.get(), folder.c_str(), events);
  if (number >= 0) return number;
  const Error error(-number, kOperation, folder);
  if (number != -ENOSPC) return error;
  return error.with_detail(
      "(this user watches as many folders as fs.inotify.max_user_watches allows: watch fewer, or raise it "
      "with sysctl)");
}

Result<Inotify> Inotify::duplicate() const {
  const int fd = System::here().duplicate(descriptor_.get());
  if (fd < 0) return Error(-fd, kOperation);
  return Inotify(Descriptor(fd));
}

void Inotify::remove(int number) const noexcept {
  static_cast<void>(System::here().unwatch_folder(descriptor_.get(), number));  // EINVAL: it is gone already
}

Result<bool> Inotify::read(std::deque<Change>& changes) const {
  alignas(inotify_event) std::array<std::byte, kReadBytes> bytes;
  const ssize_t size = System::here().read(descriptor_.get(), bytes.data(), bytes.size());
  if (size == -EAGAIN || size == -EINTR) return false;
  if (size < 0) return Error(static_cast<int>(-size), kOperation);
  if (!parse_changes(Bytes(bytes.data(), static_cast<std::size_t>(size)), changes))
    return Error(EIO, kOperation, "(the kernel gave something that is no inotify event)");
  return size > 0;
}

void Inotify::drain() const noexcept {
  std::array<std::byte, kReadBytes> bytes;
  for (int i = 0; i < kDrainReads; ++i) {
    if (System::here().read(descriptor_.get(), bytes.data(), bytes.size()) <= 0) return;
  }
}

}  // namespace horus::HORUS_ABI::io::detail
