// SPDX-License-Identifier: Apache-2.0
#include <horus/sim/files/contents.hpp>

#include <algorithm>
#include <cstring>

namespace horus::HORUS_ABI::sim::detail {

// A page that others share, or that is a hole, becomes this file's own first.
std::string& Contents::writable(std::uint64_t number) {
  Page& page = pages_[number];
  if (!page) {
    page = std::make_shared<std::string>(kPage, '\0');
  } else if (page.use_count() > 1) {
    page = std::make_shared<std::string>(*page);
  }
  return const_cast<std::string&>(*page);
}

std::size_t Contents::read(std::uint64_t offset, void* out, std::size_t size) const {
  if (offset >= size_) return 0;
  const std::size_t wanted = static_cast<std::size_t>(std::min<std::uint64_t>(size, size_ - offset));
  auto* to = static_cast<char*>(out);
  for (std::size_t done = 0; done < wanted;) {
    const std::uint64_t at = offset + done;
    const std::size_t within = static_cast<std::size_t>(at % kPage);
    const std::size_t piece = std::min(kPage - within, wanted - done);
    const auto page = pages_.find(at / kPage);
    if (page == pages_.end()) {
      std::memset(to + done, 0, piece);
    } else {
      std::memcpy(to + done, page->second->data() + within, piece);
    }
    done += piece;
  }
  return wanted;
}

void Contents::write(std::uint64_t offset, const void* data, std::size_t size) {
  const auto* from = static_cast<const char*>(data);
  for (std::size_t done = 0; done < size;) {
    const std::uint64_t at = offset + done;
    const std::size_t within = static_cast<std::size_t>(at % kPage);
    const std::size_t piece = std::min(kPage - within, size - done);
    std::memcpy(writable(at / kPage).data() + within, from + done, piece);
    done += piece;
  }
  if (size > 0) size_ = std::max(size_, offset + size);
}

void Contents::resize(std::uint64_t size) {
  if (size <= size_) {
    pages_.erase(pages_.lower_bound((size + kPage - 1) / kPage), pages_.end());
    const std::size_t kept = static_cast<std::size_t>(size % kPage);
    if (kept > 0 && pages_.contains(size / kPage)) {
      std::string& last = writable(size / kPage);
      std::fill(last.begin() + static_cast<std::ptrdiff_t>(kept), last.end(), '\0');
    }
  }
  size_ = size;
}

void Contents::allocate(std::uint64_t offset, std::uint64_t size) {
  for (std::uint64_t page = offset / kPage; page * kPage < offset + size; ++page) writable(page);
  size_ = std::max(size_, offset + size);
}

std::string Contents::text() const {
  std::string all(static_cast<std::size_t>(size_), '\0');
  read(0, all.data(), all.size());
  return all;
}

std::set<std::uint64_t> Contents::differing(const Contents& one, const Contents& other) {
  std::set<std::uint64_t> numbers;
  for (const auto& [number, page] : one.pages_) {
    const auto same = other.pages_.find(number);
    if (same == other.pages_.end() || same->second != page) numbers.insert(number);
  }
  for (const auto& [number, page] : other.pages_) {
    if (!one.pages_.contains(number)) numbers.insert(number);
  }
  return numbers;
}

void Contents::take_page(std::uint64_t number, const Contents& from) {
  const auto page = from.pages_.find(number);
  if (page == from.pages_.end()) {
    pages_.erase(number);
  } else {
    pages_[number] = page->second;
  }
}

}  // namespace horus::HORUS_ABI::sim::detail
