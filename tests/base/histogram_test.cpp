// SPDX-License-Identifier: Apache-2.0
// Histogram against the sorted values themselves.
#include <horus/base/histogram.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include <doctest/doctest.h>

using horus::Histogram;

namespace {

constexpr uint64_t kMost = std::numeric_limits<uint64_t>::max();

uint64_t exact_percentile(const std::vector<uint64_t>& sorted, double percent) {
  const double rank = std::ceil(percent / 100 * static_cast<double>(sorted.size()));
  return sorted[std::max<size_t>(1, static_cast<size_t>(rank)) - 1];
}

// Everything that the header promises, for these values.
void check_against(const Histogram& histogram, std::vector<uint64_t> values) {
  std::sort(values.begin(), values.end());
  REQUIRE(histogram.count() == values.size());
  CHECK(histogram.min() == values.front());
  CHECK(histogram.max() == values.back());
  CHECK(histogram.percentile(0) == values.front());
  CHECK(histogram.percentile(100) == values.back());
  double sum = 0;
  for (uint64_t value : values) sum += static_cast<double>(value);
  CHECK(histogram.mean() == doctest::Approx(sum / static_cast<double>(values.size())).epsilon(1e-12));
  for (double percent : {0.001, 1.0, 10.0, 25.0, 50.0, 75.0, 90.0, 99.0, 99.9, 99.99, 99.999}) {
    CAPTURE(percent);
    const uint64_t exact = exact_percentile(values, percent);
    const uint64_t given = histogram.percentile(percent);
    CHECK(given >= exact);
    CHECK(given - exact <= exact / 128);
  }
}

}  // namespace

TEST_CASE("an empty histogram gives zeros and costs no memory worth naming") {
  const Histogram histogram;
  CHECK(histogram.empty());
  CHECK(histogram.count() == 0);
  CHECK(histogram.min() == 0);
  CHECK(histogram.max() == 0);
  CHECK(histogram.mean() == 0);
  CHECK(histogram.percentile(50) == 0);
  CHECK(sizeof(Histogram) <= 64);
}

TEST_CASE("one value is every percentile, exactly") {
  for (uint64_t value : {uint64_t{0}, uint64_t{1}, uint64_t{127}, uint64_t{128}, uint64_t{255}, uint64_t{256},
                         uint64_t{1'000'003}, uint64_t{1} << 63, kMost - 1, kMost}) {
    Histogram histogram;
    histogram.record(value);
    for (double percent : {0.0, 50.0, 99.9, 100.0}) CHECK(histogram.percentile(percent) == value);
    CHECK(histogram.min() == value);
    CHECK(histogram.max() == value);
  }
}

TEST_CASE("percentiles outside 0 to 100 are clamped") {
  Histogram histogram;
  histogram.record(10);
  histogram.record(20);
  CHECK(histogram.percentile(-5) == 10);
  CHECK(histogram.percentile(500) == 20);
  CHECK(histogram.percentile(std::nan("")) == 10);
}

TEST_CASE("every border between buckets stays within the promised error") {
  std::vector<uint64_t> values;
  for (int shift = 0; shift < 64; ++shift) {
    for (uint64_t mantissa : {uint64_t{1}, uint64_t{127}, uint64_t{128}, uint64_t{129}, uint64_t{255}}) {
      const uint64_t value = mantissa << shift;
      if (value >> shift != mantissa) continue;
      for (uint64_t near : {value - 1, value, value + 1}) {
        Histogram histogram;
        histogram.record(near);
        histogram.record(kMost);
        const uint64_t given = histogram.percentile(50);
        REQUIRE(given >= near);
        REQUIRE(given - near <= near / 128);
      }
    }
  }
}

TEST_CASE("random distributions agree with the sorted values") {
  for (uint64_t seed = 0; seed < 5; ++seed) {
    std::mt19937_64 random(seed);
    std::vector<std::vector<uint64_t>> kinds(4);
    std::lognormal_distribution<double> lateness(std::log(50'000.0), 1.0);
    for (int i = 0; i < 20'000; ++i) {
      kinds[0].push_back(random());                     // the whole range, evenly
      kinds[1].push_back(random() >> (random() % 64));  // the whole range, by magnitude
      kinds[2].push_back(static_cast<uint64_t>(lateness(random)));
      kinds[3].push_back(random() % 200);  // across the exact part's border
    }
    for (const auto& values : kinds) {
      Histogram histogram;
      for (uint64_t value : values) histogram.record(value);
      check_against(histogram, values);
    }
  }
}

TEST_CASE("merging gives what recording everything in one gives") {
  std::mt19937_64 random(3);
  Histogram first, second, all;
  std::vector<uint64_t> values;
  for (int i = 0; i < 10'000; ++i) {
    const uint64_t value = random() >> (random() % 60);
    values.push_back(value);
    (i % 3 == 0 ? first : second).record(value);
  }
  all.merge(first);
  all.merge(Histogram());
  all.merge(second);
  check_against(all, values);
  all.merge(all);
  CHECK(all.count() == 20'000);
}

TEST_CASE("a copy is independent, a moved-from or reset histogram is empty and usable") {
  Histogram original;
  for (uint64_t i = 0; i < 1000; ++i) original.record(i);
  Histogram copy = original;
  copy.record(5'000);
  CHECK(original.max() == 999);
  CHECK(copy.count() == 1001);
  copy = original;
  CHECK(copy.count() == 1000);
  const Histogram& same = copy;
  copy = same;
  CHECK(copy.percentile(50) == original.percentile(50));

  Histogram taken = std::move(copy);
  CHECK(taken.count() == 1000);
  CHECK(copy.empty());  // NOLINT(bugprone-use-after-move): defined for this type
  copy.record(7);
  CHECK(copy.percentile(50) == 7);

  taken.reset();
  CHECK(taken.empty());
  CHECK(taken.min() == 0);
  taken.record(3);
  CHECK(taken.min() == 3);
}

TEST_CASE("the highest value since a copy was made is found, whatever came before") {
  Histogram histogram;
  CHECK(histogram.max_since(Histogram()) == 0);
  histogram.record(1'000'000);
  CHECK(histogram.max_since(Histogram()) == 1'000'000);
  const Histogram before = histogram;
  CHECK(histogram.max_since(before) == 0);
  histogram.record(3);
  histogram.record(100);
  CHECK(histogram.max_since(before) == 100);
  histogram.record(1'000'000);
  CHECK(histogram.max_since(before) == 1'000'000);
}
