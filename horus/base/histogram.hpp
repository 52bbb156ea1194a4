// SPDX-License-Identifier: Apache-2.0
// Counts of durations in buckets of bounded relative width: percentiles of millions of ticks in a few KiB.
// One thread at a time. A histogram owns its buckets; copies share nothing.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>

#include <horus/base/export.hpp>

namespace horus::HORUS_ABI {

/// Log-linear histogram of unsigned values, usually nanoseconds (the bucket scheme of Gil Tene's
/// HdrHistogram).
///
/// Values below 128 are counted exactly; above, each power of two has 128 equal buckets. percentile() gives
/// the highest value of the bucket, so it never understates and overstates by less than 1/128 (0.8 %); count,
/// min and max are exact; the mean has the precision of a double.
///
/// Memory: nothing before the first value, then 1 KiB for each power of two that occurs, 59 KiB at most.
/// Recording allocates only when a power of two occurs for the first time.
///
/// Thread safety: as for a plain value.
class HORUS_API Histogram {
 public:
  Histogram() noexcept = default;
  Histogram(const Histogram& other);
  Histogram(Histogram&& other) noexcept;
  Histogram& operator=(const Histogram& other);
  Histogram& operator=(Histogram&& other) noexcept;
  ~Histogram();

  void record(uint64_t value) {
    const int row = row_of(value);
    Row* buckets = rows_ == nullptr ? nullptr : (*rows_)[static_cast<size_t>(row)].get();
    if (buckets == nullptr) [[unlikely]]
      buckets = &new_row(row);
    ++(*buckets)[column_of(value, row)];
    ++count_;
    sum_low_ += value;
    sum_high_ += sum_low_ < value ? 1 : 0;
    if (value < min_) min_ = value;  // branches that are hardly ever taken cost less than two more stores
    if (value > max_) max_ = value;
  }

  /// Have the processor fetch what record(value) will need, in two steps, as the second depends on the first: for whoever
  /// records into many histograms at once. They change nothing.
  void fetch_row(uint64_t value) const noexcept {
    if (rows_ != nullptr) __builtin_prefetch(&(*rows_)[static_cast<size_t>(row_of(value))]);
  }
  void fetch_bucket(uint64_t value) const noexcept {
    const int row = row_of(value);
    const Row* const buckets = rows_ == nullptr ? nullptr : (*rows_)[static_cast<size_t>(row)].get();
    if (buckets != nullptr) __builtin_prefetch(&(*buckets)[column_of(value, row)], 1);
  }

  /// Number of recorded values.
  uint64_t count() const noexcept { return count_; }
  bool empty() const noexcept { return count_ == 0; }

  /// Smallest, largest and mean value; 0 when empty.
  uint64_t min() const noexcept { return count_ == 0 ? 0 : min_; }
  uint64_t max() const noexcept { return max_; }
  double mean() const noexcept;

  /// The value that `percent` (0 to 100, else clamped) of the recorded values do not exceed; 0 when empty.
  uint64_t percentile(double percent) const noexcept;

  /// The highest value recorded since `earlier`, a former copy of this one, to the precision of percentile(); 0 when
  /// there is none.
  uint64_t max_since(const Histogram& earlier) const noexcept;

  /// Adds all that `other` counted.
  void merge(const Histogram& other);

  /// Forgets every value and frees the buckets.
  void reset() noexcept;

 private:
  static constexpr int kColumnBits = 7;
  static constexpr size_t kColumns = size_t{1} << kColumnBits;
  static constexpr size_t kRows = 64 - kColumnBits + 1;
  using Row = std::array<uint64_t, kColumns>;
  using Rows = std::array<std::unique_ptr<Row>, kRows>;

  // Row 0: values below 128. Row r: values with r + 7 significant bits, in steps of 2^(r - 1).
  static int row_of(uint64_t value) noexcept { return std::bit_width(value | (kColumns - 1)) - kColumnBits; }
  static size_t column_of(uint64_t value, int row) noexcept {
    return (value >> (row - (row > 0))) & (kColumns - 1);
  }
  static uint64_t highest_in(size_t row, size_t column) noexcept;
  Row& new_row(int row);

  std::unique_ptr<Rows> rows_;
  uint64_t count_ = 0;
  uint64_t sum_low_ = 0;  // integers: a double's addition would be the slowest part of record()
  uint64_t sum_high_ = 0;
  uint64_t min_ = std::numeric_limits<uint64_t>::max();
  uint64_t max_ = 0;
};

}  // namespace horus::HORUS_ABI
