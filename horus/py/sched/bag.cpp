// SPDX-License-Identifier: Apache-2.0
// Recordings that Python reads: outside of any loop, on the thread that asks, in batches, without the GIL.
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <horus/bag/read/at_once.hpp>
#include <horus/bag/reader.hpp>
#include <horus/bag/source.hpp>
#include <horus/base/clock.hpp>
#include <horus/msg/description.hpp>
#include <horus/msg/json.hpp>
#include <horus/msg/ros_definition.hpp>
#include <horus/py/base/bindings.hpp>
#include <horus/record/recorded_type.hpp>

#include <pybind11/stl.h>

namespace horus::python {
namespace {

constexpr std::size_t kBatchMessages = 256;
constexpr std::size_t kBatchBytes = std::size_t{1} << 20;
constexpr std::int64_t kLook_ns = 50'000'000;  // between two looks at Python's signals

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// A file, and Ctrl-C while a large one is scanned. Used without the GIL.
class PatientSource final : public bag::Source {
 public:
  explicit PatientSource(std::unique_ptr<bag::Source> file) : file_(std::move(file)) {}
  Task<Result<>> read(io::MutableBytes buffer, std::uint64_t offset) override {
    if (monotonic_ns() - looked_ns_ >= kLook_ns) {
      looked_ns_ = monotonic_ns();
      const py::gil_scoped_acquire here;
      if (PyErr_CheckSignals() != 0) {
        return refuse();
      }
    }
    return file_->read(buffer, offset);
  }
  [[nodiscard]] std::uint64_t size() const noexcept override { return file_->size(); }
  [[nodiscard]] const std::string& name() const noexcept override { return file_->name(); }

 private:
  static Task<Result<>> refuse() { co_return Error(EINTR, "read"); }

  std::unique_ptr<bag::Source> file_;
  std::int64_t looked_ns_ = monotonic_ns();
};

[[noreturn]] void raise_error(const Error& error) {
  if (PyErr_Occurred() != nullptr) throw py::error_already_set();  // a signal's
  throw Error(error);
}

// A file with damage is read all the same: Python's code goes on behind an error.
class CoreBag {
 public:
  explicit CoreBag(const std::string& path)
      : reader_([&] {
          Result<bag::Reader> opened = [&]() -> Result<bag::Reader> {
            const py::gil_scoped_release away;
            auto file = bag::open_blocking(path);
            if (!file) return file.error();
            std::unique_ptr<bag::Source> source = std::make_unique<PatientSource>(std::move(*file));
            return bag::at_once(bag::Reader::open(std::move(source), bag::ReaderOptions()));
          }();
          if (!opened) raise_error(opened.error());
          return std::move(*opened);
        }()) {}

  [[nodiscard]] py::dict about() const {
    const bag::Contents& contents = reader_.contents();
    py::dict all;
    all["bytes"] = contents.file_bytes;
    all["profile"] = to_text(contents.header.profile);
    all["library"] = to_text(contents.header.library);
    all["messages"] = contents.statistics.messages;
    all["first_ns"] = contents.statistics.first_ns;
    all["last_ns"] = contents.statistics.last_ns;
    all["indexed"] = contents.indexed;
    py::list damages;
    for (const bag::Damage& damage : contents.damages) damages.append(to_text(told(damage)));
    all["damages"] = damages;
    return all;
  }

  [[nodiscard]] py::list channels() const {
    py::list all;
    const bag::Contents& contents = reader_.contents();
    for (const auto& [id, channel] : contents.channels) {
      const bag::Schema* schema = schema_of(channel);
      py::dict one;
      one["id"] = id;
      one["topic"] = to_text(channel.topic);
      one["encoding"] = to_text(channel.encoding);
      one["schema"] = to_text(schema == nullptr ? std::string() : schema->name);
      py::dict metadata;
      for (const auto& [key, value] : channel.metadata) metadata[to_text(key)] = to_text(value);
      one["metadata"] = metadata;
      const auto count = contents.statistics.by_channel.find(id);
      one["messages"] = count == contents.statistics.by_channel.end() ? 0 : count->second;
      one["type"] = py::none();
      one["description"] = py::none();
      one["layout"] = 0;
      one["foreign"] = definition_of(channel, schema).has_value();
      if (const auto type = record::recorded_type(channel, schema); type) {
        one["type"] = to_text(type->name);
        one["layout"] = type->layout.hash;
        if (type->description != nullptr) {
          const std::vector<std::byte> encoded = type->description->encode();
          one["description"] = py::bytes(reinterpret_cast<const char*>(encoded.data()), encoded.size());
        }
      }
      all.append(one);
    }
    return all;
  }

  [[nodiscard]] py::dict metadata() {
    py::dict all;
    const std::vector<bag::MetadataIndex> indexes = reader_.contents().metadata;
    for (const bag::MetadataIndex& index : indexes) {
      auto read = bag::at_once(reader_.metadata(index));
      if (!read) raise_error(read.error());
      py::dict values;
      for (const auto& [key, value] : read->values) values[to_text(key)] = to_text(value);
      all[to_text(index.name)] = values;
    }
    return all;
  }

  // Messages of this channel come as they were in memory. Without `description`: as they were published.
  void decode(std::uint16_t id, const std::optional<py::bytes>& description, const std::string& blank_head,
              const std::string& blank_element) {
    const bag::Channel& channel = reader_.contents().channels.at(id);
    if (!description) {
      auto type = record::recorded_type(channel, schema_of(channel));
      if (!type) throw Error(type.error());
      heads_[id] = type->layout.tail_offset;
      decoders_.insert_or_assign(id, record::Decoder(std::move(*type)));
      return;
    }
    const auto wanted = Description::decode(bytes_of(static_cast<std::string_view>(*description))).or_throw();
    const Layout layout = wanted.layout();
    heads_[id] = layout.tail_offset;
    descriptions_.push_back(std::make_unique<Description>(wanted));
    decoders_.insert_or_assign(id, record::Decoder::make(channel, schema_of(channel),
                                                         {*descriptions_.back(), layout, bytes_of(blank_head),
                                                          bytes_of(blank_element)})
                                       .or_throw());
  }

  // Messages of this channel of another recorder come as JSON.
  void decode_foreign(std::uint16_t id) {
    const bag::Channel& channel = reader_.contents().channels.at(id);
    if (auto definition = definition_of(channel, schema_of(channel)))
      foreign_.emplace(id, std::move(*definition));
  }

  void select(const std::set<std::uint16_t>& ids, std::uint64_t first_ns, std::uint64_t last_ns) {
    bag::Selection selection;
    selection.channel = [ids](const bag::Channel& channel) { return ids.contains(channel.id); };
    selection.first_ns = first_ns;
    selection.last_ns = last_ns;
    reader_.select(std::move(selection));
    failure_.reset();
  }

  // (channel, sequence, log time, publish time, bytes) of the next ones; empty at the end. What goes wrong is told by the next
  // call.
  py::list next() {
    struct One {
      std::uint16_t channel;
      std::uint32_t sequence;
      std::uint64_t log_ns, publish_ns;
      std::size_t begin, size;
    };
    std::vector<One> batch;
    buffer_.clear();
    if (failure_) throw Error(*std::exchange(failure_, std::nullopt));
    {
      const py::gil_scoped_release away;
      while (batch.size() < kBatchMessages && buffer_.size() < kBatchBytes) {
        const auto message = bag::at_once(reader_.next());
        if (!message) {
          if (!message.error().end_of_stream()) failure_ = message.error();
          break;
        }
        const std::size_t begin = buffer_.size();
        if (!append(*message)) break;
        batch.push_back({message->channel, message->sequence, message->log_ns, message->publish_ns, begin,
                         buffer_.size() - begin});
      }
    }
    if (PyErr_Occurred() != nullptr) {  // Ctrl-C: nothing is lost, but what was read is not given either
      failure_.reset();
      throw py::error_already_set();
    }
    if (batch.empty() && failure_) throw Error(*std::exchange(failure_, std::nullopt));
    py::list all;
    for (const One& one : batch)
      all.append(
          py::make_tuple(one.channel, one.sequence, one.log_ns, one.publish_ns,
                         py::bytes(reinterpret_cast<const char*>(buffer_.data()) + one.begin, one.size)));
    return all;
  }

 private:
  static std::string told(const bag::Damage& damage) {
    return "at byte " + std::to_string(damage.offset) + ": " + damage.reason;
  }
  static py::object to_text(const std::string& text) {
    PyObject* made = PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace");
    if (made == nullptr) throw py::error_already_set();
    return py::reinterpret_steal<py::object>(made);
  }
  [[nodiscard]] const bag::Schema* schema_of(const bag::Channel& channel) const {
    const auto found = reader_.contents().schemas.find(channel.schema);
    return found == reader_.contents().schemas.end() ? nullptr : &found->second;
  }
  static std::optional<RosDefinition> definition_of(const bag::Channel& channel, const bag::Schema* schema) {
    if (channel.encoding != "cdr" || schema == nullptr || schema->encoding != "ros2msg") return std::nullopt;
    auto definition = parse_ros2msg(schema->name, schema->data);
    if (!definition) return std::nullopt;
    return std::move(*definition);
  }
  void fail(const bag::Message& message, const Error& error) {
    failure_ = error.on("read topic", reader_.contents().channels.at(message.channel).topic + " of " +
                                          reader_.name() + " at " + std::to_string(message.log_ns) +
                                          " ns: " + std::string(error.target()));
  }
  bool append(const bag::Message& message) {
    if (const auto foreign = foreign_.find(message.channel); foreign != foreign_.end()) {
      const auto json = cdr_to_json(foreign->second, message.data);
      if (!json) return fail(message, json.error()), false;
      const auto bytes = bytes_of(*json);
      buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
      return true;
    }
    const auto decoder = decoders_.find(message.channel);
    if (decoder == decoders_.end()) {
      buffer_.insert(buffer_.end(), message.data.begin(), message.data.end());
      return true;
    }
    if (auto read = decoder->second.read(message.data, head_, tail_); !read) {
      fail(message, read.error());
      return false;
    }
    buffer_.insert(buffer_.end(), head_.begin(), head_.end());
    if (!tail_.empty()) buffer_.resize(buffer_.size() + heads_.at(message.channel) - head_.size());
    buffer_.insert(buffer_.end(), tail_.begin(), tail_.end());
    return true;
  }

  bag::Reader reader_;
  std::map<std::uint16_t, record::Decoder> decoders_;
  std::map<std::uint16_t, std::size_t> heads_;  // where the tail begins
  std::map<std::uint16_t, RosDefinition> foreign_;
  std::vector<std::unique_ptr<Description>> descriptions_;
  std::vector<std::byte> buffer_, head_, tail_;
  std::optional<Error> failure_;
};

}  // namespace

void bind_bag(py::module_& module) {
  py::class_<CoreBag>(module, "Bag")
      .def(py::init<const std::string&>())
      .def("about", &CoreBag::about)
      .def("channels", &CoreBag::channels)
      .def("metadata", &CoreBag::metadata)
      .def("decode", &CoreBag::decode)
      .def("decode_foreign", &CoreBag::decode_foreign)
      .def("select", &CoreBag::select)
      .def("next", &CoreBag::next);
}

}  // namespace horus::python
