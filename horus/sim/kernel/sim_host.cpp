// SPDX-License-Identifier: Apache-2.0
// The calls of a simulated process on its host that are made on the spot. A process that was killed changes nothing any
// more.
#include <cerrno>
#include <memory>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <horus/sim/engine/process_table.hpp>
#include <horus/sim/files/folder_watch.hpp>
#include <horus/sim/files/memory_file.hpp>
#include <horus/sim/kernel/sim_backend.hpp>

namespace horus::HORUS_ABI::sim::detail {

uid_t SimSystem::user() noexcept { return kUser; }
std::size_t SimSystem::descriptor_limit() noexcept { return SimProvider::kMostDescriptors; }

int SimSystem::make_folder(const char* path, mode_t mode) noexcept {
  if (kernel_.is_cut_off()) return -EIO;
  return context_.host().disk.make_directory(path, mode, context_.now());
}

int SimSystem::status(const char* path, struct stat& status) noexcept {
  if (kernel_.is_cut_off()) return -EIO;
  struct ::statx known{};
  const int result = context_.host().disk.status(nullptr, path, AT_SYMLINK_NOFOLLOW, known);
  if (result < 0) return result;
  status = {};
  status.st_mode = known.stx_mode;
  status.st_ino = known.stx_ino;
  status.st_uid = kUser;
  status.st_size = static_cast<off_t>(known.stx_size);
  status.st_mtim.tv_sec = known.stx_mtime.tv_sec;
  status.st_mtim.tv_nsec = known.stx_mtime.tv_nsec;
  return 0;
}

int SimSystem::rename(const char* from, const char* to) noexcept {
  return kernel_.is_cut_off() ? -EIO : context_.host().disk.rename(from, to, 0);
}

int SimSystem::unlink(const char* path) noexcept {
  return kernel_.is_cut_off() ? -EIO : context_.host().disk.unlink(nullptr, path, 0);
}

int SimSystem::open_folder(const char* path) noexcept {
  if (kernel_.is_cut_off()) return -EIO;
  std::shared_ptr<OpenFile> opened;
  const int result = context_.host().disk.open(engine_, nullptr, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0,
                                               context_.now(), opened);
  return result < 0 ? result : kernel_.add(std::move(opened));
}

int SimSystem::connect(int fd, const sockaddr* to, socklen_t size) noexcept {
  return kernel_.is_cut_off() ? -EIO : kernel_.connect(fd, to, size);
}

ssize_t SimSystem::send(int fd, const void* data, std::size_t size) noexcept {
  return kernel_.send(fd, data, size, MSG_DONTWAIT);
}

ssize_t SimSystem::read(int fd, void* data, std::size_t size) noexcept {
  return kernel_.receive(fd, data, size, MSG_DONTWAIT);
}

int SimSystem::make_watch() noexcept { return kernel_.add(std::make_shared<FolderWatch>(engine_)); }

int SimSystem::watch_folder(int watch, const char* path, std::uint32_t events) noexcept {
  auto* folders = dynamic_cast<FolderWatch*>(kernel_.find(watch));
  if (folders == nullptr) return -EINVAL;
  return kernel_.is_cut_off() ? -EIO : context_.host().disk.watch(*folders, path, events);
}

int SimSystem::unwatch_folder(int watch, int number) noexcept {
  auto* folders = dynamic_cast<FolderWatch*>(kernel_.find(watch));
  return folders == nullptr ? -EINVAL : folders->remove(number);
}

// Its pages are the real kernel's; its descriptor is the world's.
int SimSystem::make_memory(const char* name) noexcept {
  if (!kernel_.has_room()) return -EMFILE;
  const int file = System::make_memory(name);
  return file < 0 ? file : kernel_.add(std::make_shared<MemoryFile>(engine_, file));
}

int SimSystem::kernel_file(int fd) noexcept {
  const auto* memory = dynamic_cast<const MemoryFile*>(kernel_.find(fd));
  return memory != nullptr ? memory->file() : -EBADF;
}

void SimSystem::close(int fd) noexcept { static_cast<void>(ring_->close_descriptor(fd)); }

}  // namespace horus::HORUS_ABI::sim::detail
