// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/link/link_memory.hpp>

#include <algorithm>
#include <bit>
#include <utility>

namespace horus::HORUS_ABI::msg {
namespace {

// Entries that a publisher fills while its subscriber, which has just looked how far it is, gets hold of the first message
// of its batch: two cache lines that another CPU writes, a microsecond on a bad day. With fewer it is overtaken for ever.
constexpr std::uint32_t kHeadStart = 112;

std::size_t whole_lines(std::size_t bytes) noexcept { return (bytes + 255) / 256 * 256; }

// Who may be overtaken reads a batch as long as the queue while as many messages come behind it.
std::uint32_t capacity_of(const LinkShape& shape) noexcept {
  if (!shape.drops_oldest) return std::bit_ceil(shape.depth);
  return std::bit_ceil(shape.depth + std::max(shape.depth + 8, kHeadStart));
}

std::size_t entries_bytes(const LinkShape& shape) noexcept {
  return std::size_t{capacity_of(shape)} * entry_bytes(shape.inline_bytes);
}

}  // namespace

LinkShape LinkShape::of(const Layout& layout, std::uint32_t depth, Overflow overflow,
                        std::uint32_t slots) noexcept {
  const bool is_inline = layout.element_bytes == 0 && layout.head_bytes <= kMostInline;
  LinkShape shape;
  shape.depth = overflow == Overflow::latest ? 1 : depth;
  shape.drops_oldest = overflow != Overflow::drop_newest;
  shape.inline_bytes = is_inline ? std::max<std::uint32_t>(layout.head_bytes, 1) : 0;
  shape.slots = is_inline ? 0 : slots;
  return shape;
}

std::size_t LinkShape::bytes() const noexcept {
  const std::size_t returns = slots == 0 ? 0 : std::size_t{4} * std::bit_ceil(slots);
  return whole_lines(sizeof(LinkState)) + whole_lines(entries_bytes(*this)) + whole_lines(returns);
}

LinkMemory LinkMemory::over(std::shared_ptr<Mapping> memory, const LinkShape& shape,
                            std::size_t offset) noexcept {
  LinkMemory link;
  link.shape = shape;
  std::byte* at = memory->data() + offset;
  link.state = reinterpret_cast<LinkState*>(at);
  at += whole_lines(sizeof(LinkState));
  link.words.pushed = &link.state->pushed;
  link.words.taken = &link.state->taken;
  link.words.dropped = &link.state->dropped;
  link.words.until = &link.state->until;
  link.words.entries = reinterpret_cast<std::atomic<std::uint64_t>*>(at);
  link.words.capacity = capacity_of(shape);
  link.words.entry_words = entry_bytes(shape.inline_bytes) / 8;
  link.words.inline_words = (shape.inline_bytes + 7) / 8;
  at += whole_lines(entries_bytes(shape));
  if (shape.slots != 0) {
    link.returns = reinterpret_cast<std::atomic<std::uint32_t>*>(at);
    link.return_capacity = std::bit_ceil(shape.slots);
  }
  link.memory = std::move(memory);
  return link;
}

}  // namespace horus::HORUS_ABI::msg
