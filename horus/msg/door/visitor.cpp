// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/door/visitor.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>
#include <utility>

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fmt/format.h>

#include <horus/config/tree.hpp>
#include <horus/io/dump_all.hpp>
#include <horus/io/seam/clock.hpp>
#include <horus/msg/door/insight.hpp>
#include <horus/msg/link/outbox.hpp>
#include <horus/msg/session/hub_core.hpp>

namespace horus::HORUS_ABI::msg::door {
namespace {

constexpr std::size_t kPiece = std::size_t{64} * 1024;  // read at once
constexpr int kRequestsAtOnce = 64;
constexpr std::size_t kMostOwed = kLongestText;  // of answers; further requests wait
constexpr std::size_t kAnswerRoom = kLongestText - 1024;
constexpr std::size_t kNamesShown = 8;
constexpr std::size_t kMostDump = std::size_t{512} * 1024;  // bytes of tasks
constexpr std::size_t kMostEscape = 6;                      // of a byte, in JSON
constexpr Duration kGoodbye = std::chrono::seconds(1);      // to read why
constexpr Duration kLookEvery = std::chrono::milliseconds(100);

// What a publisher is called in an answer.
std::string named(const PublishedTopic& topic) {
  return fmt::format("publisher {} of hub {}", topic.publisher, topic.hub);
}

inspect::Topic topic_of(const PublishedTopic& published) {
  inspect::Topic topic;
  topic.publisher = published.publisher;
  topic.name = published.topic;
  topic.hub = published.hub;
  topic.peer = published.peer;
  topic.type = published.layout.name;
  topic.layout = published.layout.describe();
  topic.layout_hash = published.layout.hash;
  if (const auto outbox = HubCore::publisher(published.publisher)) {
    const PublisherMetrics metrics = outbox->metrics();
    topic.published = metrics.published;
    topic.bytes = metrics.bytes;
    topic.dropped = metrics.dropped;
    if (metrics.last_ns > 0)
      topic.silent = Duration(std::max<std::int64_t>(monotonic_ns() - metrics.last_ns, 0));
    topic.subscribers = metrics.subscribers;
  }
  return topic;
}

// The publisher that a request means. Errors: EINVAL with what there is.
Result<PublishedTopic> find(const Request& request) {
  std::vector<PublishedTopic> candidates;
  std::vector<std::string> names;
  for (PublishedTopic& topic : published_topics()) {
    const bool meant = request.publisher > 0 ? topic.publisher == request.publisher
                                             : topic.topic == request.topic &&
                                                   (request.hub.empty() || topic.hub == request.hub);
    if (std::find(names.begin(), names.end(), topic.topic) == names.end()) names.push_back(topic.topic);
    if (meant) candidates.push_back(std::move(topic));
  }
  if (candidates.size() == 1) return std::move(candidates.front());
  if (candidates.size() > 1) {
    std::string list;
    for (std::size_t i = 0; i < std::min(candidates.size(), kNamesShown); ++i)
      list += (i == 0 ? "" : ", ") + named(candidates[i]);
    return Error(EINVAL, "tap",
                 fmt::format("{} has {} publishers here: name one by its number ({})", request.topic,
                             candidates.size(), list));
  }
  if (request.publisher > 0)
    return Error(EINVAL, "tap", fmt::format("there is no publisher {} (any more)", request.publisher));
  const std::string near = config::nearest(request.topic, names);
  if (!near.empty() && near != request.topic)
    return Error(EINVAL, "tap",
                 fmt::format("nobody publishes {} here: did you mean {}?", request.topic, near));
  if (names.size() > kNamesShown) names.resize(kNamesShown);
  return Error(EINVAL, "tap",
               fmt::format("nobody publishes {} {}{}", request.topic,
                           request.hub.empty() ? "here" : "in the hub " + request.hub,
                           names.empty() ? "" : fmt::format(" (there are: {})", fmt::join(names, ", "))));
}

// As much as fits into an answer, in whole lines.
std::string tasks() {
  std::string dump = io::dump_all_tasks();
  std::size_t room = std::min(kMostDump, kAnswerRoom);
  const auto doubled = static_cast<std::size_t>(std::count_if(dump.begin(), dump.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == '"' || c == '\\' ||
           static_cast<unsigned char>(c) >= 0x80;
  }));
  if (dump.size() + doubled * (kMostEscape - 1) <= room) return dump;
  room /= kMostEscape;
  if (dump.size() <= room) return dump;
  dump.resize(dump.rfind('\n', room) == std::string::npos ? room : dump.rfind('\n', room) + 1);
  return dump + "... and more\n";
}

}  // namespace

std::vector<inspect::Topic> topics_after(std::uint64_t after) {
  std::vector<inspect::Topic> topics;
  for (const PublishedTopic& published : published_topics()) {
    if (published.publisher > after) topics.push_back(topic_of(published));
  }
  std::sort(topics.begin(), topics.end(), [](const inspect::Topic& one, const inspect::Topic& other) {
    return one.publisher < other.publisher;
  });
  return topics;
}

inspect::Process Host::at(std::int64_t now_ns) const {
  inspect::Process now = process;
  now.uptime = Duration(now_ns - started_ns);
  now.unix_offset_ns = wall_clock_ns() - now_ns;
  return now;
}

Visitor::Visitor(int socket, const Host& host, const DoorLimits& limits, std::int64_t now_ns)
    : limits_(limits), host_(host), socket_(socket), hello_until_ns_(now_ns + limits.hello_limit.count()) {
  Answer greeting;
  greeting.lowest = kLowestVersion;
  greeting.highest = kHighestVersion;
  greeting.features = {"topics", "describe", "nodes", "tasks", "act", "tap"};
  say(greeting);
}

Visitor::~Visitor() {
  if (socket_ >= 0) ::close(socket_);
}

void Visitor::forget() noexcept {
  if (socket_ >= 0) ::close(std::exchange(socket_, -1));
}

bool Visitor::owes_much() const noexcept { return owed_bytes_ >= kMostOwed; }

short Visitor::events() const noexcept {
  const bool reads = gone_at_ns_ == INT64_MAX && !owes_much();
  return static_cast<short>((reads ? POLLIN : 0) | (unsent() > 0 ? POLLOUT : 0));
}

// --- Requests

void Visitor::serve(bool readable, std::int64_t now_ns) {
  has_more_ = false;
  if (gone_ || gone_at_ns_ != INT64_MAX) return;
  if (readable && !owes_much()) receive();
  const std::uint64_t frames = in_.frames();
  for (int served = 0; !gone_ && gone_at_ns_ == INT64_MAX && !owes_much(); ++served) {
    if (served == kRequestsAtOnce) {
      has_more_ = true;
      break;
    }
    auto frame = in_.next();
    if (!frame) {
      dismiss(frame.error().message(), now_ns);
    } else if (!*frame) {
      break;
    } else if ((*frame)->kind == FrameKind::text) {
      answer((*frame)->payload, now_ns);
    }
  }
  stalled_ = owes_much();
  // Whole requests that wait for room have come in time.
  if (!in_.in_frame() || in_.frames() != frames || has_more_ || stalled_) frame_until_ns_ = INT64_MAX;
  if (hung_up_ && !has_more_ && !stalled_ && gone_at_ns_ == INT64_MAX) {
    taps_.clear();
    gone_at_ns_ = now_ns + kGoodbye.count();
  } else if (in_.in_frame() && !has_more_ && !stalled_ && frame_until_ns_ == INT64_MAX) {
    frame_until_ns_ = now_ns + limits_.frame_limit.count();
  }
}

void Visitor::receive() {
  std::array<std::byte, kPiece> piece;
  const ssize_t bytes = ::recv(socket_, piece.data(), piece.size(), MSG_DONTWAIT);
  if (bytes > 0) {
    in_.append(FrameBytes(piece).first(static_cast<std::size_t>(bytes)));
  } else if (bytes == 0) {
    hung_up_ = true;
  } else if (errno != EAGAIN && errno != EINTR) {
    gone_ = true;
  }
}

void Visitor::answer(FrameBytes text, std::int64_t now_ns) {
  auto request = read_request(text);
  if (const auto* refused = std::get_if<Refused>(&request)) {
    if (refused->hopeless) return dismiss("a frame could not be read: " + refused->why, now_ns);
    Answer refusal;
    refusal.id = refused->id;
    refusal.error = refused->why;
    return say(refusal);
  }
  const Answer answered = answer(std::get<Request>(request), now_ns);
  say(answered);
  if (!greeted_) dismiss(answered.error, now_ns);
}

Answer Visitor::answer(const Request& request, std::int64_t now_ns) {
  Answer answer;
  answer.id = request.id;
  if (!greeted_ && request.kind != Request::Kind::hello) {
    answer.error = R"(say hello first: {"id": 1, "request": "hello", "lowest": 1, "highest": 1})";
    return answer;
  }
  switch (request.kind) {
    case Request::Kind::hello: hello(request, answer, now_ns); break;
    case Request::Kind::process: answer.process = host_.at(now_ns); break;
    case Request::Kind::topics: {
      answer.topics.emplace();
      std::size_t bytes = 0;
      for (inspect::Topic& topic : topics_after(request.after)) {
        bytes += room_for(topic);
        if (bytes > kAnswerRoom) {
          answer.more_after = answer.topics->empty() ? topic.publisher : answer.topics->back().publisher;
          break;
        }
        answer.topics->push_back(std::move(topic));
      }
      break;
    }
    case Request::Kind::describe: describe(request, answer); break;
    case Request::Kind::nodes: nodes(request, answer); break;
    case Request::Kind::tasks: answer.tasks = tasks(); break;
    case Request::Kind::act:
      if (auto done = act(request.action, request.node)) {
        answer.done = *done;
      } else {
        answer.error = done.error().target();
      }
      break;
    case Request::Kind::tap: tap(request, answer); break;
    case Request::Kind::untap: untap(request, answer); break;
  }
  return answer;
}

void Visitor::describe(const Request& request, Answer& answer) {
  const auto topic = find(request);
  if (!topic) {
    answer.error = topic.error().target();
    return;
  }
  // Types are described for ever; what has been described with another layout is not this type.
  const Description* description = topic->description;
  if (description != nullptr && description->layout().hash != topic->layout.hash) description = nullptr;
  std::size_t bytes = kMostEscape * (topic->layout.name.size() + topic->layout.fields.size());
  if (description != nullptr) bytes += 2 * description->encode().size();
  if (bytes > kAnswerRoom) {
    answer.error = fmt::format("the description of {} is too long for an answer", topic->layout.name);
    return;
  }
  answer.type.emplace(inspect::MessageType{
      topic->layout, std::shared_ptr<const Description>(std::shared_ptr<void>(), description)});
}

void Visitor::nodes(const Request& request, Answer& answer) {
  std::vector<inspect::Node> all = all_nodes();
  std::vector<inspect::Node>& told = answer.nodes.emplace();
  std::size_t bytes = 0;
  for (std::size_t i = static_cast<std::size_t>(std::min<std::uint64_t>(request.after, all.size()));
       i < all.size(); ++i) {
    bytes += room_for(all[i]);
    if (bytes > kAnswerRoom && !told.empty()) {
      answer.more_after = i;
      break;
    }
    told.push_back(std::move(all[i]));
  }
}

void Visitor::hello(const Request& request, Answer& answer, std::int64_t now_ns) {
  if (request.lowest > kHighestVersion || request.highest < kLowestVersion) {
    answer.error = fmt::format(
        "this program speaks versions {} to {} of the door's protocol, and the visitor {} to {}: use a "
        "visitor of "
        "its version of Horus, {}",
        kLowestVersion, kHighestVersion, request.lowest, request.highest, host_.process.version);
    return;
  }
  greeted_ = true;
  hello_until_ns_ = INT64_MAX;
  answer.lowest = kLowestVersion;
  answer.highest = kHighestVersion;
  answer.process = host_.at(now_ns);
}

void Visitor::tap(const Request& request, Answer& answer) {
  if (taps_.size() >= limits_.max_taps) {
    answer.error = fmt::format("a visitor may have {} taps at a time: untap one first", limits_.max_taps);
    return;
  }
  auto topic = find(request);
  if (!topic) {
    answer.error = topic.error().target();
    return;
  }
  auto tap = Tap::open(*topic, {.max_bytes = static_cast<std::size_t>(request.max_bytes)});
  if (!tap) {
    answer.error = tap.error().message();
    return;
  }
  taps_.push_back({++last_number_, std::move(*tap)});
  answer.subscription = last_number_;
  answer.topics.emplace().push_back(topic_of(*topic));
}

void Visitor::untap(const Request& request, Answer& answer) {
  const auto found = std::find_if(taps_.begin(), taps_.end(), [&](const Tapped& tapped) {
    return tapped.number == request.subscription;
  });
  if (found == taps_.end()) {
    answer.error = fmt::format("there is no subscription {} (any more)", request.subscription);
    return;
  }
  // What is there goes out before the answer, as far as there is room.
  static_cast<void>(take_some(*found));
  std::uint64_t left = found->waiting != nullptr ? 1 : 0;
  // A publisher that sends all the time does not keep this thread.
  for (std::uint32_t i = 0; i < TapOptions::kMostMessages && found->tap.take() != nullptr; ++i) ++left;
  answer.subscription = found->number;
  answer.missed = found->missed() + left;
  taps_.erase(found);
}

void Visitor::say(const Answer& answer) {
  const std::size_t before = out_.size();
  append_text(out_, write_answer(answer));
  const std::size_t bytes = out_.size() - before;
  owed_bytes_ += bytes;
  owed_.push_back({sent_ever_ + unsent(), bytes});
}

// --- Messages

void Visitor::take_messages(std::int64_t now_ns) {
  if (gone_ || gone_at_ns_ != INT64_MAX || taps_.empty()) return;
  // Each in turn is the first, so that none takes all the room for ever.
  std::rotate(taps_.begin(), taps_.begin() + 1, taps_.end());
  const bool look = now_ns >= next_look_ns_;
  if (look) next_look_ns_ = now_ns + kLookEvery.count();
  for (Tapped& tapped : taps_) {
    const bool all = take_some(tapped);
    if (!look) continue;
    tell_missed(tapped);
    if (!all || !tapped.tap.ended()) continue;
    Answer end;
    end.event = "ended";
    end.subscription = tapped.number;
    end.missed = tapped.missed();
    say(end);
    tapped.number = 0;
  }
  std::erase_if(taps_, [](const Tapped& tapped) { return tapped.number == 0; });
}

// What does not fit stays in the tap, which counts what it has to give up meanwhile. True: it had no more.
bool Visitor::take_some(Tapped& tapped) {
  while (true) {
    const Tap::Message* message = std::exchange(tapped.waiting, nullptr);
    if (message == nullptr) message = tapped.tap.take();
    if (message == nullptr) return true;
    if (message->bytes.size() > kLongestMessage) {
      ++tapped.too_long;
      continue;
    }
    const std::size_t size = kFrameHead + kDataHead + message->bytes.size();
    const std::size_t waiting = unsent();
    if (waiting > 0 && waiting + size > limits_.max_unsent) {
      tapped.waiting = message;
      return false;
    }
    append_data(out_, {tapped.number, message->published_ns, message->sequence}, message->bytes);
  }
}

void Visitor::tell_missed(Tapped& tapped) {
  const std::uint64_t missed = tapped.missed();
  if (missed == tapped.told_missed || owes_much()) return;
  tapped.told_missed = missed;
  Answer told;
  told.event = "missed";
  told.subscription = tapped.number;
  told.missed = missed;
  say(told);
}

// --- The socket

void Visitor::send(std::int64_t now_ns) {
  while (!gone_ && unsent() > 0) {
    const ssize_t bytes = ::send(socket_, out_.data() + sent_, unsent(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes < 0 && errno != EAGAIN) gone_ = true;
    if (bytes <= 0) break;
    sent_ += static_cast<std::size_t>(bytes);
    sent_ever_ += static_cast<std::uint64_t>(bytes);
    unread_until_ns_ = INT64_MAX;
  }
  while (!owed_.empty() && owed_.front().end <= sent_ever_) {
    owed_bytes_ -= owed_.front().bytes;
    owed_.pop_front();
  }
  if (unsent() == 0) {
    out_.clear();
    sent_ = 0;
    if (out_.capacity() > kPiece) out_.shrink_to_fit();
    if (gone_at_ns_ != INT64_MAX) gone_ = true;
  } else {
    if (sent_ > out_.size() / 2) {
      out_.erase(out_.begin(), out_.begin() + static_cast<std::ptrdiff_t>(sent_));
      sent_ = 0;
    }
    if (unread_until_ns_ == INT64_MAX) unread_until_ns_ = now_ns + limits_.unread_limit.count();
  }
}

void Visitor::dismiss(std::string_view why, std::int64_t now_ns) {
  if (gone_ || gone_at_ns_ != INT64_MAX) return;
  taps_.clear();
  Answer goodbye;
  goodbye.event = "closing";
  goodbye.error = why;
  say(goodbye);
  has_more_ = false;
  gone_at_ns_ = now_ns + kGoodbye.count();
}

void Visitor::look_at_clock(std::int64_t now_ns) {
  if (now_ns >= gone_at_ns_) gone_ = true;
  if (now_ns >= hello_until_ns_) dismiss("it did not say hello in time", now_ns);
  if (now_ns >= frame_until_ns_) dismiss("a request did not come to its end in time", now_ns);
  if (now_ns >= unread_until_ns_) dismiss("it did not read what it was sent", now_ns);
}

std::int64_t Visitor::next_limit_ns() const noexcept {
  if (gone_at_ns_ != INT64_MAX) return gone_at_ns_;
  return std::min({hello_until_ns_, frame_until_ns_, unread_until_ns_});
}

}  // namespace horus::HORUS_ABI::msg::door
