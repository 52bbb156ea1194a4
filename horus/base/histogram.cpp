// SPDX-License-Identifier: Apache-2.0
// The parts of Histogram that are not on the recording path.
#include <horus/base/histogram.hpp>

#include <algorithm>
#include <cmath>
#include <utility>

namespace horus::HORUS_ABI {

Histogram::Histogram(const Histogram& other) { merge(other); }

Histogram::Histogram(Histogram&& other) noexcept { *this = std::move(other); }

Histogram& Histogram::operator=(const Histogram& other) {
  if (this != &other) *this = Histogram(other);
  return *this;
}

Histogram& Histogram::operator=(Histogram&& other) noexcept {
  if (this == &other) return *this;
  rows_ = std::move(other.rows_);
  count_ = other.count_;
  sum_low_ = other.sum_low_;
  sum_high_ = other.sum_high_;
  min_ = other.min_;
  max_ = other.max_;
  other.reset();
  return *this;
}

Histogram::~Histogram() = default;

Histogram::Row& Histogram::new_row(int row) {
  if (rows_ == nullptr) rows_ = std::make_unique<Rows>();
  auto& place = (*rows_)[static_cast<size_t>(row)];
  if (place == nullptr) place = std::make_unique<Row>();
  return *place;
}

uint64_t Histogram::highest_in(size_t row, size_t column) noexcept {
  if (row == 0) return column;
  const uint64_t step = uint64_t{1} << (row - 1);
  return (kColumns + column) * step + (step - 1);
}

double Histogram::mean() const noexcept {
  if (count_ == 0) return 0;
  return (std::ldexp(static_cast<double>(sum_high_), 64) + static_cast<double>(sum_low_)) /
         static_cast<double>(count_);
}

uint64_t Histogram::percentile(double percent) const noexcept {
  if (count_ == 0) return 0;
  if (!(percent > 0)) return min_;
  if (percent >= 100) return max_;
  const double wanted = std::ceil(percent / 100 * static_cast<double>(count_));
  const uint64_t rank = std::max<uint64_t>(1, static_cast<uint64_t>(wanted));
  uint64_t seen = 0;
  for (size_t row = 0; row < kRows; ++row) {
    const Row* buckets = (*rows_)[row].get();
    if (buckets == nullptr) continue;
    for (size_t column = 0; column < kColumns; ++column) {
      seen += (*buckets)[column];
      if (seen >= rank) return std::clamp(highest_in(row, column), min_, max_);
    }
  }
  return max_;
}

uint64_t Histogram::max_since(const Histogram& earlier) const noexcept {
  if (count_ == earlier.count_) return 0;
  for (size_t row = kRows; row-- > 0;) {
    const Row* buckets = (*rows_)[row].get();
    if (buckets == nullptr) continue;
    const Row* before = earlier.rows_ == nullptr ? nullptr : (*earlier.rows_)[row].get();
    for (size_t column = kColumns; column-- > 0;) {
      if ((*buckets)[column] > (before == nullptr ? 0 : (*before)[column]))
        return std::min(highest_in(row, column), max_);
    }
  }
  return 0;
}

void Histogram::merge(const Histogram& other) {
  if (other.count_ == 0) return;
  for (size_t row = 0; row < kRows; ++row) {
    const Row* from = (*other.rows_)[row].get();
    if (from == nullptr) continue;
    Row& to = new_row(static_cast<int>(row));
    for (size_t column = 0; column < kColumns; ++column) to[column] += (*from)[column];
  }
  count_ += other.count_;
  const uint64_t added = other.sum_low_;  // `other` may be this histogram
  sum_low_ += added;
  sum_high_ += other.sum_high_ + (sum_low_ < added ? 1 : 0);
  min_ = std::min(min_, other.min_);
  max_ = std::max(max_, other.max_);
}

void Histogram::reset() noexcept {
  rows_.reset();
  count_ = 0;
  sum_low_ = 0;
  sum_high_ = 0;
  min_ = std::numeric_limits<uint64_t>::max();
  max_ = 0;
}

}  // namespace horus::HORUS_ABI
