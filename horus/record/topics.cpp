// SPDX-License-Identifier: Apache-2.0
#include <horus/record/topics.hpp>

#include <algorithm>

#include <fmt/format.h>

#include <horus/base/log.hpp>
#include <horus/io/time.hpp>
#include <horus/msg/json.hpp>
#include <horus/msg/ros.hpp>
#include <horus/record/recorded_type.hpp>

namespace horus::HORUS_ABI::record {
namespace {

// Addresses; pages come as messages wait.
constexpr std::size_t kTapBytes = std::size_t{64} << 20;

bool fits(std::string_view name, std::string_view pattern) noexcept {
  std::size_t at = 0;
  std::size_t in = 0;
  std::size_t star = std::string_view::npos;  // the last one, and what it stands for so far ends at `mark`
  std::size_t mark = 0;
  while (at < name.size()) {
    if (in < pattern.size() && pattern[in] == '*') {
      star = in++;
      mark = at;
    } else if (in < pattern.size() && pattern[in] == name[at]) {
      ++in;
      ++at;
    } else if (star != std::string_view::npos) {
      in = star + 1;
      at = ++mark;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', in) == std::string_view::npos;
}

// Any object: dicts have the keys that they have.
constexpr std::string_view kAnyObject = R"({"type": "object", "additionalProperties": true})";

ChannelText text_of(const PublishedTopic& topic, bool described) {
  ChannelText text;
  text.topic = topic.topic;
  text.metadata = {{"horus.hub", topic.hub},
                   {"horus.layout", topic.layout.describe()},
                   {"horus.layout_hash", fmt::format("{:016x}", topic.layout.hash)}};
  if (!topic.peer.empty()) text.metadata.emplace("horus.peer", topic.peer);
  if (topic.layout.name == kDataLayout) {
    text.encoding = "json";
    text.schema_name = "horus.Data";
    text.schema_encoding = "jsonschema";
    text.schema = kAnyObject;
    return text;
  }
  keep_type(topic.layout, described ? topic.description : nullptr, text.metadata);
  if (!described) {
    text.encoding = "application/octet-stream";
    return text;
  }
  text.encoding = "cdr";
  text.schema_name = ros_name(*topic.description);
  text.schema_encoding = "ros2msg";
  text.schema = ros2msg(*topic.description);
  text.metadata.emplace("topic_type_hash", ros_type_hash(*topic.description));
  text.metadata.emplace("offered_qos_profiles", "");
  return text;
}

}  // namespace

bool fits(std::string_view name, const std::vector<std::string>& patterns) noexcept {
  return std::any_of(patterns.begin(), patterns.end(),
                     [&](const std::string& pattern) { return fits(name, std::string_view(pattern)); });
}

Topics::Topics(std::vector<std::string> topics, std::vector<std::string> left_out,
               std::int64_t clock_offset_ns)
    : clock_offset_ns_(clock_offset_ns) {
  for (OwnTopic* own : {&rosout_, &diagnostics_})
    own->wanted = (topics.empty() || fits(own->name, topics)) && !fits(own->name, left_out);
  if (rosout_.wanted) log_.emplace();
  feed_.emplace(
      [wanted = std::move(topics), unwanted = std::move(left_out)](const PublishedTopic& topic) {
        return (wanted.empty() || fits(topic.topic, wanted)) && !fits(topic.topic, unwanted);
      },
      TapOptions{.max_bytes = kTapBytes});
}

void Topics::close() noexcept {
  ready_.clear();
  sources_.clear();
  feed_.reset();
  log_.reset();
}

void Topics::leave_out(const Error& problem) {
  if (!warnings_.may(now_ns())) return;
  log_warning(problem.message() + ": it is not recorded" + warnings_.more());
}

void Topics::adopt(Sink& sink) {
  if (!feed_) return;
  TapFeed::Taken taken = feed_->take();
  for (const Error& problem : taken.problems) leave_out(problem);
  for (Tap& tap : taken.taps) {
    auto source = std::make_unique<Source>(std::move(tap));
    const PublishedTopic& topic = source->tap.topic();
    try {
      if (topic.description != nullptr) source->cdr.emplace(*topic.description);
    } catch (const Error& error) {
      log_warning(fmt::format("topic {}: recorded as bytes: {}", topic.topic, error.message()));
    }
    const Key key(topic.topic, topic.hub, topic.layout.hash);
    const auto known = channels_.find(key);
    if (known != channels_.end()) {
      source->channel = known->second;
    } else {
      auto channel = sink.channel(text_of(topic, source->cdr.has_value()));
      if (!channel) {
        leave_out(channel.error().on("record", topic.topic));
        continue;
      }
      source->channel = channels_.emplace(key, *channel).first->second;
    }
    sources_.push_back(std::move(source));
  }
}

bool Topics::is_later(const Source* a, const Source* b) noexcept {
  const auto place = [](const Source* source) {
    return std::pair(source->next->published_ns, source->tap.topic().publisher);
  };
  return place(a) > place(b);
}

void Topics::tell_missed(Sink& sink, Source& source) {
  const std::uint64_t missed = source.tap.missed();
  if (missed > source.missed) sink.lost(source.channel, missed - source.missed);
  source.missed = missed;
}

void Topics::look(Sink& sink) {
  for (std::size_t i = sources_.size(); i > 0; --i) {
    Source& source = *sources_[i - 1];
    if (source.next != nullptr) continue;
    source.next = source.tap.take();
    if (source.next != nullptr) {
      ready_.push_back(&source);
      std::push_heap(ready_.begin(), ready_.end(), &is_later);
    } else if (source.tap.ended()) {
      tell_missed(sink, source);
      sources_.erase(sources_.begin() + static_cast<std::ptrdiff_t>(i - 1));
    }
  }
}

void Topics::hand_over(Sink& sink, Source& source) {
  const Tap::Message& from = *source.next;
  const Layout& layout = source.tap.topic().layout;
  bag::Message message;
  message.channel = source.channel;
  message.sequence = static_cast<std::uint32_t>(from.sequence);
  message.publish_ns = static_cast<std::uint64_t>(from.published_ns + clock_offset_ns_);
  message.log_ns = last_ns_ = std::max(last_ns_, message.publish_ns);
  message.data = from.bytes;
  if (layout.name == kDataLayout) {
    auto json = message_pack_to_json(from.bytes);
    if (!json) {
      sink.lost(source.channel, 1);
      return;
    }
    message.data = std::as_bytes(std::span(*json));
    return sink.message(message);
  }
  if (source.cdr.has_value()) {
    const std::span<const std::byte> head =
        from.bytes.first(std::min<std::size_t>(layout.head_bytes, from.bytes.size()));
    const std::span<const std::byte> tail =
        layout.element_bytes == 0 ? std::span<const std::byte>() : from.bytes.subspan(layout.tail_offset);
    const auto size = source.cdr->size(head, tail);
    if (!size) {  // a length that the type cannot have: its publisher was not compiled with it
      sink.lost(source.channel, 1);
      return;
    }
    bytes_.resize(*size);
    source.cdr->write(head, tail, bytes_).or_throw();
    message.data = bytes_;
  }
  sink.message(message);
}

bool Topics::open(Sink& sink, OwnTopic& topic) {
  if (topic.channel) return true;
  if (!std::exchange(topic.wanted, false)) return false;  // unless this goes well
  const OwnType type = topic.type();
  PublishedTopic published;
  published.topic = topic.name;
  published.layout = type.layout;
  published.description = &type.description;
  const auto channel = sink.channel(text_of(published, true));
  if (!channel) return leave_out(channel.error().on("record", topic.name)), false;
  topic.channel = *channel;
  return topic.wanted = true;
}

void Topics::add_own(Sink& sink, OwnTopic& topic, std::int64_t at_ns) {
  bag::Message message;
  message.channel = *topic.channel;
  message.sequence = topic.sequence++;
  message.publish_ns = static_cast<std::uint64_t>(at_ns + clock_offset_ns_);
  message.log_ns = last_ns_ = std::max(last_ns_, message.publish_ns);
  message.data = bytes_;
  sink.message(message);
}

void Topics::hand_over_log(Sink& sink) {
  if (!log_) return;
  std::uint64_t lost = 0;
  const std::vector<LogLines::Line> lines = log_->take(lost);
  if ((lines.empty() && lost == 0) || !open(sink, rosout_)) return;
  if (lost > 0) sink.lost(*rosout_.channel, lost);
  for (const LogLines::Line& line : lines) {
    write_log(bytes_, line.level, line.logged_ns + clock_offset_ns_, line.text);
    add_own(sink, rosout_, line.logged_ns);
  }
}

void Topics::add_diagnostics(Sink& sink, std::int64_t now_ns, const std::vector<Diagnostic>& parts) {
  if (parts.empty() || !open(sink, diagnostics_)) return;
  write_diagnostics(bytes_, now_ns + clock_offset_ns_, parts);
  add_own(sink, diagnostics_, now_ns);
}

std::size_t Topics::pump(Sink& sink, std::size_t most) {
  adopt(sink);
  look(sink);
  std::size_t count = 0;
  for (; count < most && !ready_.empty(); ++count) {
    std::pop_heap(ready_.begin(), ready_.end(), &is_later);
    Source& source = *ready_.back();
    hand_over(sink, source);
    source.next = source.tap.take();
    if (source.next == nullptr) {
      ready_.pop_back();
    } else {
      std::push_heap(ready_.begin(), ready_.end(), &is_later);
    }
  }
  hand_over_log(sink);
  for (const auto& source : sources_) tell_missed(sink, *source);
  return count;
}

}  // namespace horus::HORUS_ABI::record
