// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/codec/cdr_plan.hpp>

#include <algorithm>
#include <cstring>
#include <string_view>

#include <fmt/format.h>

#include <horus/msg/cdr.hpp>
#include <horus/msg/codec/ros_schema.hpp>
#include <horus/msg/ros.hpp>

namespace horus::HORUS_ABI::msg {

using Code = Description::Code;
using Member = Description::Member;
using Shape = Description::Shape;
using Type = Description::Type;

namespace {

template <class N>
N load_from(const std::byte* from) noexcept {
  N value;
  std::memcpy(&value, from, sizeof(N));
  return value;
}

std::string_view text_in(const std::byte* from, std::size_t room) noexcept {
  const auto* text = reinterpret_cast<const char*>(from);
  return {text, static_cast<std::size_t>(std::find(text, text + room, '\0') - text)};
}

}  // namespace

bool CdrReader::text(std::string_view& value) {
  std::uint32_t size = 0;
  if (!number(size)) return false;
  value = {};
  if (size == 0) return true;
  if (size > left()) return fail(fmt::format("text of {} bytes, and {} are left", size, left()));
  const std::byte* found = bytes(size);
  if (found[size - 1] != std::byte{0}) return fail("text without a zero behind it");
  value = {reinterpret_cast<const char*>(found), size - std::size_t{1}};
  return true;
}

bool CdrReader::text(char* to, std::size_t room) {
  std::string_view value;
  if (!text(value)) return false;
  if (value.size() > room) return fail(fmt::format("text of {} bytes, and room for {}", value.size(), room));
  if (value.find('\0') != std::string_view::npos) return fail("a zero within text");
  std::copy(value.begin(), value.end(), to);
  return true;
}

bool CdrReader::length(std::size_t& count, std::size_t least) {
  std::uint32_t value = 0;
  if (!number(value)) return false;
  count = value;
  if (count <= left() / std::max<std::size_t>(least, 1)) return true;
  return fail(fmt::format("a list of {} values, and {} bytes are left", count, left()));
}

// --- Making the list of steps --------------------------------------------------------------------------------------------

class CdrPlanner {
 public:
  using Op = CdrPlan::Op;
  using Step = CdrPlan::Step;

  CdrPlanner(const Description& all, CdrPlan& plan) : all_(all), plan_(plan), steps_(plan.steps_) {}

  void run() {
    const Type& root = all_.root();
    if (root.kind == Description::Kind::opaque && root.size > 0) run(0, 1, root.size, name("data"));
    for (std::size_t i = 0; i <= root.members.size(); ++i) {
      if (all_.tail.has_value() && all_.tail->place == i) tail(*all_.tail);
      if (i < root.members.size()) member(root.members[i], 0, "");
    }
  }

 private:
  // What is known of the position on the wire: `at` modulo `modulus`.
  struct Phase {
    std::uint32_t modulus = 8;
    std::uint32_t at = 0;
  };

  std::uint16_t name(std::string_view text) {
    if (plan_.names_.empty() || plan_.names_.back() != text) plan_.names_.emplace_back(text);
    return static_cast<std::uint16_t>(plan_.names_.size() - 1);
  }
  Step& push(Op op, std::uint16_t name, std::uint32_t offset) {
    Step step{op};
    step.name = name;
    step.offset = offset;
    steps_.push_back(step);
    return steps_.back();
  }

  // Bytes that CDR has as they are here. They continue a copy when nothing lies between them, here and there.
  void run(std::uint32_t offset, std::uint32_t alignment, std::uint32_t bytes, std::uint16_t name) {
    const bool is_aligned = phase_.modulus >= alignment && phase_.at % alignment == 0;
    if (steps_.size() > floor_ && steps_.back().op == Op::copy && is_aligned &&
        steps_.back().offset + steps_.back().bytes == offset) {
      steps_.back().bytes += bytes;
    } else {
      Step& step = push(Op::copy, name, offset);
      step.align = static_cast<std::uint8_t>(alignment);
      step.bytes = bytes;
    }
    if (phase_.modulus < alignment) phase_ = {alignment, 0};
    phase_.at = ((phase_.at + alignment - 1) / alignment * alignment + bytes) % phase_.modulus;
  }
  // The next step may stand anywhere.
  void lose_place() {
    phase_ = {1, 0};
    floor_ = steps_.size();
  }

  void member(const Member& member, std::uint32_t base, const std::string& path) {
    if (member.hidden) return;
    const std::string own = path.empty() ? member.name : path + "." + member.name;
    const std::uint32_t offset = base + member.offset;
    if (member.shape != Shape::sequence) {
      values(member, offset, static_cast<std::uint32_t>(member.count()), own);
      return;
    }
    const std::size_t at = steps_.size();
    Step& step = push(Op::sequence, name(own), offset);
    step.count = member.extents.front();
    step.count_offset = base + member.count_offset;
    list(at, member, own);
  }

  void values(const Member& member, std::uint32_t offset, std::uint32_t count, const std::string& path) {
    const std::uint32_t size = all_.size_of(member);
    switch (member.code) {
      case Code::opaque:
      case Code::f128: run(offset, 1, count * size, name(path)); return;
      case Code::boolean:
        push(Op::booleans, name(path), offset).count = count;
        phase_.at = (phase_.at + count) % phase_.modulus;
        return;
      case Code::text:
      case Code::stamp:
      case Code::structure: break;
      default: run(offset, size, count * size, name(path)); return;
    }
    if (count == 1) {
      value(member, offset, path);
      return;
    }
    const Phase phase = phase_;
    const std::size_t floor = floor_;
    const std::size_t at = steps_.size();
    push(Op::repeat, name(path), offset).count = count;
    list(at, member, path);
    if (!steps_[at].packed) return;
    const std::uint32_t alignment = steps_[at].align;
    steps_.resize(at);
    phase_ = phase;
    floor_ = floor;
    run(offset, alignment, count * size, name(path));
  }

  // One value of text, a stamp or a structure.
  void value(const Member& member, std::uint32_t offset, const std::string& path) {
    if (member.code == Code::structure) {
      for (const Member& inner : all_.types[member.type].members) this->member(inner, offset, path);
    } else if (member.code == Code::text) {
      push(Op::text, name(path), offset).bytes = member.text_bytes;
      lose_place();
    } else {
      push(Op::stamp, name(path), offset);
      if (phase_.modulus < 4) phase_ = {4, 0};
      phase_.at = ((phase_.at + 3) / 4 * 4 + 8) % phase_.modulus;
    }
  }

  // The steps of one value of a list, behind the step `at` which is the list's.
  void list(std::size_t at, const Member& member, const std::string& path) {
    lose_place();
    const std::uint32_t size = all_.size_of(member);
    if (is_raw(member.code)) {
      steps_[at].bytes = 1;
      steps_[at].unit = size;
      run(0, 1, 1, name(path));
    } else {
      steps_[at].bytes = size;
      if (member.code == Code::structure || member.code == Code::text || member.code == Code::stamp) {
        value(member, 0, path);
      } else {
        values(member, 0, 1, path);
      }
    }
    Step& step = steps_[at];
    step.end = static_cast<std::uint32_t>(steps_.size());
    step.least = least(at + 1, step.end);
    const Step& body = steps_[at + 1];
    if (step.end == at + 2 && body.op == Op::copy && body.offset == 0 && body.bytes == step.bytes &&
        body.bytes % body.align == 0) {
      step.packed = true;
      step.align = body.align;
    }
    lose_place();
  }

  void tail(const Description::Tail& tail) {
    const Member& element = tail.element;
    const std::size_t at = steps_.size();
    if (is_text_tail(tail)) {
      push(Op::tail_text, name(element.name), 0);
      lose_place();
      return;
    }
    push(Op::tail, name(element.name), 0);
    list(at, element, element.name);
    steps_[at].unit *= static_cast<std::uint32_t>(element.count());
  }

  // Bytes on the wire, at least.
  std::uint32_t least(std::size_t first, std::size_t last) const {
    std::uint64_t bytes = 0;
    for (std::size_t i = first; i < last;) {
      const Step& step = steps_[i];
      switch (step.op) {
        case Op::copy: bytes += step.bytes; break;
        case Op::booleans: bytes += step.count; break;
        case Op::stamp: bytes += 8; break;
        case Op::repeat: bytes += std::uint64_t{step.count} * step.least; break;
        default: bytes += 4; break;
      }
      i = step.end > 0 ? step.end : i + 1;
    }
    return static_cast<std::uint32_t>(std::clamp<std::uint64_t>(bytes, 1, UINT32_MAX));
  }

  const Description& all_;
  CdrPlan& plan_;
  std::vector<Step>& steps_;
  Phase phase_;
  std::size_t floor_ = 0;  // the first step that a copy may continue
};

CdrPlan::CdrPlan(const Description& description)
    : ros_name_(horus::ros_name(description)),
      head_bytes_(description.root().size),
      tail_bytes_(description.tail_bytes()),
      ready_(find_ready_message(description)) {
  CdrPlanner(description, *this).run();
}

// --- Following it --------------------------------------------------------------------------------------------------------

void CdrPlan::write(CdrWriter& to, const std::byte* head, std::span<const std::byte> tail) const {
  if (ready_ != nullptr) {
    ready_->write(to, head, tail);
  } else {
    write(to, 0, steps_.size(), head, tail);
  }
}

void CdrPlan::write(CdrWriter& to, std::size_t first, std::size_t last, const std::byte* base,
                    std::span<const std::byte> tail) const {
  for (std::size_t i = first; i < last;) {
    const Step& step = steps_[i];
    switch (step.op) {
      case Op::copy:
        to.align(step.align);
        to.bytes(base + step.offset, step.bytes);
        break;
      case Op::booleans:
        for (std::uint32_t k = 0; k < step.count; ++k)
          to.number(static_cast<std::uint8_t>(base[step.offset + k] != std::byte{0} ? 1 : 0));
        break;
      case Op::text: to.text(text_in(base + step.offset, step.bytes)); break;
      case Op::stamp: to.time(load_from<std::int64_t>(base + step.offset)); break;
      case Op::repeat: write_values(to, i, base + step.offset, step.count); break;
      case Op::sequence: {
        const std::uint32_t count = std::min(load_from<std::uint32_t>(base + step.count_offset), step.count);
        to.number(count * step.unit);
        write_values(to, i, base + step.offset, std::size_t{count} * step.unit);
        break;
      }
      case Op::tail:
        to.number(static_cast<std::uint32_t>(tail.size() / step.bytes));
        write_values(to, i, tail.data(), tail.size() / step.bytes);
        break;
      case Op::tail_text: to.text({reinterpret_cast<const char*>(tail.data()), tail.size()}); break;
    }
    i = step.end > 0 ? step.end : i + 1;
  }
}

void CdrPlan::write_values(CdrWriter& to, std::size_t at, const std::byte* base, std::size_t count) const {
  const Step& step = steps_[at];
  if (count == 0) return;
  if (step.packed) {
    to.align(step.align);
    to.bytes(base, count * step.bytes);
    return;
  }
  for (std::size_t k = 0; k < count; ++k) write(to, at + 1, step.end, base + k * step.bytes, {});
}

bool CdrPlan::read(CdrReader& from, std::byte* head, std::vector<std::byte>& tail) const {
  tail.clear();
  const bool good =
      ready_ != nullptr ? ready_->read(from, head, tail) : read(from, 0, steps_.size(), head, tail);
  // Some programs make the whole a multiple of four bytes.
  if (good && from.left() > 3) from.fail(fmt::format("{} bytes behind the message", from.left()));
  return from.ok();
}

bool CdrPlan::read(CdrReader& from, std::size_t first, std::size_t last, std::byte* base,
                   std::vector<std::byte>& tail) const {
  for (std::size_t i = first; i < last;) {
    const Step& step = steps_[i];
    if (!read_step(from, i, base, tail)) return from.blame(names_[step.name]);
    i = step.end > 0 ? step.end : i + 1;
  }
  return true;
}

bool CdrPlan::read_step(CdrReader& from, std::size_t at, std::byte* base,
                        std::vector<std::byte>& tail) const {
  const Step& step = steps_[at];
  switch (step.op) {
    case Op::copy: return from.align(step.align) && from.bytes(base + step.offset, step.bytes);
    case Op::booleans: {
      const std::byte* found = from.bytes(step.count);
      for (std::uint32_t k = 0; found != nullptr && k < step.count; ++k)
        base[step.offset + k] = found[k] != std::byte{0} ? std::byte{1} : std::byte{0};
      return found != nullptr;
    }
    case Op::text: return from.text(reinterpret_cast<char*>(base + step.offset), step.bytes);
    case Op::stamp: {
      std::int64_t ns = 0;
      if (!from.time(ns)) return false;
      std::memcpy(base + step.offset, &ns, sizeof ns);
      return true;
    }
    case Op::repeat: return read_values(from, at, base + step.offset, step.count);
    case Op::sequence: return read_list(from, at, base);
    case Op::tail: return read_tail(from, at, tail);
    case Op::tail_text: {
      std::string_view text;
      if (!from.text(text)) return false;
      if (text.size() > Cdr::kMostTail) return from.fail("a tail of more than 1 GiB");
      const auto* bytes = reinterpret_cast<const std::byte*>(text.data());
      tail.assign(bytes, bytes + text.size());
      return true;
    }
  }
  return false;
}

bool CdrPlan::read_list(CdrReader& from, std::size_t at, std::byte* base) const {
  const Step& step = steps_[at];
  std::size_t count = 0;
  if (!from.length(count, step.least)) return false;
  const std::size_t room = std::size_t{step.count} * step.unit;
  if (count > room) return from.fail(fmt::format("a list of {} values, and room for {}", count, room));
  if (count % step.unit != 0)
    return from.fail(fmt::format("a list of {} values is no multiple of {}", count, step.unit));
  const auto counted = static_cast<std::uint32_t>(count / step.unit);
  std::memcpy(base + step.count_offset, &counted, sizeof counted);
  return read_values(from, at, base + step.offset, count);
}

bool CdrPlan::read_tail(CdrReader& from, std::size_t at, std::vector<std::byte>& tail) const {
  const Step& step = steps_[at];
  std::size_t count = 0;
  if (!from.length(count, step.least)) return false;
  if (count % step.unit != 0)
    return from.fail(fmt::format("a list of {} values is no multiple of {}", count, step.unit));
  if (count > Cdr::kMostTail / step.bytes) return from.fail("a tail of more than 1 GiB");
  if (step.packed) {
    if (count == 0) return true;
    if (!from.align(step.align)) return false;
    const std::byte* found = from.bytes(count * step.bytes);
    if (found != nullptr) tail.assign(found, found + count * step.bytes);
    return found != nullptr;
  }
  std::vector<std::byte> none;
  for (std::size_t k = 0; k < count; ++k) {  // grows with what has arrived
    tail.resize((k + 1) * step.bytes);
    if (!read(from, at + 1, step.end, tail.data() + k * step.bytes, none)) return false;
  }
  return true;
}

bool CdrPlan::read_values(CdrReader& from, std::size_t at, std::byte* base, std::size_t count) const {
  const Step& step = steps_[at];
  if (count == 0) return true;
  if (step.packed) return from.align(step.align) && from.bytes(base, count * step.bytes);
  std::vector<std::byte> none;
  for (std::size_t k = 0; k < count; ++k)
    if (!read(from, at + 1, step.end, base + k * step.bytes, none)) return false;
  return true;
}

}  // namespace horus::HORUS_ABI::msg
