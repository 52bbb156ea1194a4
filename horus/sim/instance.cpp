// SPDX-License-Identifier: Apache-2.0
#include <horus/sim/instance.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/epoll.h>

#include <horus/base/assert.hpp>

namespace horus::sim::detail {
namespace {

constexpr int kMostDescriptors = 1024;  // RLIMIT_NOFILE as most systems set it
constexpr std::int64_t kRetryTick_ns = 1'000'000;

msghdr message_of(iovec* parts, std::size_t count) noexcept {
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = count;
  return message;
}

int copy_address(const io::Address* from, sockaddr* to, socklen_t* size) noexcept {
  if (from == nullptr) return -ENOTCONN;
  std::memcpy(to, from->data(), std::min(*size, from->size()));
  *size = from->size();
  return 0;
}

}  // namespace

// --- SimProvider: descriptors -----------------------------------------------------------------------------------------

int SimProvider::add(std::shared_ptr<Object> object) {
  if (cut_off_) return -EIO;
  std::size_t fd = 3;
  while (fd < table_.size() && table_[fd].object) ++fd;
  if (fd >= kMostDescriptors) return -EMFILE;
  if (fd >= table_.size()) table_.resize(fd + 1);
  Entry& entry = table_[fd];
  entry.watched = 0;
  entry.object = std::move(object);
  entry.object->opened_as(*this, static_cast<int>(fd));
  ++open_;
  return static_cast<int>(fd);
}

int SimProvider::duplicate(int fd) {
  if (find(fd) == nullptr) return -EBADF;
  return add(table_[static_cast<std::size_t>(fd)].object);
}

Object* SimProvider::find(int fd) noexcept {
  if (fd < 0 || static_cast<std::size_t>(fd) >= table_.size()) return nullptr;
  return table_[static_cast<std::size_t>(fd)].object.get();
}

int SimProvider::close(int fd) noexcept {
  if (find(fd) == nullptr) return -EBADF;
  Entry& entry = table_[static_cast<std::size_t>(fd)];
  const auto object = std::move(entry.object);
  entry.object.reset();
  entry.watched = 0;
  ++entry.generation;
  --open_;
  object->closed_as(*this, fd);
  return 0;
}

void SimProvider::close_all() noexcept {
  for (std::size_t fd = 0; fd < table_.size(); ++fd) {
    if (table_[fd].object) static_cast<void>(close(static_cast<int>(fd)));
  }
}

void SimProvider::touch(int fd) noexcept {
  Entry& entry = table_[static_cast<std::size_t>(fd)];
  if (entry.watched == 0 || entry.candidate) return;
  entry.candidate = true;
  candidates_.push_back(fd);
  context_.wake();
}

std::uint32_t SimProvider::generation(int fd) noexcept {
  return fd >= 0 && static_cast<std::size_t>(fd) < table_.size()
             ? table_[static_cast<std::size_t>(fd)].generation
             : 0;
}

int SimProvider::watch(int fd, std::uint32_t, std::uint32_t after) noexcept {
  if (find(fd) == nullptr) return -EBADF;
  table_[static_cast<std::size_t>(fd)].watched = after;
  touch(fd);
  return 0;
}

int SimProvider::classify(int fd, io::DescriptorTraits& traits) noexcept {
  Object* object = find(fd);
  if (object == nullptr) return -EBADF;
  traits.kind = object->kind();
  return 0;
}

// --- SimProvider: attempts --------------------------------------------------------------------------------------------

std::size_t SimProvider::shortened(std::size_t size) noexcept {
  const unsigned rate = engine_.faults().short_transfer;
  if (rate == 0 || size < 2) return size;
  if (!engine_.fault_random().chance(rate, 1000)) return size;
  const std::uint64_t part = engine_.fault_random().below(size - 1);
  return static_cast<std::size_t>(part) + 1;
}

ssize_t SimProvider::moved(const char* what, int fd, ssize_t result) noexcept {
  std::uint64_t detail = static_cast<std::uint64_t>(fd) << 32;
  detail ^= static_cast<std::uint32_t>(result);
  engine_.trace(Trace::attempt, context_.number() << 8 | static_cast<unsigned char>(what[0]), detail);
  return result;
}

ssize_t SimProvider::receive(int fd, void* data, std::size_t size, int flags) noexcept {
  Object* object = find(fd);
  if (object == nullptr) return -EBADF;
  const bool stream = dynamic_cast<Stream*>(object) != nullptr;
  iovec part{data, stream ? shortened(size) : size};
  msghdr message = message_of(&part, 1);
  return moved("receive", fd, object->receive(message, flags));
}

ssize_t SimProvider::send(int fd, const void* data, std::size_t size, int flags) noexcept {
  Object* object = find(fd);
  if (object == nullptr) return -EBADF;
  const bool stream = dynamic_cast<Stream*>(object) != nullptr;
  iovec part{const_cast<void*>(data), stream ? shortened(size) : size};
  const msghdr message = message_of(&part, 1);
  return moved("send", fd, object->send(message, flags));
}

ssize_t SimProvider::receive_message(int fd, msghdr& message, int flags) noexcept {
  Object* object = find(fd);
  if (object == nullptr) return -EBADF;
  return moved("receive", fd, object->receive(message, flags));
}

ssize_t SimProvider::send_message(int fd, const msghdr& message, int flags) noexcept {
  Object* object = find(fd);
  if (object == nullptr) return -EBADF;
  return moved("send", fd, object->send(message, flags));
}

ssize_t SimProvider::read(int fd, const iovec* parts, int count, std::int64_t,
                          io::DescriptorTraits&) noexcept {
  Object* object = find(fd);
  if (object == nullptr) return -EBADF;
  if (object->kind() == Object::Kind::file) return -EAGAIN;  // a thread's work
  if (count == 1) {
    const bool counter = object->kind() == Object::Kind::counter;
    iovec part{parts->iov_base, counter ? parts->iov_len : shortened(parts->iov_len)};
    msghdr message = message_of(&part, 1);
    return moved("read", fd, object->receive(message, 0));
  }
  msghdr message = message_of(const_cast<iovec*>(parts), static_cast<std::size_t>(count));
  return moved("read", fd, object->receive(message, 0));
}

ssize_t SimProvider::write(int fd, const iovec* parts, int count, std::int64_t,
                           io::DescriptorTraits&) noexcept {
  Object* object = find(fd);
  if (object == nullptr) return -EBADF;
  if (object->kind() == Object::Kind::file) return -EAGAIN;  // a thread's work
  if (count == 1) {
    const bool counter = object->kind() == Object::Kind::counter;
    iovec part{parts->iov_base, counter ? parts->iov_len : shortened(parts->iov_len)};
    const msghdr message = message_of(&part, 1);
    return moved("write", fd, object->send(message, 0));
  }
  const msghdr message = message_of(const_cast<iovec*>(parts), static_cast<std::size_t>(count));
  return moved("write", fd, object->send(message, 0));
}

int SimProvider::accept(int fd, sockaddr* address, socklen_t* size, int,
                        const io::DescriptorTraits&) noexcept {
  Object* listener = find(fd);
  if (listener == nullptr) return -EBADF;
  int error = 0;
  auto connection = listener->accept(error);
  if (!connection) return static_cast<int>(moved("accept", fd, error));
  if (address != nullptr && size != nullptr)
    static_cast<void>(copy_address(connection->peer(), address, size));
  const int accepted = add(connection);
  if (accepted < 0) connection->closed();
  return static_cast<int>(moved("accept", fd, accepted));
}

int SimProvider::connect(int fd, const sockaddr* address, socklen_t size) noexcept {
  Object* object = find(fd);
  if (object == nullptr) return -EBADF;
  const int result = object->connect(context_.host(), io::Address::from(address, size));
  return static_cast<int>(moved("connect", fd, result));
}

int SimProvider::connect_result(int fd) noexcept {
  Object* object = find(fd);
  if (object == nullptr) return -EBADF;
  return static_cast<int>(moved("connected", fd, object->connect_result()));
}

int SimProvider::poll(int fd, std::uint32_t events) noexcept {
  Object* object = find(fd);
  if (object == nullptr) return -EBADF;
  return static_cast<int>(object->ready() & (events | EPOLLERR | EPOLLHUP));
}

int SimProvider::shutdown(int fd, int how) noexcept {
  Object* object = find(fd);
  if (object == nullptr) return -EBADF;
  return static_cast<int>(moved("shutdown", fd, object->shutdown(how)));
}

// --- SimProvider: waiting ---------------------------------------------------------------------------------------------

// Never waits: virtual time passes between two turns, and the seam lets an enter return early with nothing.
int SimProvider::wait(Readiness* ready, int limit, std::int64_t deadline_ns) noexcept {
  if (draining_ && deadline_ns != 0) {
    for (io::BlockingOperation* operation : std::exchange(started_, {})) finish(*operation);
    if (candidates_.empty() && finished_.empty() && deadline_ns != kNever)
      context_.spend(Duration(std::max<std::int64_t>(deadline_ns - context_.now(), 0)));
  }
  if (alone_ && deadline_ns != 0) {
    while (candidates_.empty() && finished_.empty()) {
      const std::int64_t next = std::min(engine_.next_event(), deadline_ns);
      HORUS_ASSERT(next != kNever, "a deadlock in the simulated world: nothing can ever happen again");
      engine_.advance(std::max(next, engine_.now()));
      if (next == deadline_ns) break;
    }
  }
  const unsigned early = engine_.faults().early_return;
  if (early > 0 && !draining_ && engine_.fault_random().chance(early, 1000)) {
    context_.wake();
    return engine_.fault_random().chance(1, 2) ? -EINTR : 0;
  }
  int found = 0;
  auto candidates = std::exchange(candidates_, {});
  // Who comes first is the seed's choice.
  for (std::size_t i = candidates.size(); i > 1; --i) {
    const std::uint64_t other = engine_.random().below(i);
    std::swap(candidates[i - 1], candidates[static_cast<std::size_t>(other)]);
  }
  for (const int fd : candidates) {
    Entry& entry = table_[static_cast<std::size_t>(fd)];
    entry.candidate = false;
    if (!entry.object || entry.watched == 0) continue;
    const std::uint32_t events = entry.object->ready() & (entry.watched | EPOLLERR | EPOLLHUP);
    if (events == 0) continue;
    if (found < limit) ready[found++] = {fd, events};
    touch(fd);  // level-triggered: it stays a candidate until a look finds it idle
  }
  return found;
}

void SimProvider::tick(bool on) noexcept {
  ticking_ = on;
  if (!on) return;
  context_.after(Duration(kRetryTick_ns), [this, number = ++retry_ticks_] {
    if (!ticking_ || number != retry_ticks_) return;
    context_.wake();
    tick(true);
  });
}

bool SimProvider::start(io::BlockingOperation& operation) noexcept {
  finished_.expect();
  started_.push_back(&operation);
  const Duration taken = engine_.faults().disk.draw(engine_.random());
  context_.after(taken, [this, &operation] {
    const auto place = std::find(started_.begin(), started_.end(), &operation);
    if (place == started_.end()) return;
    started_.erase(place);
    finish(operation);
  });
  return true;
}

void SimProvider::finish(io::BlockingOperation& operation) noexcept {
  operation.result = perform(operation.entry);
  finished_.push(operation);
  finished_.let_go();
  context_.wake();
}

bool SimProvider::cancel(io::BlockingOperation& operation) noexcept {
  const auto place = std::find(started_.begin(), started_.end(), &operation);
  if (place == started_.end()) return false;
  started_.erase(place);
  finished_.let_go();
  return true;
}

// --- SimProvider: files ------------------------------------------------------------------------------------------------

namespace {

const char* path_of(std::uint64_t address) noexcept { return reinterpret_cast<const char*>(address); }

std::shared_ptr<Inode> directory_of(SimProvider& kernel, int fd) {
  const auto* file = dynamic_cast<OpenFile*>(kernel.find(fd));
  return file == nullptr ? nullptr : file->inode();
}

}  // namespace

// Whether a small fault that comes `rate` times per thousand comes now.
bool SimProvider::unlucky(unsigned rate) noexcept {
  return rate > 0 && engine_.fault_random().chance(rate, 1000);
}

ssize_t SimProvider::transfer(const io_uring_sqe& entry, const iovec* parts, std::size_t count,
                              bool writing) {
  auto* file = dynamic_cast<OpenFile*>(find(entry.fd));
  if (file == nullptr) return find(entry.fd) == nullptr ? -EBADF : -EINVAL;
  if (unlucky(engine_.faults().disk_error)) {
    engine_.fault("EIO of a " + std::string(writing ? "write" : "read"));
    return -EIO;
  }
  if (writing && unlucky(engine_.faults().disk_full)) {
    engine_.fault("ENOSPC of a write");
    return -ENOSPC;
  }
  const auto offset = static_cast<std::int64_t>(entry.off);
  iovec single{};
  if (count == 1) {
    single = {parts->iov_base, shortened(parts->iov_len)};
    parts = &single;
  }
  return writing ? file->write_at(parts, count, offset, context_.now()) : file->read_at(parts, count, offset);
}

int SimProvider::open(const io_uring_sqe& entry) {
  std::shared_ptr<OpenFile> file;
  const int result =
      context_.host().disk.open(engine_, directory_of(*this, entry.fd), path_of(entry.addr),
                                static_cast<int>(entry.open_flags), entry.len, context_.now(), file);
  return result < 0 ? result : add(std::move(file));
}

std::int32_t SimProvider::perform(const io_uring_sqe& entry) {
  if (cut_off_) return -EIO;
  FileSystem& disk = context_.host().disk;
  const std::int64_t now = context_.now();
  ssize_t result = -EINVAL;
  switch (entry.opcode) {
    case IORING_OP_READ:
    case IORING_OP_READ_FIXED:
    case IORING_OP_WRITE:
    case IORING_OP_WRITE_FIXED: {
      const iovec part{reinterpret_cast<void*>(entry.addr), entry.len};
      const bool writing = entry.opcode == IORING_OP_WRITE || entry.opcode == IORING_OP_WRITE_FIXED;
      result = transfer(entry, &part, 1, writing);
      break;
    }
    case IORING_OP_READV:
    case IORING_OP_WRITEV:
      result = transfer(entry, reinterpret_cast<const iovec*>(entry.addr), entry.len,
                        entry.opcode == IORING_OP_WRITEV);
      break;
    case IORING_OP_OPENAT: result = open(entry); break;
    case IORING_OP_STATX: {
      const auto directory = directory_of(*this, entry.fd);
      const bool itself = *path_of(entry.addr) == '\0';
      if (itself && !directory) {
        result = -EBADF;
      } else {
        result = disk.status(directory, path_of(entry.addr), static_cast<int>(entry.statx_flags),
                             *reinterpret_cast<struct ::statx*>(entry.off));
      }
      break;
    }
    case IORING_OP_FSYNC: {
      const auto inode = directory_of(*this, entry.fd);
      if (inode && unlucky(engine_.faults().disk_error)) {
        engine_.fault("EIO of an fsync");
        result = -EIO;
        break;
      }
      if (inode) FileSystem::sync(*inode);
      result = inode ? 0 : -EINVAL;
      break;
    }
    case IORING_OP_FALLOCATE: {
      const auto inode = directory_of(*this, entry.fd);
      if (inode && entry.len == 0 && inode->data.size() < entry.off + entry.addr)
        inode->data.resize(entry.off + entry.addr);
      result = inode ? 0 : -EBADF;
      break;
    }
    case IORING_OP_UNLINKAT:
      result = disk.unlink(directory_of(*this, entry.fd), path_of(entry.addr),
                           static_cast<int>(entry.unlink_flags));
      break;
    case IORING_OP_RENAMEAT:
      result = disk.rename(path_of(entry.addr), path_of(entry.addr2), entry.rename_flags);
      break;
    case IORING_OP_MKDIRAT: result = disk.make_directory(path_of(entry.addr), entry.len, now); break;
    case IORING_OP_SYMLINKAT:
      result = disk.make_symbolic_link(path_of(entry.addr), path_of(entry.addr2), now);
      break;
    case IORING_OP_LINKAT: result = disk.make_link(path_of(entry.addr), path_of(entry.addr2)); break;
    case IORING_OP_CLOSE: result = close(entry.fd); break;
    default: break;
  }
  return static_cast<std::int32_t>(moved("file", entry.fd, result));
}

// --- SimBackend -------------------------------------------------------------------------------------------------------

SimBackend::SimBackend(Engine& engine, Context& context, const io::ReactorConfig& config)
    : KernelHolder(engine, context),
      Interpreter(config.submission_entries, config.completion_entries, KernelHolder::provider),
      engine_(engine),
      context_(context) {}

SimBackend::~SimBackend() { context_.left_open(provider.open_descriptors()); }

std::int64_t SimBackend::now_ns() noexcept { return context_.now(); }
void SimBackend::spend(std::string_view node) noexcept { context_.spend_for(node); }

int SimBackend::socket(int domain, int type, int) noexcept {
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

// Options change nothing that is simulated, except the room of a stream and whom a listener hears.
int SimBackend::set_option(int fd, int level, int option, const void* value, socklen_t size) noexcept {
  Object* object = provider.find(fd);
  if (object == nullptr) return -EBADF;
  auto* stream = dynamic_cast<Stream*>(object);
  if (level == IPPROTO_IPV6 && option == IPV6_V6ONLY && stream != nullptr && size >= sizeof(int)) {
    int only = 0;
    std::memcpy(&only, value, sizeof only);
    stream->set_only_v6(only != 0);
  }
  if (level == SOL_SOCKET && option == SO_RCVBUF && stream != nullptr && size >= sizeof(int)) {
    int bytes = 0;
    std::memcpy(&bytes, value, sizeof bytes);
    if (bytes > 0) stream->set_capacity(static_cast<std::size_t>(bytes));
  }
  return 0;
}
int SimBackend::get_option(int fd, int level, int option, void* value, socklen_t* size) noexcept {
  Object* object = provider.find(fd);
  if (object == nullptr) return -EBADF;
  if (*size < sizeof(int)) return -EINVAL;
  int answer = 0;
  if (level == SOL_SOCKET && option == SO_ERROR) answer = -std::min(object->connect_result(), 0);
  if (level == SOL_SOCKET && option == SO_TYPE)
    answer = dynamic_cast<DatagramSocket*>(object) != nullptr ? SOCK_DGRAM : SOCK_STREAM;
  std::memcpy(value, &answer, sizeof answer);
  *size = sizeof answer;
  return 0;
}
int SimBackend::local_address(int fd, sockaddr* address, socklen_t* size) noexcept {
  Object* object = provider.find(fd);
  return object == nullptr ? -EBADF : copy_address(object->local(), address, size);
}
int SimBackend::peer_address(int fd, sockaddr* address, socklen_t* size) noexcept {
  Object* object = provider.find(fd);
  return object == nullptr ? -EBADF : copy_address(object->peer(), address, size);
}

int SimBackend::pipe(int ends[2], int) noexcept {
  auto reader = std::make_shared<Stream>(engine_, Object::Kind::stream, AF_UNSPEC);
  auto writer = std::make_shared<Stream>(engine_, Object::Kind::stream, AF_UNSPEC);
  Stream::join(reader, writer);
  ends[0] = provider.add(reader);
  if (ends[0] < 0) return ends[0];
  ends[1] = provider.add(writer);
  if (ends[1] >= 0) return 0;
  static_cast<void>(provider.close(ends[0]));
  return ends[1];
}
int SimBackend::socket_pair(int ends[2], int, int type) noexcept {
  if ((type & 0xF) != SOCK_STREAM) return -EPROTONOSUPPORT;
  auto one = std::make_shared<Stream>(engine_, Object::Kind::socket, AF_UNIX);
  auto other = std::make_shared<Stream>(engine_, Object::Kind::socket, AF_UNIX);
  Stream::join(one, other);
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
int SimBackend::close_descriptor(int fd) noexcept { return provider.close(fd); }
void SimBackend::ring(int event_fd, std::uint64_t count) noexcept {
  Object* object = provider.find(event_fd);
  if (object == nullptr) return;
  iovec part{&count, sizeof count};
  const msghdr message = message_of(&part, 1);
  static_cast<void>(object->send(message, 0));
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
int SimBackend::access(const char* path, int) noexcept { return context_.host().disk.access(path); }
int SimBackend::change_mode(const char* path, mode_t mode) noexcept {
  return context_.host().disk.change_mode(path, mode);
}
int SimBackend::truncate(int fd, std::int64_t size) noexcept {
  auto* file = dynamic_cast<OpenFile*>(provider.find(fd));
  if (file == nullptr || size < 0) return provider.find(fd) == nullptr ? -EBADF : -EINVAL;
  file->inode()->data.resize(static_cast<std::size_t>(size));
  return 0;
}
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

// --- Instance ---------------------------------------------------------------------------------------------------------

Instance::Instance(Engine& engine, std::uint64_t number, std::string name, Host& host,
                   const std::map<std::string, Distribution, std::less<>>& costs)
    : Context(engine, number, host, costs), name_(std::move(name)) {
  io::ReactorConfig config;
  config.submission_entries = 64;
  config.completion_entries = 256;
  auto backend = std::make_unique<SimBackend>(engine, *this, config);
  backend_ = backend.get();
  const io::CurrentReactor nobody(nullptr);
  reactor_ = std::make_unique<io::Reactor>(std::move(backend), config);
}

void Instance::start(const std::function<Task<int>()>& main) {
  as_current([&] {
    scope_ = std::make_unique<Scope>(name_);
    main_ = scope_->spawn(main(), name_);
  });
  wake();
}

bool Instance::has_work() noexcept {
  return state_ != State::ended && (woken_ || reactor_->has_work() || kernel().has_candidates());
}

std::int64_t Instance::wake_time() noexcept {
  if (state_ == State::ended) return kNever;
  const std::int64_t deadline = reactor_->next_deadline();
  return deadline == kNever ? kNever : std::max(deadline, busy_until_);
}

void Instance::turn() {
  if (state_ == State::ended) return;
  woken_ = false;
  as_current([&] {
    const std::size_t resumed = reactor_->run_once();
    if (resumed > 0) spend(engine_.faults().turn_cost);
    engine_.trace(Trace::turn, number_, resumed);
  });
  if (main_.done() && state_ != State::ended) {
    if (scope_->running() == 0) {
      end();
    } else {
      as_current([&] { scope_->cancel(); });
    }
  }
}

void Instance::ask_to_stop() {
  if (state_ != State::running) return;
  state_ = State::stopping;
  as_current([&] { scope_->cancel(); });
  wake();
}

void Instance::kill() {
  if (state_ == State::ended) return;
  killed_ = true;
  kernel().cut_off();
  kernel().close_all();
  state_ = State::running;
  ask_to_stop();
}

void Instance::end() {
  as_current([&] {
    try {
      exit_code_ = main_.take();
    } catch (const std::exception& error) {
      failure_ = error.what();
      exit_code_ = 1;
    }
    scope_.reset();
  });
  kernel().drain();
  {
    const io::CurrentReactor entered(reactor_.get());
    reactor_.reset();
  }
  backend_ = nullptr;
  alive_.reset();
  state_ = State::ended;
  engine_.trace(Trace::ended, number_, static_cast<std::uint32_t>(exit_code_));
}

Instance::~Instance() = default;

void Context::after(Duration delay, std::function<void()> action) {
  engine_.at(saturating_add(now(), delay.count()),
             [alive = std::weak_ptr<char>(alive_), action = std::move(action)] {
               if (!alive.expired()) action();
             });
}

void Context::spend_for(std::string_view node) noexcept {
  const auto found = costs_.find(node);
  if (found == costs_.end()) return;
  const Duration cost = found->second.draw(engine_.random());
  engine_.trace(Trace::node, number_, static_cast<std::uint64_t>(cost.count()));
  spend(cost);
}

}  // namespace horus::sim::detail
