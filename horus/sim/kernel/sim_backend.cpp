// SPDX-License-Identifier: Apache-2.0
#include <horus/sim/kernel/sim_backend.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include <fcntl.h>
#include <sys/socket.h>

#include <horus/sim/engine/datagram.hpp>
#include <horus/sim/engine/stream.hpp>
#include <horus/sim/engine/unix_socket.hpp>

namespace horus::HORUS_ABI::sim::detail {

SimRing::SimRing(Engine& engine, Context& context, const io::ReactorConfig& config)
    : KernelHolder(engine, context),
      Interpreter(config.submission_entries, config.completion_entries, KernelHolder::provider),
      context_(context) {}

SimRing::~SimRing() {
  context_.left_open(provider.open_descriptors());
  provider.close_all();
}

SimClock::SimClock(std::shared_ptr<SimRing> ring, Context& context) noexcept
    : Clock({.through_seam = true, .only_asleep = true, .mixes_ready = false}),
      ring_(std::move(ring)),
      context_(context) {}
std::int64_t SimClock::now_ns() noexcept { return context_.now(); }
void SimClock::spend(std::string_view node) noexcept { context_.spend_for(node); }

SimSystem::SimSystem(std::shared_ptr<SimRing> ring, Engine& engine, Context& context) noexcept
    : ring_(std::move(ring)), kernel_(ring_->kernel()), engine_(engine), context_(context) {}

io::Backend sim_backend(std::shared_ptr<SimRing> ring, Engine& engine, Context& context) {
  return {.ring = ring,
          .clock = std::make_shared<SimClock>(ring, context),
          .system = std::make_shared<SimSystem>(ring, engine, context)};
}

int SimSystem::socket(int domain, int type, int) noexcept {
  if (domain == AF_UNIX) {
    const int kind = type & 0xF;
    if (kind != SOCK_STREAM && kind != SOCK_SEQPACKET && kind != SOCK_DGRAM) return -ESOCKTNOSUPPORT;
    return kernel_.add(std::make_shared<UnixSocket>(engine_, context_.host(), kind, context_.process().pid));
  }
  if (domain != AF_INET && domain != AF_INET6) return -EAFNOSUPPORT;
  switch (type & 0xF) {
    case SOCK_STREAM: return kernel_.add(std::make_shared<Stream>(engine_, Object::Kind::socket, domain));
    case SOCK_DGRAM: return kernel_.add(std::make_shared<DatagramSocket>(engine_, context_.host(), domain));
    default: return -EPROTONOSUPPORT;
  }
}

int SimSystem::bind(int fd, const sockaddr* address, socklen_t size) noexcept {
  Object* object = kernel_.find(fd);
  return object == nullptr ? -EBADF : object->bind(context_.host(), io::Address::from(address, size));
}
int SimSystem::listen(int fd, int backlog) noexcept {
  Object* object = kernel_.find(fd);
  return object == nullptr ? -EBADF : object->listen(backlog);
}

int SimSystem::set_option(int fd, int level, int option, const void* value, socklen_t size) noexcept {
  Object* object = kernel_.find(fd);
  return object == nullptr ? -EBADF : object->set_option(level, option, value, size);
}
int SimSystem::get_option(int fd, int level, int option, void* value, socklen_t* size) noexcept {
  Object* object = kernel_.find(fd);
  return object == nullptr ? -EBADF : object->get_option(level, option, value, size);
}
int SimSystem::local_address(int fd, sockaddr* address, socklen_t* size) noexcept {
  Object* object = kernel_.find(fd);
  return object == nullptr ? -EBADF : copy_address(object->local(), address, size);
}
int SimSystem::peer_address(int fd, sockaddr* address, socklen_t* size) noexcept {
  Object* object = kernel_.find(fd);
  return object == nullptr ? -EBADF : copy_address(object->peer(), address, size);
}

int SimSystem::pipe(int ends[2], int flags) noexcept {
  auto reader = std::make_shared<Stream>(engine_, Object::Kind::stream, AF_UNSPEC);
  auto writer = std::make_shared<Stream>(engine_, Object::Kind::stream, AF_UNSPEC);
  Stream::join(reader, writer);
  reader->set_flags(flags & O_NONBLOCK);
  writer->set_flags(flags & O_NONBLOCK);
  ends[0] = kernel_.add(reader);
  if (ends[0] < 0) return ends[0];
  ends[1] = kernel_.add(writer);
  if (ends[1] >= 0) return 0;
  static_cast<void>(kernel_.close(ends[0]));
  return ends[1];
}
int SimSystem::socket_pair(int ends[2], int, int type) noexcept {
  const int kind = type & 0xF;
  if (kind != SOCK_STREAM && kind != SOCK_SEQPACKET && kind != SOCK_DGRAM) return -ESOCKTNOSUPPORT;
  const pid_t owner = context_.process().pid;
  auto one = std::make_shared<UnixSocket>(engine_, context_.host(), kind, owner);
  auto other = std::make_shared<UnixSocket>(engine_, context_.host(), kind, owner);
  UnixSocket::join(one, other);
  ends[0] = kernel_.add(one);
  if (ends[0] < 0) return ends[0];
  ends[1] = kernel_.add(other);
  if (ends[1] >= 0) return 0;
  static_cast<void>(kernel_.close(ends[0]));
  return ends[1];
}
int SimSystem::event_fd(unsigned initial, int) noexcept {
  return kernel_.add(std::make_shared<Counter>(engine_, initial));
}
io::Closing SimSystem::closing_of(int fd) noexcept {
  io::DescriptorTraits traits;
  static_cast<void>(kernel_.classify(fd, traits));
  return traits.kind == io::DescriptorTraits::Kind::file ? io::Closing::entry : io::Closing::at_once;
}
void SimSystem::add_to_event(int event_fd, std::uint64_t count) noexcept {
  Object* object = kernel_.find(event_fd);
  if (object == nullptr) return;
  iovec part{&count, sizeof count};
  const msghdr message = message_of(&part, 1);
  static_cast<void>(object->send(message, 0));
  kernel_.wake();  // also when nobody reads it: Reactor::interrupt() of the thread that runs the loop
}
int SimSystem::status_flags(int fd) noexcept {
  Object* object = kernel_.find(fd);
  return object == nullptr ? -EBADF : object->flags();
}
int SimSystem::duplicate(int fd) noexcept { return kernel_.duplicate(fd); }
int SimSystem::list_directory(int fd, void* buffer, std::size_t size) noexcept {
  auto* directory = dynamic_cast<OpenFile*>(kernel_.find(fd));
  if (directory == nullptr) return kernel_.find(fd) == nullptr ? -EBADF : -ENOTDIR;
  return directory->list(buffer, size);
}
ssize_t SimSystem::read_link(const char* path, char* target, std::size_t size) noexcept {
  return context_.host().disk.read_link(path, target, size);
}
int SimSystem::access(const char* path, int mode) noexcept { return context_.host().disk.access(path, mode); }
int SimSystem::change_mode(const char* path, mode_t mode) noexcept {
  return context_.host().disk.change_mode(path, mode);
}
int SimSystem::truncate(int fd, std::int64_t size) noexcept {
  auto* file = dynamic_cast<OpenFile*>(kernel_.find(fd));
  if (file == nullptr || size < 0) return kernel_.find(fd) == nullptr ? -EBADF : -EINVAL;
  if (!file->inode()->is_file()) return -EINVAL;
  FileSystem::truncate(*file->inode(), static_cast<std::uint64_t>(size));
  return 0;
}
void SimSystem::remove_tree(const char* path) noexcept { context_.host().disk.remove_tree(path); }
void SimSystem::random_bytes(void* out, std::size_t size) noexcept {
  auto* bytes = static_cast<unsigned char*>(out);
  for (std::size_t i = 0; i < size; ++i) {
    const std::uint64_t drawn = engine_.random().next();
    bytes[i] = static_cast<unsigned char>(drawn >> 32);
  }
}

// A pool's work runs here, at a time that the seed chooses: what ends first is not what began first.
bool SimSystem::run_job(io::ThreadPool&, io::ThreadPool::Job& job) noexcept {
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
bool SimSystem::take_job_back(io::ThreadPool&, io::ThreadPool::Job& job) noexcept {
  const auto place = std::find(jobs_.begin(), jobs_.end(), &job);
  if (place == jobs_.end()) return false;
  jobs_.erase(place);
  return true;
}
}  // namespace horus::HORUS_ABI::sim::detail
