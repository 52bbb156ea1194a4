// SPDX-License-Identifier: Apache-2.0
#include <horus/record/bag.hpp>

#include <algorithm>
#include <cerrno>
#include <map>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <horus/config/tree.hpp>
#include <horus/record/recorded_type.hpp>

namespace horus::HORUS_ABI {
namespace record {

struct TopicReader::State {
  std::string topic;
  std::map<std::uint16_t, Decoder> decoders;  // by channel
};

TopicReader::TopicReader() : state_(std::make_unique<State>()) {}
TopicReader::~TopicReader() = default;

Result<std::shared_ptr<TopicReader>> TopicReader::make(const bag::Contents& contents,
                                                       const std::string& topic, const Wanted& wanted) {
  auto reader = std::make_shared<TopicReader>();
  reader->state_->topic = topic;
  for (const auto& [id, channel] : contents.channels) {
    if (channel.topic != topic) continue;
    const auto schema = contents.schemas.find(channel.schema);
    auto decoder = Decoder::make(channel, schema == contents.schemas.end() ? nullptr : &schema->second,
                                 {*wanted.description, *wanted.layout, wanted.blank_head,
                                  wanted.blank_element, wanted.changed == Changed::refused});
    if (!decoder) return decoder.error();
    reader->state_->decoders.emplace(id, std::move(*decoder));
  }
  return reader;
}

bool TopicReader::has(std::uint16_t channel) const noexcept { return state_->decoders.contains(channel); }

void TopicReader::read(const bag::Message& message) {
  const auto read = state_->decoders.at(message.channel).read(message.data, head, tail);
  if (!read)
    throw Error(read.code(), "read topic",
                fmt::format("{} at {} ns: {}", state_->topic, message.log_ns, read.error().target()));
}

}  // namespace record

Task<Result<Bag>> Bag::open(std::string path, bag::ReaderOptions options) {
  auto opening = bag::Reader::open(std::move(path), options);
  auto reader = co_await opening;
  if (!reader) co_return reader.error();
  co_return Bag(std::move(*reader));
}

Bag::Bag(bag::Reader reader) : reader_(std::move(reader)) {}
Bag::Bag(Bag&&) noexcept = default;
Bag& Bag::operator=(Bag&&) noexcept = default;
Bag::~Bag() = default;

std::vector<std::string> Bag::topics() const {
  std::vector<std::string> names;
  for (const auto& [id, channel] : contents().channels) names.push_back(channel.topic);
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

Result<std::shared_ptr<record::TopicReader>> Bag::add(const std::string& name,
                                                      const record::TopicReader::Wanted& wanted) {
  if (begun_)
    return Error(EBUSY, "read topic", name).with_detail("(name all topics before the first next())");
  const std::vector<std::string> names = topics();
  if (!std::binary_search(names.begin(), names.end(), name)) {
    const std::string near = config::nearest(name, names);
    return Error(EINVAL, "read topic", fmt::format("{} of {}", name, reader_.name()))
        .with_detail(names.empty()  ? "(the recording has no topics)"
                     : near.empty() ? fmt::format("(there is none; there are: {})", fmt::join(names, ", "))
                                    : fmt::format("(there is none; did you mean \"{}\"?)", near));
  }
  auto reader = record::TopicReader::make(contents(), name, wanted);
  if (reader) topics_.push_back(*reader);
  return reader;
}

Bag& Bag::between(Duration first, Duration last) & {
  const std::uint64_t begin = contents().statistics.first_ns;
  const auto after = [begin](Duration time) {
    const auto ns = static_cast<std::uint64_t>(std::max(time, Duration::zero()).count());
    return begin + std::min(ns, UINT64_MAX - begin);
  };
  first_ns_ = after(first);
  last_ns_ = after(last);
  return *this;
}

Task<Result<std::optional<bag::Message>>> Bag::next() {
  if (!std::exchange(begun_, true)) {
    bag::Selection selection;
    selection.first_ns = first_ns_;
    selection.last_ns = last_ns_;
    if (!topics_.empty()) {
      selection.channel = [this](const bag::Channel& channel) {
        return std::any_of(topics_.begin(), topics_.end(),
                           [&](const auto& topic) { return topic->has(channel.id); });
      };
    }
    reader_.select(std::move(selection));
  }
  auto reading = reader_.next();
  const auto message = co_await reading;
  if (message) co_return std::optional(*message);
  if (message.error().end_of_stream()) co_return std::optional<bag::Message>();
  co_return message.error();
}

}  // namespace horus::HORUS_ABI
