// SPDX-License-Identifier: Apache-2.0
#include <horus/sim/sim_backend.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include <fcntl.h>
#include <sys/socket.h>

#include <horus/sim/datagram.hpp>
#include <horus/sim/stream.hpp>
#include <horus/sim/unix_socket.hpp>

namespace horus::sim::detail {

SimBackend::SimBackend(Engine& engine, Context& context, const io::ReactorConfig& config)
    : KernelHolder(engine, context),
      Interpreter(config.submission_entries, config.completion_entries, KernelHolder::provider),
      engine_(engine),
      context_(context) {}

SimBackend::~SimBackend() {
  context_.left_open(provider.open_descriptors());
  provider.close_all();
}

std::int64_t SimBackend::now_ns() noexcept { return context_.now(); }
void SimBackend::spend(std::string_view node) noexcept { context_.spend_for(node); }

int SimBackend::socket(int domain, int type, int) noexcept {
  if (domain == AF_UNIX) {
    const int kind = type & 0xF;
    if (kind != SOCK_STREAM && kind != SOCK_SEQPACKET && kind != SOCK_DGRAM) return -ESOCKTNOSUPPORT;
    return provider.add(std::make_shared<UnixSocket>(engine_, context_.host(), kind, context_.process().pid));
  }
  if (domain != AF_INET && domain != AF_INET6) return -EAFNOSUPPORT;
  switch (type & 0xF) {
    case SOCK_STREAM: return provider.add(std::make_shared<Stream>(engine_, Object::Kind::socket, domain));
    case SOCK_DGRAM: return provider.add(std::make_shared<DatagramSocket>(engine_, context_.host(), domain));
    default: return -EPROTONOSUPPORT;
  }
}

int SimBackend::bind(int fd, const sockaddr* address, socklen_t size) noexcept {
  Object* object = provider.find(fd);
  return object == nullptr ? -EBADF : object->bind(context_.host(), io::Address::from(address, size));
}
int SimBackend::listen(int fd, int backlog) noexcept {
  Object* object = provider.find(fd);
  return object == nullptr ? -EBADF : object->listen(backlog);
}

int SimBackend::set_option(int fd, int level, int option, const void* value, socklen_t size) noexcept {
  Object* object = provider.find(fd);
  return object == nullptr ? -EBADF : object->set_option(level, option, value, size);
}
int SimBackend::get_option(int fd, int level, int option, void* value, socklen_t* size) noexcept {
  Object* object = provider.find(fd);
  return object == nullptr ? -EBADF : object->get_option(level, option, value, size);
}
int SimBackend::local_address(int fd, sockaddr* address, socklen_t* size) noexcept {
  Object* object = provider.find(fd);
  return object == nullptr ? -EBADF : copy_address(object->local(), address, size);
}
int SimBackend::peer_address(int fd, sockaddr* address, socklen_t* size) noexcept {
  Object* object = provider.find(fd);
  return object == nullptr ? -EBADF : copy_address(object->peer(), address, size);
}

int SimBackend::pipe(int ends[2], int flags) noexcept {
  auto reader = std::make_shared<Stream>(engine_, Object::Kind::stream, AF_UNSPEC);
  auto writer = std::make_shared<Stream>(engine_, Object::Kind::stream, AF_UNSPEC);
  Stream::join(reader, writer);
  reader->set_flags(flags & O_NONBLOCK);
  writer->set_flags(flags & O_NONBLOCK);
  ends[0] = provider.add(reader);
  if (ends[0] < 0) return ends[0];
  ends[1] = provider.add(writer);
  if (ends[1] >= 0) return 0;
  static_cast<void>(provider.close(ends[0]));
  return ends[1];
}
int SimBackend::socket_pair(int ends[2], int, int type) noexcept {
  const int kind = type & 0xF;
  if (kind != SOCK_STREAM && kind != SOCK_SEQPACKET && kind != SOCK_DGRAM) return -ESOCKTNOSUPPORT;
  const pid_t owner = context_.process().pid;
  auto one = std::make_shared<UnixSocket>(engine_, context_.host(), kind, owner);
  auto other = std::make_shared<UnixSocket>(engine_, context_.host(), kind, owner);
  UnixSocket::join(one, other);
  ends[0] = provider.add(one);
  if (ends[0] < 0) return ends[0];
  ends[1] = provider.add(other);
  if (ends[1] >= 0) return 0;
  static_cast<void>(provider.close(ends[0]));
  return ends[1];
}
int SimBackend::event_fd(unsigned initial, int) noexcept {
  return provider.add(std::make_shared<Counter>(engine_, initial));
}
io::Closing SimBackend::closing_of(int fd) noexcept {
  io::DescriptorTraits traits;
  static_cast<void>(provider.classify(fd, traits));
  return traits.kind == io::DescriptorTraits::Kind::file ? io::Closing::entry : io::Closing::at_once;
}
void SimBackend::ring(int event_fd, std::uint64_t count) noexcept {
  Object* object = provider.find(event_fd);
  if (object == nullptr) return;
  iovec part{&count, sizeof count};
  const msghdr message = message_of(&part, 1);
  static_cast<void>(object->send(message, 0));
  provider.wake();  // also when nobody reads it: Reactor::interrupt() of the thread that runs the loop
}
int SimBackend::status_flags(int fd) noexcept {
  Object* object = provider.find(fd);
  return object == nullptr ? -EBADF : object->flags();
}
int SimBackend::duplicate(int fd) noexcept { return provider.duplicate(fd); }
int SimBackend::list_directory(int fd, void* buffer, std::size_t size) noexcept {
  auto* directory = dynamic_cast<OpenFile*>(provider.find(fd));
  if (directory == nullptr) return provider.find(fd) == nullptr ? -EBADF : -ENOTDIR;
  return directory->list(buffer, size);
}
ssize_t SimBackend::read_link(const char* path, char* target, std::size_t size) noexcept {
  return context_.host().disk.read_link(path, target, size);
}
int SimBackend::access(const char* path, int mode) noexcept {
  return context_.host().disk.access(path, mode);
}
int SimBackend::change_mode(const char* path, mode_t mode) noexcept {
  return context_.host().disk.change_mode(path, mode);
}
int SimBackend::truncate(int fd, std::int64_t size) noexcept {
  auto* file = dynamic_cast<OpenFile*>(provider.find(fd));
  if (file == nullptr || size < 0) return provider.find(fd) == nullptr ? -EBADF : -EINVAL;
  if (!file->inode()->is_file()) return -EINVAL;
  file->inode()->data.resize(static_cast<std::uint64_t>(size));
  return 0;
}
void SimBackend::remove_tree(const char* path) noexcept { context_.host().disk.remove_tree(path); }
void SimBackend::random_bytes(void* out, std::size_t size) noexcept {
  auto* bytes = static_cast<unsigned char*>(out);
  for (std::size_t i = 0; i < size; ++i) {
    const std::uint64_t drawn = engine_.random().next();
    bytes[i] = static_cast<unsigned char>(drawn >> 32);
  }
}

// A pool's work runs here, at a time that the seed chooses: what ends first is not what began first.
bool SimBackend::run_job(io::ThreadPool&, io::ThreadPool::Job& job) noexcept {
  jobs_.push_back(&job);
  const Duration taken = engine_.faults().offload.draw(engine_.random());
  context_.after(taken, [this, &job] {
    const auto place = std::find(jobs_.begin(), jobs_.end(), &job);
    if (place == jobs_.end()) return;
    jobs_.erase(place);
    engine_.trace(Trace::offload, context_.number(), jobs_.size());
    context_.enter([&] { job.run(job); });
    context_.wake();
  });
  return true;
}
bool SimBackend::take_job_back(io::ThreadPool&, io::ThreadPool::Job& job) noexcept {
  const auto place = std::find(jobs_.begin(), jobs_.end(), &job);
  if (place == jobs_.end()) return false;
  jobs_.erase(place);
  return true;
}
}  // namespace horus::sim::detail
