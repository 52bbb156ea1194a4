// SPDX-License-Identifier: Apache-2.0
// Reads a recording with the types that a program has: a loop over the messages of one or several topics. One reactor's thread.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <horus/bag/reader.hpp>
#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/msg/description.hpp>
#include <horus/msg/layout.hpp>
#include <horus/msg/sample.hpp>
#include <horus/task/task.hpp>

namespace horus::HORUS_ABI {

/// What becomes of a type that has changed since it was recorded.
enum class Changed : std::uint8_t {
  /// Fields are found by their names: those that were not recorded keep their default, others are left out, and numbers and
  /// lists may have grown.
  by_name,
  refused,
};

namespace record {

/// The channels of one topic, as a program wants their messages. Internal.
class HORUS_API TopicReader {
 public:
  struct Wanted {
    const Description* description = nullptr;
    const Layout* layout = nullptr;
    std::span<const std::byte> blank_head = {};
    std::span<const std::byte> blank_element = {};
    Changed changed = Changed::by_name;
  };
  static Result<std::shared_ptr<TopicReader>> make(const bag::Contents& contents, const std::string& topic,
                                                   const Wanted& wanted);
  TopicReader();
  TopicReader(const TopicReader&) = delete;
  TopicReader& operator=(const TopicReader&) = delete;
  ~TopicReader();

  [[nodiscard]] bool has(std::uint16_t channel) const noexcept;
  /// Of a channel that it has. Throws Error(kBadInput), which names the topic.
  void read(const bag::Message& message);

  std::vector<std::byte> head;  ///< of the message that was read last
  std::vector<std::byte> tail;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace record

/// A recorded message of type T. It owns its bytes.
///
/// Semantics: `*message` and `message->` are the message (a std::string_view for text, a std::span for a vector), `tail()` the
/// elements behind it, as in Sample.
template <Message T>
class Recorded {
 public:
  using Head = typename MessageShape<T>::Head;
  using Element = detail::TailElement<T>;

  /// From memory.
  Recorded(const bag::Message& message, std::span<const std::byte> head, std::span<const std::byte> tail)
      : log_ns_(message.log_ns), publish_ns_(message.publish_ns), sequence_(message.sequence) {
    if constexpr (detail::kHasHead<T>) {
      std::memcpy(head_.bytes, head.data(), sizeof head_.bytes);
    }
    if constexpr (detail::kHasTail<T>) {
      count_ = tail.size() / sizeof(Element);
      tail_.resize((tail.size() + sizeof(Block) - 1) / sizeof(Block));
      if (!tail.empty()) std::memcpy(tail_.data(), tail.data(), tail.size());
    }
  }

  [[nodiscard]] decltype(auto) operator*() const noexcept {
    if constexpr (detail::kHasHead<T>) {
      return *head();
    } else if constexpr (std::is_same_v<T, std::string>) {
      return std::string_view(tail().data(), count_);
    } else {
      return tail();
    }
  }
  [[nodiscard]] const Head* operator->() const noexcept
    requires detail::kHasHead<T>
  {
    return head();
  }
  [[nodiscard]] std::span<const Element> tail() const noexcept {
    return {reinterpret_cast<const Element*>(tail_.data()), count_};
  }
  /// When it was recorded, nanoseconds since 1970.
  [[nodiscard]] std::uint64_t log_ns() const noexcept { return log_ns_; }
  /// When it was published, nanoseconds since 1970.
  [[nodiscard]] std::uint64_t publish_ns() const noexcept { return publish_ns_; }
  /// Its number among those of its publisher.
  [[nodiscard]] std::uint32_t sequence() const noexcept { return sequence_; }

 private:
  struct alignas(64) Block {
    std::byte bytes[64];
  };
  struct NoHead {};
  template <class H, bool has>
  struct Room {
    alignas(H) std::byte bytes[sizeof(H)];
  };
  template <class H>
  struct Room<H, false> {};

  [[nodiscard]] const Head* head() const noexcept
    requires detail::kHasHead<T>
  {
    return reinterpret_cast<const Head*>(head_.bytes);
  }

  [[no_unique_address]] Room<std::conditional_t<detail::kHasHead<T>, Head, NoHead>, detail::kHasHead<T>>
      head_;
  std::vector<Block> tail_;
  std::size_t count_ = 0;
  std::uint64_t log_ns_;
  std::uint64_t publish_ns_;
  std::uint32_t sequence_;
};

/// A topic of a Bag, whose messages are a T. From Bag::topic(); the Bag's thread.
template <Message T>
class BagTopic {
 public:
  explicit BagTopic(std::shared_ptr<record::TopicReader> reader) noexcept : reader_(std::move(reader)) {}

  /// Whether the message is of this topic.
  [[nodiscard]] bool has(const bag::Message& message) const noexcept { return reader_->has(message.channel); }
  /// The message, if it is of this topic. Throws Error(kBadInput), which names topic, byte and field, for one that is damaged or
  /// does not fit into T.
  [[nodiscard]] std::optional<Recorded<T>> from(const bag::Message& message) const {
    if (!has(message)) return std::nullopt;
    reader_->read(message);
    return Recorded<T>(message, reader_->head, reader_->tail);
  }

 private:
  std::shared_ptr<record::TopicReader> reader_;
};

/// A recording that is read with types.
///
/// Semantics: `topic<T>(name)` says which topics are read, and with which type; next() then gives their messages in the order
/// of their log time, and equal times in the order of the file. Without topics it gives all messages. A type that has changed
/// since the recording is read by the names of its fields (Changed). Recordings of others, `ros2 bag` for one, are read where
/// the ROS definition of T is the recorded one.
/// Thread safety: the thread of the reactor on which it was opened.
/// Example:
/// ```
/// auto bag = (co_await horus::Bag::open("run.mcap")).or_throw();
/// const auto odometry = bag.topic<Odometry>("odometry").or_throw();
/// const auto scans = bag.topic<LaserScan>("scan").or_throw();
/// while (true) {
///   const auto message = (co_await bag.next()).or_throw();
///   if (!message) break;
///   if (const auto odom = odometry.from(*message)) use(odom->pose);
///   if (const auto scan = scans.from(*message)) use(scan->angle_min, scan->tail());
/// }
/// ```
class HORUS_API Bag {
 public:
  /// Errors: those of bag::Reader::open.
  [[nodiscard]] static Task<Result<Bag>> open(std::string path,
                                              bag::ReaderOptions options = bag::ReaderOptions());
  explicit Bag(bag::Reader reader);
  Bag(Bag&&) noexcept;
  Bag& operator=(Bag&&) noexcept;
  ~Bag();

  /// Reads this topic, too. Errors: EINVAL with the nearest name; kTypeMismatch with the topic, both types and the first field
  /// that differs; ENOTSUP for an encoding that is not understood; EBUSY after the first next().
  template <Message T>
  [[nodiscard]] Result<BagTopic<T>> topic(const std::string& name, Changed changed = Changed::by_name) {
    using Head = typename MessageShape<T>::Head;
    using Element = typename MessageShape<T>::Element;
    record::TopicReader::Wanted wanted{&describe<T>(), &layout_of<T>(), {}, {}, changed};
    const Blank<Head> head;
    const Blank<Element> element;
    wanted.blank_head = head.bytes();
    wanted.blank_element = element.bytes();
    auto reader = add(name, wanted);
    if (!reader) return reader.error();
    return BagTopic<T>(std::move(*reader));
  }
  /// Only messages of this part of the time: `first` and `last` after the first message of the file. Before the first next().
  Bag& between(Duration first, Duration last) &;

  /// The next message, its data valid until the next call; none at the end. Errors: kBadInput with file, offset and reason
  /// for a damaged chunk; then next() goes on behind it.
  [[nodiscard]] Task<Result<std::optional<bag::Message>>> next();

  [[nodiscard]] const bag::Contents& contents() const noexcept { return reader_.contents(); }
  /// Names, sorted.
  [[nodiscard]] std::vector<std::string> topics() const;
  [[nodiscard]] const std::string& name() const noexcept { return reader_.name(); }

 private:
  // A value with its defaults, as bytes.
  template <class V>
  struct Blank {
    V value{};
    [[nodiscard]] std::span<const std::byte> bytes() const noexcept {
      return std::as_bytes(std::span(&value, 1));
    }
  };

  Result<std::shared_ptr<record::TopicReader>> add(const std::string& name,
                                                   const record::TopicReader::Wanted& wanted);

  bag::Reader reader_;
  std::vector<std::shared_ptr<record::TopicReader>> topics_;
  std::uint64_t first_ns_ = 0;
  std::uint64_t last_ns_ = UINT64_MAX;
  bool begun_ = false;
};

template <>
struct Bag::Blank<void> {
  [[nodiscard]] static std::span<const std::byte> bytes() noexcept { return {}; }
};

}  // namespace horus::HORUS_ABI
