// SPDX-License-Identifier: Apache-2.0
// What the frames of a session over shared memory mean: whose publishers meet whose subscribers, and in which memory.
#include <algorithm>
#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include <horus/base/log.hpp>
#include <horus/io/time.hpp>
#include <horus/msg/shm/shm_session.hpp>
#include <horus/msg/shm/shm_transport.hpp>

namespace horus::HORUS_ABI::msg {
namespace {

constexpr std::size_t kMaxServed = 8192;  // subscribers of one peer
constexpr std::size_t kMaxRequests = 16384;
constexpr std::size_t kMaxProblems = 8;                  // of one peer
constexpr Duration kAskAgain = std::chrono::seconds(2);  // what was refused for want of room

Error broke(const char* what) { return {kBadInput, "talk to a hub", what}; }

}  // namespace

// A publisher of ours has more slots than the peer knows of.
class ShmSession::MemoryBell final : public Bell {
 public:
  MemoryBell(std::weak_ptr<ShmSession> session, std::shared_ptr<io::Waker> waker) noexcept
      : session_(std::move(session)), waker_(std::move(waker)) {}
  void ring() noexcept override {
    waker_->hand_over([weak = session_] {
      if (const auto session = weak.lock()) session->tell_slots();
    });
  }

 private:
  const std::weak_ptr<ShmSession> session_;
  const std::shared_ptr<io::Waker> waker_;
};

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
    end_subscription(link);
    return true;
  });
  std::erase_if(arriving_, [&](const auto& link) { return !requests_.contains(link.first); });
  return {};
}

// What came before is still taken.
void ShmSession::end_subscription(const Received& link, std::uint32_t how) noexcept {
  std::uint32_t open = 0;
  link.memory.state->publisher_closed.compare_exchange_strong(open, how, std::memory_order_acq_rel);
  if (const auto inbox = link.inbox.lock()) Inbox::publisher_went(inbox);
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
    requests_[++last_request_] = {publisher, ours.id, 0, 0, now_ns() + kAskAgain.count()};
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
  requests_[frame.request] = {publisher, ours.id, frame.depth, now_ns(), 0};
  send(frame);
}

// --- Memory and bells -------------------------------------------------------------------------------------------------

Result<ShmSession::OurBell> ShmSession::bell_for(const Owner& owner) {
  const std::shared_ptr<io::Waker>& waker = owner.waker != nullptr ? owner.waker : transport_.waker();
  for (const OurBell& bell : bells_) {
    if (bell.source->waker() == waker) return bell;
  }
  if (bells_.size() >= shm::kMaxBells)
    return Error(EMFILE, "make a wake-up descriptor",
                 "(one for each reactor; more reactors than a peer accepts)");
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
  const bool is_new = told_memory_.try_emplace(place.chunk->id, place.chunk).second;
  if (!is_new && unmapped_there_.erase(place.chunk->id) == 0) return {};
  shm::Memory frame;
  frame.chunk = place.chunk->id;
  frame.links = links;
  frame.bytes = place.chunk->memory->size();
  send(frame, place.chunk->memory->file(), place.chunk);
  return {};
}

// Messages for which this process has no addresses are missed by their subscribers, and by nobody else.
Result<> ShmSession::on(const shm::Memory& frame) {
  const auto known = their_memory_.find(frame.chunk);
  if (known == their_memory_.end()) {
    if (!their_chunks_.has_room(1) || !their_bytes_.has_room(frame.bytes))
      return broke("(more memory than a peer may give)");
  } else if (known->second.whole != nullptr || known->second.links != frame.links ||
             known->second.bytes != frame.bytes) {
    return broke("(memory that it gave before)");
  }
  auto whole = Mapping::adopt(take_descriptor().release(), frame.bytes, frame.links);
  if (!whole && (whole.code() != ENOMEM || frame.links)) return whole.error();
  if (known == their_memory_.end()) {
    static_cast<void>(their_chunks_.add(1));
    static_cast<void>(their_bytes_.add(frame.bytes));
  }
  TheirMemory& memory = their_memory_[frame.chunk];
  memory.links = frame.links;
  memory.bytes = frame.bytes;
  if (whole) {
    memory.whole = std::move(*whole);
    memory.mapped = {};
  } else {
    memory.mapped = whole.error();
    send(shm::Unmapped{frame.chunk});
  }
  return {};
}

Result<> ShmSession::on(const shm::Forget& frame) {
  const auto found = their_memory_.find(frame.chunk);
  if (found == their_memory_.end()) return broke("(memory that it never gave)");
  their_chunks_.remove(1);
  their_bytes_.remove(found->second.bytes);
  their_memory_.erase(found);
  return {};
}

// What is mapped in vain is not in the way of other topics.
void ShmSession::lack_addresses(std::uint64_t number, const Error& why) {
  for (auto& [chunk, memory] : their_memory_) {
    if (memory.links || memory.whole == nullptr || memory.whole.use_count() > 1) continue;
    memory.whole.reset();
    memory.mapped = why;
    send(shm::Unmapped{chunk});
  }
  const auto request = requests_.find(number);
  if (request == requests_.end()) return;
  request->second.again_ns = now_ns() + kAskAgain.count();
  const auto port = transport_.find_port(request->second.subscriber);
  if (port == nullptr) return;
  const std::string& topic = port->info().topic;
  if (!problems_.contains(topic))  // the figures change each time
    complain(topic, fmt::format("topic {}: not connected: {}", topic, why.message()));
}

// --- Links ------------------------------------------------------------------------------------------------------------

Result<> ShmSession::on(const shm::Subscribe& frame) {
  if (frame.request <= last_served_) return broke("(a request with the number of another)");
  last_served_ = frame.request;
  if (!their_bells_.contains(frame.bell)) return broke("(a bell that it never gave)");
  const std::shared_ptr<Outbox> outbox = wanted_of(frame);
  if (outbox == nullptr) return {};
  const LinkShape shape =
      LinkShape::of(outbox->layout(), frame.depth, frame.overflow, outbox->pool().slots());
  if (const auto fits = may_serve(frame, *outbox); !fits) {
    refuse(frame, fits.error());
  } else if (shape.bytes() <= Arena::Slowly::kStep) {
    serve(frame, links_->take(shape.bytes()));
  } else {
    preparing_.push_back(frame);
    to_prepare_.set();
  }
  return {};
}

void ShmSession::refuse(const shm::Subscribe& frame, const Error& why) {
  transport_.say(fmt::format("hub {}: process {}: {}", transport_.hub(), pid_, why.message()));
  send(shm::Refused{frame.request, true, why.message()});
}

// The publisher that a peer wants; null when it has gone meanwhile, which the peer is told.
std::shared_ptr<Outbox> ShmSession::wanted_of(const shm::Subscribe& frame) {
  const std::shared_ptr<Port> port = transport_.find_port(frame.publisher);
  std::shared_ptr<Outbox> outbox = port != nullptr ? port->shared_outbox() : nullptr;
  if (outbox == nullptr) send(shm::Refused{frame.request, false, {}});
  return outbox;
}

// Giving a long queue its pages takes milliseconds: a little in each turn of the loop.
Task<> ShmSession::prepare() {
  while (true) {
    while (!preparing_.empty()) {
      const shm::Subscribe frame = preparing_.front();
      const std::shared_ptr<Outbox> outbox = wanted_of(frame);
      std::size_t bytes = 0;
      if (outbox != nullptr) {
        bytes = LinkShape::of(outbox->layout(), frame.depth, frame.overflow, outbox->pool().slots()).bytes();
      }
      Arena::Slowly slowly(links_, bytes);
      while (bytes > 0) {
        auto memory = slowly.next();
        if (!memory || *memory != nullptr) {
          serve(frame, std::move(memory));
          break;
        }
        co_await sleep(Duration::zero());  // a turn
      }
      preparing_.pop_front();
    }
    to_prepare_.reset();
    co_await to_prepare_.wait();
  }
}

void ShmSession::serve(const shm::Subscribe& frame, Result<std::shared_ptr<Mapping>> memory) {
  const std::shared_ptr<Outbox> outbox = wanted_of(frame);
  if (outbox == nullptr) return;
  if (!memory) return refuse(frame, memory.error().on("connect a subscriber", outbox->topic()));
  if (const auto connected = connect(frame, outbox, std::move(*memory)); !connected)
    refuse(frame, connected.error());
}

std::uint64_t ShmSession::reserved_of(std::uint64_t publisher) const noexcept {
  std::uint64_t reserved = 0;
  for (const ServedLink& link : serving_) reserved += link.publisher == publisher ? link.reserved : 0;
  return reserved;
}

Result<> ShmSession::may_serve(const shm::Subscribe& frame, Outbox& outbox) {
  look_after_links();
  if (serving_.size() + preparing_.size() >= kMaxServed)
    return Error(ENOBUFS, "connect a subscriber",
                 fmt::format("({} of one process are the limit)", kMaxServed));
  // One subscriber may have all that there is; a second one of the same process leaves something to others.
  const std::uint32_t wanted = frame.depth + frame.max_held;
  const std::uint64_t reserved = reserved_of(frame.publisher);
  const std::uint32_t most = outbox.options().max_queued;
  if (reserved > 0 && reserved + wanted > std::uint64_t{most} * 3 / 4) {
    return Error(
        ENOBUFS, "connect a subscriber",
        fmt::format("{} (this process has {} of {} messages reserved already, and would have more than "
                    "its share; raise AdvertiseOptions::max_queued)",
                    outbox.topic(), reserved, most));
  }
  return outbox.has_places(wanted);
}

Result<> ShmSession::connect(const shm::Subscribe& frame, const std::shared_ptr<Outbox>& outbox,
                             std::shared_ptr<Mapping> memory) {
  if (auto fits = may_serve(frame, *outbox); !fits) return fits;  // others may have come meanwhile
  const std::shared_ptr<SlotTable>& slots = outbox->pool().table();
  auto bell = bell_for(outbox->owner());
  if (!bell) return bell.error();
  const LinkShape shape = LinkShape::of(outbox->layout(), frame.depth, frame.overflow, slots->slots());
  if (slots->word_memory() == nullptr)
    return Error(EINVAL, "connect a subscriber", outbox->topic() + " (its messages are this process's own)");
  const Arena::Place word_place = transport_.memory()->place_of(*slots->word_memory());
  const Arena::Place link_place = links_->place_of(*memory);
  auto told = tell_memory(word_place, false);
  if (told) told = tell_memory(link_place, true);
  if (!told) return told;
  const LinkMemory link = LinkMemory::over(std::move(memory), shape);
  auto outlet = std::make_shared<Outlet>(link, frame.overflow, their_bells_[frame.bell]);
  outlet->reserved = frame.depth + frame.max_held;
  outlet->is_far = true;
  const std::weak_ptr<Outlet> known = outlet;
  outbox->tell_of_memory(memory_bell());
  if (auto attached = outbox->attach(std::move(outlet)); !attached) return attached;
  bell->source->add(outbox);
  serving_.push_back(
      {link, slots, outbox, known, frame.publisher, frame.depth + frame.max_held, frame.request});
  shm::Connected answer;
  answer.request = frame.request;
  answer.word_chunk = word_place.chunk->id;
  answer.word_at = word_place.offset;
  answer.slots = slots->slots();
  answer.stride = slots->stride();
  answer.link_chunk = link_place.chunk->id;
  answer.link_at = link_place.offset;
  answer.depth = frame.depth;
  answer.bell = bell->number;
  send(answer);
  return tell_slots(serving_.back());
}

const std::shared_ptr<Bell>& ShmSession::memory_bell() {
  if (memory_bell_ == nullptr)
    memory_bell_ = std::make_shared<MemoryBell>(weak_from_this(), transport_.waker());
  return memory_bell_;
}

// In front of every message that is in them, mostly: one that overtakes this waits in its queue.
Result<> ShmSession::tell_slots(ServedLink& link) {
  if (link.memory.shape.inline_bytes != 0) return {};
  shm::Slots frame;
  frame.request = link.request;
  for (const SlotTable::Run& run : link.slots->runs_after(link.told)) {
    const Arena::Place place = transport_.memory()->place_of(*run.memory);
    if (auto told = tell_memory(place, false); !told) return told;
    frame.runs.push_back({run.first, run.count, place.chunk->id, place.offset});
    link.told = run.serial;
    if (frame.runs.size() < shm::kMaxRuns) continue;
    send(frame);
    frame.runs.clear();
  }
  if (!frame.runs.empty()) send(frame);
  return {};
}

void ShmSession::tell_slots() {
  if (!up_) return;
  for (ServedLink& link : serving_) {
    if (auto told = tell_slots(link); !told) return end(told.error().message());
  }
}

Result<> ShmSession::on(const shm::Connected& frame) {
  if (frame.request > last_request_) return broke("(an answer to what nobody asked for)");
  const auto words = their_memory_.find(frame.word_chunk);
  const auto links = their_memory_.find(frame.link_chunk);
  const auto bell = their_bells_.find(frame.bell);
  if (words == their_memory_.end() || words->second.links || links == their_memory_.end() ||
      !links->second.links || bell == their_bells_.end())
    return broke("(a link in memory that it never gave)");
  const auto request = requests_.find(frame.request);
  const std::shared_ptr<Port> port =
      request != requests_.end() ? transport_.find_port(request->second.subscriber) : nullptr;
  const std::shared_ptr<Inbox> inbox = port != nullptr ? port->shared_inbox() : nullptr;
  // Of a port that was withdrawn only the state is needed, to say so.
  LinkShape shape;
  if (inbox != nullptr) {
    if (request->second.again_ns != 0 || frame.depth != request->second.depth ||
        arriving_.contains(frame.request))
      return broke("(an answer to what nobody asked for)");
    if (frame.stride < port->info().layout->tail_offset) return broke("(slots smaller than the message)");
    shape = LinkShape::of(*port->info().layout, frame.depth, port->info().subscribe.overflow, frame.slots);
  }
  auto memory = Mapping::part(links->second.whole, frame.link_at, shape.bytes());
  if (!memory) return memory.error();
  Arriving link{LinkMemory::over(std::move(*memory), shape), nullptr, bell->second};
  if (!link.claim()) return {};  // the session has ended at the other end
  if (inbox == nullptr) {        // withdrawn meanwhile
    link.refuse();
    if (request != requests_.end()) requests_.erase(request);
    return {};
  }
  if (words->second.whole == nullptr) {
    link.refuse();
    lack_addresses(frame.request, words->second.mapped.error());
    return {};
  }
  auto word = Mapping::part(words->second.whole, frame.word_at, PublisherWord::kBytes);
  if (!word) return word.error();
  link.slots = std::make_shared<SlotTable>(frame.slots, frame.stride, std::move(*word));
  if (shape.inline_bytes == 0) {
    arriving_.emplace(frame.request, std::move(link));
  } else {
    arrive(frame.request, link);
  }
  return {};
}

// The first ones make a link complete.
Result<> ShmSession::on(const shm::Slots& frame) {
  const auto arriving = arriving_.find(frame.request);
  const auto received = std::find_if(receiving_.begin(), receiving_.end(),
                                     [&](const Received& link) { return link.request == frame.request; });
  if (arriving == arriving_.end() && received == receiving_.end()) return {};  // it has ended meanwhile
  SlotTable& slots = arriving != arriving_.end() ? *arriving->second.slots : *received->slots;
  Result<> mapped;
  for (const shm::SlotRun& run : frame.runs) {
    const auto memory = their_memory_.find(run.chunk);
    if (memory == their_memory_.end() || memory->second.links)
      return broke("(slots in memory that it never gave)");
    mapped = memory->second.mapped;
    if (!mapped) break;
    auto part = Mapping::part(memory->second.whole, run.at, std::size_t{run.count} * slots.stride());
    if (!part) return part.error();
    if (!slots.add(run.first, run.count, std::move(*part)))
      return broke("(slots that cannot be, or that are somewhere else)");
  }
  if (arriving != arriving_.end()) {
    Arriving link = std::move(arriving->second);
    arriving_.erase(arriving);
    if (mapped) {
      arrive(frame.request, link);
    } else {
      link.refuse();
      link.slots.reset();
      lack_addresses(frame.request, mapped.error());
    }
    return {};
  }
  if (mapped) {
    if (const auto inbox = received->inbox.lock()) Inbox::look_again(inbox);
    return {};
  }
  end_subscription(*received);
  receiving_.erase(received);
  lack_addresses(frame.request, mapped.error());
  return {};
}

bool ShmSession::Arriving::claim() const noexcept {
  std::uint32_t nobody = 0;
  return memory.state->claimed.compare_exchange_strong(nobody, 1, std::memory_order_acq_rel);
}

void ShmSession::Arriving::refuse() const noexcept {
  memory.state->subscriber_closed.store(2, std::memory_order_release);
  bell->ring();
}

void ShmSession::arrive(std::uint64_t number, const Arriving& link) {
  const auto request = requests_.find(number);
  const std::shared_ptr<Port> port =
      request != requests_.end() ? transport_.find_port(request->second.subscriber) : nullptr;
  const std::shared_ptr<Inbox> inbox = port != nullptr ? port->shared_inbox() : nullptr;
  if (inbox == nullptr) {  // withdrawn meanwhile
    link.refuse();
    if (request != requests_.end()) requests_.erase(request);
    return;
  }
  const Layout& layout = *port->info().layout;
  request->second.again_ns = INT64_MAX;  // answered
  solved(port->info().topic);
  auto* inlet = new Inlet(link.memory, link.slots, layout.tail_offset, layout.element_bytes,
                          port->info().subscribe.max_held, link.bell, false, clock_shift_);
  inlet->asked_at(request->second.asked_ns);
  receiving_.push_back({link.memory, link.slots, inbox, request->second.publisher, number});
  inbox->attach(inlet);
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
    unmapped_there_.erase(told.first);
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

}  // namespace horus::HORUS_ABI::msg
