// SPDX-License-Identifier: Apache-2.0
// What the frames of a session over shared memory mean: whose publishers meet whose subscribers, and in which memory.
#include <algorithm>
#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include <horus/base/log.hpp>
#include <horus/io/reactor.hpp>
#include <horus/msg/shm_session.hpp>
#include <horus/msg/shm_transport.hpp>

namespace horus::msg {
namespace {

constexpr std::size_t kMaxServed = 8192;  // subscribers of one peer
constexpr std::size_t kMaxRequests = 16384;
constexpr std::size_t kMaxUnmapped = 16;  // pieces that have no addresses yet: a descriptor each
constexpr std::size_t kMaxProblems = 8;   // of one peer
constexpr Duration kAskAgain = std::chrono::seconds(2);  // what was refused for want of room

Error broke(const char* what) { return {kBadInput, "talk to a hub", what}; }

}  // namespace

// A frame of a later version may come with descriptors, too: they are closed.
Result<> ShmSession::handle(shm::Decoded frame) {
  if (descriptors_.size() < frame.descriptors) return broke("(a frame without its descriptors)");
  const std::size_t left = descriptors_.size() - frame.descriptors;
  auto handled = std::visit([this](auto& value) { return on(value); }, frame.frame);
  while (descriptors_.size() > left) static_cast<void>(take_descriptor());
  return handled;
}

Result<> ShmSession::on(const shm::Hello&) { return broke("(it introduced itself twice)"); }

Result<> ShmSession::on(const shm::Goodbye& frame) {
  how_ended_ = frame.again ? SessionEnd::lost : SessionEnd::refused;
  end(frame.reason);
  return Error(ECANCELED, "talk to a hub");
}

Result<> ShmSession::on(const shm::Ping& frame) {
  send(shm::Pong{frame.number});
  return {};
}

// --- Who is there, and who wants it -----------------------------------------------------------------------------------

void ShmSession::announce(const std::shared_ptr<Port>& port) {
  if (!up_) return;
  const PortInfo& info = port->info();
  if (info.direction == Direction::in) {
    for (auto& [id, remote] : publishers_) offer(remote, *port);
    return;
  }
  if (info.link ? info.peer != hello_.hub || ShmTransport::is_neighbour(hello_.instance)
                : hello_.hub != info.hub)
    return;
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
  if (port.direction == Direction::out) return send(shm::Gone{port.id});
  std::erase_if(requests_, [&](const auto& entry) { return entry.second.subscriber == port.id; });
}

Result<> ShmSession::on(shm::Publishes& frame) {
  if (publishers_.contains(frame.publisher)) return broke("(a publisher that was announced twice)");
  if (!announced_.add(1)) {
    const ShareLimit& limit = transport_.totals().publishers.limit();
    complain({}, announced_.used() >= limit.one
                     ? fmt::format("it has more than {} publishers: the rest is not connected", limit.one)
                     : fmt::format("it and others have {} publishers: the rest is not connected", limit.all));
    return {};
  }
  RemotePublisher& remote = publishers_[frame.publisher];
  if (description_bytes_.add(frame.layout.size())) remote.layout.name = std::move(frame.layout);
  remote.layout.hash = frame.layout_hash;
  remote.info.id = frame.publisher;
  remote.info.topic = std::move(frame.topic);
  remote.info.hub = hello_.hub;
  remote.info.link = frame.link;
  remote.info.peer = std::move(frame.peer);
  for (const auto& port : transport_.subscribers_of(remote.info.topic)) offer(remote, *port);
  return {};
}

// The publisher itself says so in its links, unless it was killed between the two.
Result<> ShmSession::on(const shm::Gone& frame) {
  const auto found = publishers_.find(frame.publisher);
  if (found == publishers_.end()) return {};
  description_bytes_.remove(found->second.layout.name.size());
  announced_.remove(1);
  publishers_.erase(found);
  std::erase_if(requests_, [&](const auto& entry) { return entry.second.publisher == frame.publisher; });
  std::erase_if(receiving_, [&](const Received& link) {
    if (link.publisher != frame.publisher) return false;
    std::uint32_t open = 0;
    link.memory.state->publisher_closed.compare_exchange_strong(open, 1, std::memory_order_acq_rel);
    if (const auto inbox = link.inbox.lock()) Inbox::publisher_went(inbox);
    return true;
  });
  return {};
}

// Asks for a remote publisher on behalf of a subscriber of ours.
void ShmSession::offer(RemotePublisher& remote, Port& port) {
  const PortInfo& ours = port.info();
  if (!meet(remote.info, ours)) return;
  const bool asked = std::any_of(requests_.begin(), requests_.end(), [&](const auto& entry) {
    return entry.second.publisher == remote.info.id && entry.second.subscriber == ours.id;
  });
  if (asked) return;
  if (remote.layout.hash != ours.layout->hash) {
    return complain(ours.topic, fmt::format("topic {}: it publishes {}, we expect {}: not connected",
                                            ours.topic, remote.layout.name, ours.layout->describe()));
  }
  ask(remote.info.id, port);
}

void ShmSession::ask(std::uint64_t publisher, Port& port) {
  const PortInfo& ours = port.info();
  const std::shared_ptr<Inbox> inbox = port.shared_inbox();
  if (inbox == nullptr) return;  // it closes at this moment
  if (requests_.size() >= kMaxRequests)
    return complain({}, "it has more publishers than can be subscribed to");
  auto bell = bell_for(inbox->owner());
  if (!bell) {  // there may be descriptors later
    requests_[++last_request_] = {publisher, ours.id, 0, now_ns() + kAskAgain.count()};
    return complain(ours.topic, fmt::format("topic {}: {}", ours.topic, bell.error().message()));
  }
  if (inbox->bell() != nullptr) bell->source->add(inbox);
  shm::Subscribe frame;
  frame.publisher = publisher;
  frame.request = ++last_request_;
  frame.depth = ours.subscribe.overflow == Overflow::latest ? 1 : ours.subscribe.depth;
  frame.max_held = ours.subscribe.max_held;
  frame.overflow = ours.subscribe.overflow;
  frame.bell = bell->number;
  requests_[frame.request] = {publisher, ours.id, frame.depth, 0};
  send(frame);
}

// --- Memory and bells -------------------------------------------------------------------------------------------------

Result<ShmSession::OurBell> ShmSession::bell_for(const Owner& owner) {
  const std::shared_ptr<io::Waker>& waker = owner.waker != nullptr ? owner.waker : transport_.waker();
  for (const OurBell& bell : bells_) {
    if (bell.source->waker() == waker) return bell;
  }
  if (bells_.size() >= shm::kMaxBells)
    return Error(EMFILE, "make a bell", "(one for each reactor; more reactors than a peer takes)");
  auto source = WakeSource::create(waker);
  if (!source) return source.error();
  OurBell bell{static_cast<std::uint32_t>(bells_.size()), *source};
  bells_.push_back(bell);
  send(shm::BellIs{bell.number}, bell.source->far(), bell.source, bell.source);
  return bell;
}

Result<> ShmSession::on(const shm::BellIs& frame) {
  if (their_bells_.contains(frame.bell)) return broke("(a bell that it gave before)");
  if (their_bells_.size() >= shm::kMaxBells) return broke("(more bells than a peer may have)");
  auto bell = SocketBell::adopt(take_descriptor());
  if (!bell) return bell.error();
  if (!their_descriptors_.add(1)) return broke("(it and others have more bells than peers may have)");
  their_bells_[frame.bell] = std::move(*bell);
  return {};
}

Result<> ShmSession::tell_memory(const Arena::Place& place, bool links) {
  if (place.chunk == nullptr) return Error(EINVAL, "share memory", "(it is this process's own)");
  if (!told_memory_.try_emplace(place.chunk->id, place.chunk).second) return {};
  shm::Memory frame;
  frame.chunk = place.chunk->id;
  frame.links = links;
  frame.bytes = place.chunk->memory->size();
  send(frame, place.chunk->memory->file(), place.chunk);
  return {};
}

Result<> ShmSession::on(const shm::Memory& frame) {
  if (their_memory_.contains(frame.chunk)) return broke("(memory that it gave before)");
  if (!their_chunks_.has_room(1) || !their_bytes_.has_room(frame.bytes))
    return broke("(more memory than a peer may give)");
  io::Descriptor file = take_descriptor();
  // Messages for which this process has no addresses are missed by their subscribers, and by nobody else.
  io::Descriptor kept;
  if (!frame.links && unmapped_ < kMaxUnmapped && their_descriptors_.has_room(1))
    kept = io::Descriptor(std::max(io::Reactor::current()->backend().duplicate(file.get()), -1));
  auto whole = Mapping::adopt(file.release(), frame.bytes, frame.links);
  if (!whole && (whole.code() != ENOMEM || !kept)) return whole.error();
  static_cast<void>(their_chunks_.add(1));
  static_cast<void>(their_bytes_.add(frame.bytes));
  TheirMemory& memory = their_memory_[frame.chunk];
  memory.links = frame.links;
  memory.bytes = frame.bytes;
  if (whole) {
    memory.whole = std::move(*whole);
  } else {
    memory.file = std::move(kept);
    static_cast<void>(their_descriptors_.add(1));
    ++unmapped_;
  }
  return {};
}

// There may be addresses now.
Result<> ShmSession::map_later(TheirMemory& memory) {
  if (memory.whole != nullptr) return {};
  const int file = io::Reactor::current()->backend().duplicate(memory.file.get());
  if (file < 0) return Error(-file, "map message memory");
  auto whole = Mapping::adopt(file, memory.bytes, false);
  if (!whole) return whole.error();
  memory.whole = std::move(*whole);
  memory.file = {};
  their_descriptors_.remove(1);
  --unmapped_;
  return {};
}

Result<> ShmSession::on(const shm::Forget& frame) {
  const auto found = their_memory_.find(frame.chunk);
  if (found == their_memory_.end()) return broke("(memory that it never gave)");
  their_chunks_.remove(1);
  their_bytes_.remove(found->second.bytes);
  if (found->second.whole == nullptr) {
    their_descriptors_.remove(1);
    --unmapped_;
  }
  their_memory_.erase(found);
  return {};
}

// --- Links ------------------------------------------------------------------------------------------------------------

Result<> ShmSession::on(const shm::Subscribe& frame) {
  if (frame.request <= last_served_) return broke("(a request with the number of another)");
  last_served_ = frame.request;
  if (!their_bells_.contains(frame.bell)) return broke("(a bell that it never gave)");
  const std::shared_ptr<Port> port = transport_.find_port(frame.publisher);
  const std::shared_ptr<Outbox> outbox = port != nullptr ? port->shared_outbox() : nullptr;
  if (outbox == nullptr) {
    send(shm::Refused{frame.request, false, {}});  // it has gone meanwhile
    return {};
  }
  auto connected = connect(frame, outbox);
  if (!connected) {
    transport_.say(
        fmt::format("hub {}: process {}: {}", transport_.hub(), pid_, connected.error().message()));
    send(shm::Refused{frame.request, true, connected.error().message()});
  }
  return {};
}

Result<> ShmSession::connect(const shm::Subscribe& frame, const std::shared_ptr<Outbox>& outbox) {
  look_after_links();
  if (serving_.size() >= kMaxServed)
    return Error(ENOBUFS, "connect a subscriber",
                 fmt::format("({} of one process are the limit)", kMaxServed));
  // One subscriber may have all that there is; a second one of the same process leaves something to others.
  const std::uint32_t wanted = frame.depth + frame.max_held;
  std::uint64_t reserved = 0;
  for (const ServedLink& link : serving_) reserved += link.publisher == frame.publisher ? link.reserved : 0;
  const std::uint32_t most = outbox->options().max_queued;
  if (reserved > 0 && reserved + wanted > std::uint64_t{most} * 3 / 4) {
    return Error(
        ENOBUFS, "connect a subscriber",
        fmt::format("{} (this process has {} of {} messages reserved already, and would have more than "
                    "its share; raise AdvertiseOptions::max_queued)",
                    outbox->topic(), reserved, most));
  }
  if (auto places = outbox->has_places(wanted); !places) return places;  // before there is memory for it
  const std::uint32_t slots = outbox->pool().slots();
  const std::shared_ptr<Mapping>& messages = outbox->pool().memory();
  auto bell = bell_for(outbox->owner());
  if (!bell) return bell.error();
  const LinkShape shape = LinkShape::of(outbox->layout(), frame.depth, frame.overflow, slots);
  auto memory = links_->take(shape.bytes());
  if (!memory) return memory.error();
  const Arena::Place slots_place = transport_.memory()->place_of(*messages);
  const Arena::Place link_place = links_->place_of(**memory);
  auto told = tell_memory(slots_place, false);
  if (told) told = tell_memory(link_place, true);
  if (!told) return told;
  const LinkMemory link = LinkMemory::over(std::move(*memory), shape);
  auto outlet = std::make_shared<Outlet>(link, frame.overflow, their_bells_[frame.bell]);
  outlet->reserved = wanted;
  const std::weak_ptr<Outlet> known = outlet;
  if (auto attached = outbox->attach(std::move(outlet)); !attached) return attached;
  bell->source->add(outbox);
  serving_.push_back({link, messages, outbox, known, frame.publisher, wanted});
  shm::Connected answer;
  answer.request = frame.request;
  answer.slots_chunk = slots_place.chunk->id;
  answer.slots_at = slots_place.offset;
  answer.slots = slots;
  answer.stride = outbox->pool().stride();
  answer.link_chunk = link_place.chunk->id;
  answer.link_at = link_place.offset;
  answer.depth = frame.depth;
  answer.bell = bell->number;
  send(answer);
  return {};
}

Result<> ShmSession::on(const shm::Connected& frame) {
  if (frame.request > last_request_) return broke("(an answer to what nobody asked for)");
  const auto slots = their_memory_.find(frame.slots_chunk);
  const auto links = their_memory_.find(frame.link_chunk);
  const auto bell = their_bells_.find(frame.bell);
  if (slots == their_memory_.end() || slots->second.links || links == their_memory_.end() ||
      !links->second.links || bell == their_bells_.end())
    return broke("(a link in memory that it never gave)");
  if (frame.slots == 0 || frame.slots > AdvertiseOptions::kMaxSlots)
    return broke("(an impossible number of slots)");
  const Result<> mapped = map_later(slots->second);
  std::shared_ptr<Mapping> messages;
  if (mapped) {
    auto part = Mapping::part(slots->second.whole, frame.slots_at,
                              std::size_t{frame.slots} * frame.stride + PublisherWord::kBytes);
    if (!part) return part.error();
    messages = std::move(*part);
  }
  const auto request = requests_.find(frame.request);
  const std::shared_ptr<Port> port =
      request != requests_.end() ? transport_.find_port(request->second.subscriber) : nullptr;
  const std::shared_ptr<Inbox> inbox = port != nullptr ? port->shared_inbox() : nullptr;
  // Of a port that was withdrawn only the state is needed, to say so.
  LinkShape shape;
  if (inbox != nullptr) {
    if (request->second.again_ns != 0 || frame.depth != request->second.depth)
      return broke("(an answer to what nobody asked for)");
    shape = LinkShape::of(*port->info().layout, frame.depth, port->info().subscribe.overflow, frame.slots);
  }
  auto memory = Mapping::part(links->second.whole, frame.link_at, shape.bytes());
  if (!memory) return memory.error();
  const LinkMemory link = LinkMemory::over(std::move(*memory), shape);
  if (inbox == nullptr || messages == nullptr) {  // withdrawn meanwhile, or we have no addresses for it
    link.state->subscriber_closed.store(2, std::memory_order_release);
    bell->second->ring();
    if (inbox != nullptr) {
      request->second.again_ns = now_ns() + kAskAgain.count();
      const std::string& topic = port->info().topic;
      if (!problems_.contains(topic))  // the figures change each time
        complain(topic, fmt::format("topic {}: not connected: {}", topic, mapped.error().message()));
    } else if (request != requests_.end()) {
      requests_.erase(request);
    }
    return {};
  }
  const Layout& layout = *port->info().layout;
  if (frame.stride < layout.tail_offset) return broke("(slots smaller than the message)");
  request->second.again_ns = INT64_MAX;  // answered
  solved(port->info().topic);
  auto* inlet = new Inlet(link, std::move(messages), frame.slots, frame.stride, layout.tail_offset,
                          layout.element_bytes, port->info().subscribe.max_held, bell->second, false);
  receiving_.push_back({link, inbox, request->second.publisher});
  inbox->attach(inlet);
  return {};
}

Result<> ShmSession::on(const shm::Refused& frame) {
  if (frame.request > last_request_) return broke("(an answer to what nobody asked for)");
  const auto request = requests_.find(frame.request);
  if (request == requests_.end()) return {};  // withdrawn meanwhile
  if (request->second.again_ns != 0) return broke("(a second answer)");
  request->second.again_ns = frame.again ? now_ns() + kAskAgain.count() : INT64_MAX;
  const auto port = transport_.find_port(request->second.subscriber);
  if (port != nullptr && !frame.reason.empty()) complain(port->info().topic, frame.reason);
  return {};
}

// A process that is stopped keeps its session, and its place; but nobody waits for it.
void ShmSession::look_whether_it_answers() {
  const std::int64_t now = now_ns();
  const std::int64_t limit = transport_.options().idle_limit.count();
  if (last_received_ns_ >= asked_ns_) asked_ns_ = 0;
  if (asked_ns_ == 0 && !serving_.empty() && now - last_received_ns_ >= limit / 3) {
    asked_ns_ = now;
    send(shm::Ping{});
  }
  const bool silent = asked_ns_ != 0 && now - last_received_ns_ >= limit;
  if (silent == silent_ && !silent) return;
  if (silent != silent_) {
    silent_ = silent;
    transport_.publish_state();
  }
  for (const ServedLink& link : serving_) {
    const auto outlet = link.outlet.lock();
    if (outlet == nullptr || outlet->peer_silent.exchange(silent) == silent || !silent) continue;
    const auto outbox = link.outbox.lock();
    if (outbox == nullptr || outbox->owner().waker == nullptr) continue;
    outbox->owner().waker->hand_over([weak = link.outbox] {
      if (const auto alive = weak.lock()) alive->room_may_have_come();
    });
  }
}

void ShmSession::look_after_links() {
  if (!up_) return;
  look_whether_it_answers();
  std::erase_if(serving_, [](const ServedLink& link) {
    if (link.memory.state->subscriber_closed.load(std::memory_order_acquire) < 2) return false;
    if (const auto outbox = link.outbox.lock(); outbox != nullptr && outbox->owner().waker != nullptr) {
      outbox->owner().waker->hand_over([weak = link.outbox] {
        if (const auto alive = weak.lock()) alive->look_after_links();
      });
    }
    return true;
  });
  std::erase_if(receiving_, [](const Received& link) {
    return link.inbox.expired() || link.memory.state->subscriber_closed.load(std::memory_order_acquire) > 1;
  });
  std::erase_if(told_memory_, [&](const auto& told) {
    if (!told.second.expired()) return false;
    send(shm::Forget{told.first});
    return true;
  });
  std::vector<Request> due;
  const std::int64_t now = now_ns();
  std::erase_if(requests_, [&](const auto& entry) {
    if (entry.second.again_ns == 0 || entry.second.again_ns > now) return false;
    due.push_back(entry.second);
    return true;
  });
  for (const Request& request : due) {
    const auto port = transport_.find_port(request.subscriber);
    if (port != nullptr && publishers_.contains(request.publisher)) ask(request.publisher, *port);
  }
}

// --- What a person should know ----------------------------------------------------------------------------------------

void ShmSession::complain(const std::string& topic, const std::string& problem) {
  if (problems_.size() >= kMaxProblems && !problems_.contains(topic)) return;
  std::string& known = problems_[topic];
  if (known == problem) return;
  known = problem;
  transport_.say(fmt::format("hub {}: process {}: {}", transport_.hub(), pid_, problem));
  transport_.publish_state();
}

void ShmSession::solved(const std::string& topic) {
  if (problems_.erase(topic) > 0) transport_.publish_state();
}

}  // namespace horus::msg
