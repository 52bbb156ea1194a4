// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/shm_session.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fmt/format.h>

#include <horus/base/log.hpp>
#include <horus/io/poll.hpp>
#include <horus/io/time.hpp>
#include <horus/msg/shm_transport.hpp>
#include <horus/task/scope.hpp>

namespace horus::msg {
namespace {

constexpr std::size_t kMaxOutgoing = 4096;    // frames
constexpr std::size_t kMaxPublishers = 4096;  // of one peer
constexpr std::size_t kMaxDescriptors = 64;   // received, and not yet used

// The peer has gone: nothing to tell anybody.
bool is_farewell(const Error& error) {
  return error.cancelled() || error.end_of_stream() || error.code() == EPIPE || error.code() == ECONNRESET;
}

Error broken(const char* what) { return {kBadInput, "talk to a hub", what}; }

}  // namespace

ShmSession::ShmSession(ShmTransport& transport, std::uint64_t number, io::UnixStream stream,
                       std::string address)
    : transport_(transport), number_(number), stream_(std::move(stream)), address_(std::move(address)) {}

ShmSession::~ShmSession() { end_links(true); }

// --- Its life ---------------------------------------------------------------------------------------------------------

Task<> ShmSession::run() {
  publish_state(false, "handshake");
  auto greeting = greet();
  auto greeted = co_await with_timeout(transport_.options().handshake_limit, std::move(greeting));
  if (!greeted) {
    const bool silent = greeted.error().timed_out();
    problem_ = silent ? "it said nothing within the handshake's limit" : greeted.error().message();
    publish_state(false, problem_);
    if (!is_farewell(greeted.error()))
      log_warning(fmt::format("hub {}: {}: {}", transport_.hub(), address_, problem_));
    co_return;
  }
  up_ = true;
  publish_state(true);
  for (const auto& port : transport_.ports()) announce(*port);
  Scope scope("session");
  scope.spawn(read());
  scope.spawn(write());
  scope.spawn(watch_process());
  try {
    co_await ended_.wait();
  } catch (const Error&) {
    // The hub goes, or the reactor.
  }
  up_ = false;
  scope.cancel();
  co_await scope.join();
  end_links(true);
  publish_state(false, problem_);
}

Task<Result<>> ShmSession::greet() {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (::getsockopt(stream_.fd(), SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0)
    co_return Error(errno, "ask for the peer's credentials");
  if (credentials.uid != ::geteuid()) {
    co_return Error(EPERM, "share memory",
                    fmt::format("with user {} (only with the same user's processes)", credentials.uid));
  }
  pid_ = credentials.pid;
  shm::Hello ours;
  ours.hub = transport_.hub();
  ours.instance = transport_.instance();
  const std::vector<std::byte> hello = shm::encode(ours);
  auto sent = co_await stream_.write_all(io::Bytes(hello));
  if (!sent) co_return sent;
  auto frame = co_await read_frame();
  if (!frame) co_return frame.error();
  const auto* theirs = std::get_if<shm::Hello>(&*frame);
  if (theirs == nullptr) co_return broken("(it did not introduce itself)");
  if (theirs->version != shm::kVersion) {
    co_return Error(kBadInput, "talk to a hub",
                    fmt::format("of process {} (it speaks version {}, we speak {}: update one of the two)",
                                pid_, theirs->version, shm::kVersion));
  }
  hello_ = *theirs;
  const bool named = hello_.instance.starts_with(socket_prefix(hello_.hub)) &&
                     hello_.instance.find('/') == std::string::npos &&
                     hello_.instance != transport_.instance();
  if (!named) co_return broken("(it has no name of its own)");
  co_return Result<>();
}

Task<> ShmSession::read() {
  while (true) {
    auto frame = co_await read_frame();
    Result<> handled;
    if (frame) {
      handled = handle(std::move(*frame));
    } else {
      handled = frame.error();
    }
    if (handled) continue;
    if (!is_farewell(handled.error())) {
      problem_ = handled.error().message();
      log_warning(fmt::format("hub {}: process {}: {}", transport_.hub(), pid_, problem_));
    }
    break;
  }
  ended_.set();
}

Task<> ShmSession::write() {
  while (true) {
    while (!outgoing_.empty()) {
      const Outgoing next = std::move(outgoing_.front());
      outgoing_.pop_front();
      Result<> sent;
      if (next.descriptors.empty()) {
        sent = co_await stream_.write_all(io::Bytes(next.bytes));
      } else {
        sent = co_await stream_.send_descriptors(next.descriptors, io::Bytes(next.bytes));
      }
      if (!sent) {
        ended_.set();
        co_return;
      }
    }
    to_write_.reset();
    co_await to_write_.wait();
  }
}

// A child that the peer forked may keep its end of the socket open: its process tells for certain.
Task<> ShmSession::watch_process() {
  const io::Descriptor process(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
  if (!process) {
    if (errno == ESRCH) ended_.set();
    co_return;  // ENOSYS, EPERM: the socket alone must tell
  }
  auto gone = co_await io::wait_readable(process.get());
  if (gone) ended_.set();
}

// What is queued is still delivered to our subscribers; what they held comes back to our publishers.
void ShmSession::end_links(bool died) noexcept {
  for (const Link& link : std::exchange(links_, {})) {
    LinkState& state = *link.memory.state;
    std::uint32_t open = 0;
    if (const auto outbox = link.outbox.lock()) {
      state.subscriber_closed.store(2, std::memory_order_release);
      if (outbox->owner().waker != nullptr) {
        outbox->owner().waker->hand_over([weak = link.outbox] {
          if (const auto alive = weak.lock()) alive->look_after_links();
        });
      }
    } else if (const auto inbox = link.inbox.lock()) {
      state.publisher_closed.compare_exchange_strong(open, died ? 2 : 1, std::memory_order_acq_rel);
      inbox->wake();
    }
  }
}

void ShmSession::publish_state(bool connected, std::string problem) {
  PeerState state;
  state.name = hello_.hub;
  state.address = pid_ == 0 ? address_ : fmt::format("shm pid {}", pid_);
  state.connected = connected;
  state.problem = std::move(problem);
  transport_.set_peer_state(number_, std::move(state));
}

// --- Frames -----------------------------------------------------------------------------------------------------------

Task<Result<>> ShmSession::fill(std::size_t bytes) {
  std::array<std::byte, 4096> buffer;
  while (received_.size() < bytes) {
    auto came = co_await stream_.recv_descriptors(io::MutableBytes(buffer));
    if (!came) co_return came.error();
    for (io::Descriptor& descriptor : came->descriptors) descriptors_.push_back(std::move(descriptor));
    if (descriptors_.size() > kMaxDescriptors)
      co_return broken("(it sent descriptors that nothing asks for)");
    received_.insert(received_.end(), buffer.begin(),
                     buffer.begin() + static_cast<std::ptrdiff_t>(came->size));
  }
  co_return Result<>();
}

Task<Result<shm::Frame>> ShmSession::read_frame() {
  auto filled = co_await fill(4);
  if (!filled) co_return filled.error();
  std::size_t size = 0;
  for (std::size_t i = 0; i < 4; ++i) size |= std::to_integer<std::size_t>(received_[i]) << (8 * i);
  if (size > shm::kMaxFrame) co_return broken("(a frame beyond the limit)");
  filled = co_await fill(4 + size);
  if (!filled) co_return filled.error();
  auto frame = shm::decode(std::span(received_).subspan(4, size));
  received_.erase(received_.begin(), received_.begin() + static_cast<std::ptrdiff_t>(4 + size));
  co_return frame;
}

void ShmSession::send(const shm::Frame& frame, std::vector<int> descriptors,
                      std::vector<std::shared_ptr<const void>> owners) {
  if (outgoing_.size() >= kMaxOutgoing) {
    problem_ = "it reads nothing";
    return ended_.set();
  }
  outgoing_.push_back({shm::encode(frame), std::move(descriptors), std::move(owners)});
  to_write_.set();
}

io::Descriptor ShmSession::take_descriptor() {
  if (descriptors_.empty()) return {};
  io::Descriptor first = std::move(descriptors_.front());
  descriptors_.pop_front();
  return first;
}

Result<> ShmSession::handle(shm::Frame frame) {
  if (descriptors_.size() < shm::descriptors_of(frame)) return broken("(a frame without its descriptors)");
  return std::visit([this](auto& value) { return handle(std::move(value)); }, frame);
}

Result<> ShmSession::handle(const shm::Hello&) { return broken("(it introduced itself twice)"); }

// --- Who is there, and who wants it -----------------------------------------------------------------------------------

void ShmSession::announce(const Port& port) {
  if (!up_) return;
  const PortInfo& info = port.info();
  if (info.direction == Direction::in) {
    for (auto& [id, remote] : publishers_) offer(remote, const_cast<Port&>(port));
    return;
  }
  shm::Publishes frame;
  frame.publisher = info.id;
  frame.topic = info.topic;
  frame.layout_hash = info.layout->hash;
  frame.layout = info.layout->describe();
  frame.link = info.link;
  frame.peer = info.peer;
  send(frame);
}

void ShmSession::withdraw(const PortInfo& port) {
  if (!up_) return;
  if (port.direction == Direction::out) send(shm::Gone{port.id});
}

void ShmSession::announce_again(const Port& port) {
  if (port.info().direction == Direction::in) announce(port);
}

Result<> ShmSession::handle(shm::Publishes frame) {
  if (publishers_.size() >= kMaxPublishers) return broken("(too many publishers)");
  RemotePublisher& remote = publishers_[frame.publisher];
  remote = {};
  remote.layout.name = std::move(frame.layout);
  remote.layout.hash = frame.layout_hash;
  remote.info.id = frame.publisher;
  remote.info.topic = std::move(frame.topic);
  remote.info.hub = hello_.hub;
  remote.info.link = frame.link;
  remote.info.peer = std::move(frame.peer);
  for (const auto& port : transport_.ports()) {
    if (port->info().direction == Direction::in) offer(remote, *port);
  }
  return {};
}

Result<> ShmSession::handle(const shm::Gone& frame) {
  publishers_.erase(frame.publisher);
  std::erase_if(links_,
                [&](const Link& link) { return link.outbox.expired() && link.publisher == frame.publisher; });
  return {};
}

// Asks for a remote publisher on behalf of a subscriber of ours.
void ShmSession::offer(RemotePublisher& remote, Port& port) {
  const PortInfo& ours = port.info();
  if (!meet(remote.info, ours) || !transport_.claim(*this, remote.info.id, ours.id)) return;
  if (remote.layout.hash != ours.layout->hash) {
    problem_ = fmt::format("topic {}: it publishes {}, we expect {}: not connected", ours.topic,
                           remote.layout.name, ours.layout->describe());
    log_error(fmt::format("hub {}: process {}: {}", transport_.hub(), pid_, problem_));
    return publish_state(true, problem_);
  }
  const std::shared_ptr<Inbox> inbox = port.shared_inbox();
  if (inbox == nullptr) return;  // it closes at this moment
  auto source = transport_.wake_source(inbox->owner());
  if (!source) return log_error(source.error().message());
  if (inbox->bell() != nullptr) (*source)->add(inbox);
  shm::Subscribe frame;
  frame.publisher = remote.info.id;
  frame.subscriber = ours.id;
  frame.depth = ours.subscribe.overflow == Overflow::latest ? 1 : ours.subscribe.depth;
  frame.max_held = ours.subscribe.max_held;
  frame.overflow = ours.subscribe.overflow;
  send(frame, {(*source)->fd()}, {*source});
}

Result<> ShmSession::handle(const shm::Subscribe& frame) {
  auto connected = connect(frame);
  if (!connected) {
    if (connected.code() == kBadInput) return connected;
    log_error(connected.error().message());
    send(shm::Refused{frame.publisher, frame.subscriber, connected.error().message()});
  }
  return {};
}

Result<> ShmSession::connect(const shm::Subscribe& frame) {
  auto bell = EventFdBell::adopt(take_descriptor().release());
  if (!bell) return bell.error();
  const std::shared_ptr<Port> port = transport_.find_port(frame.publisher);
  const std::shared_ptr<Outbox> shared = port != nullptr ? port->shared_outbox() : nullptr;
  if (shared == nullptr) return {};  // it has gone meanwhile
  Outbox& outbox = *shared;
  const std::uint32_t slots = outbox.pool().slots();
  auto source = transport_.wake_source(outbox.owner());
  if (!source) return source.error();
  auto memory = Mapping::create(LinkMemory::bytes_for(frame.depth, slots), true, "horus-link");
  if (!memory) return memory.error();
  const LinkMemory link = LinkMemory::over(std::move(*memory), frame.depth, slots);
  std::erase_if(links_, [](const Link& other) { return other.memory.state->subscriber_closed.load() > 1; });
  auto outlet = std::make_shared<Outlet>(link, frame.overflow, std::move(*bell), nullptr);
  outlet->reserved = frame.depth + frame.max_held;
  if (auto attached = outbox.attach(std::move(outlet)); !attached) return attached;
  (*source)->add(shared);
  links_.push_back({link, shared, {}, 0});
  send(shm::Connected{frame.publisher, frame.subscriber, slots, outbox.pool().stride(), frame.depth},
       {outbox.pool().memory()->file(), link.memory->file(), (*source)->fd()},
       {outbox.pool().memory(), link.memory, *source});
  return {};
}

Result<> ShmSession::handle(const shm::Connected& frame) {
  const int slots_file = take_descriptor().release();
  const int link_file = take_descriptor().release();
  auto bell = EventFdBell::adopt(take_descriptor().release());
  auto slots = Mapping::adopt(slots_file, std::size_t{frame.slots} * frame.stride, false);
  auto memory = Mapping::adopt(link_file, LinkMemory::bytes_for(frame.depth, frame.slots), true);
  if (!bell) return bell.error();
  if (!slots) return slots.error();
  if (!memory) return memory.error();
  const LinkMemory link = LinkMemory::over(std::move(*memory), frame.depth, frame.slots);
  const std::shared_ptr<Port> port = transport_.find_port(frame.subscriber);
  const std::shared_ptr<Inbox> inbox = port != nullptr ? port->shared_inbox() : nullptr;
  if (inbox == nullptr) {
    link.state->subscriber_closed.store(2, std::memory_order_release);
    return {};
  }
  const Layout& layout = *port->info().layout;
  if (frame.stride < layout.tail_offset) return broken("(slots smaller than the message)");
  auto* inlet = new Inlet(link, std::move(*slots), frame.slots, frame.stride, layout.tail_offset,
                          layout.element_bytes, port->info().subscribe.max_held, std::move(*bell), false);
  links_.push_back({link, {}, inbox, frame.publisher});
  inbox->attach(inlet);
  return {};
}

Result<> ShmSession::handle(const shm::Refused& frame) {
  problem_ = frame.reason;
  publish_state(true, problem_);
  return {};
}

}  // namespace horus::msg
