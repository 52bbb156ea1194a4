// SPDX-License-Identifier: Apache-2.0
#include <horus/base/crc32c.hpp>

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__) && defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
#endif

namespace horus::HORUS_ABI {
namespace {

constexpr std::uint32_t kPolynomial = 0x82f63b78;  // reflected

constexpr std::array<std::uint32_t, 256> kTable = [] {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < table.size(); ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) != 0 ? kPolynomial : 0);
    table[i] = value;
  }
  return table;
}();

using Bytes = std::span<const std::byte>;

#if defined(__x86_64__) || (defined(__aarch64__) && defined(__ARM_FEATURE_CRC32))

// Polynomials modulo ours, reflected: the highest bit is x to the 0.
constexpr std::uint32_t kOne = 0x80000000;
constexpr std::uint32_t product(std::uint32_t a, std::uint32_t b) noexcept {
  std::uint32_t sum = 0;
  for (std::uint32_t bit = kOne; bit != 0; bit >>= 1) {
    if ((a & bit) != 0) sum ^= b;
    b = (b >> 1) ^ ((b & 1) != 0 ? kPolynomial : 0);
  }
  return sum;
}
constexpr std::uint32_t power_of_x(std::size_t exponent) noexcept {
  std::uint32_t power = kOne;
  for (std::uint32_t square = kOne >> 1; exponent != 0; exponent >>= 1, square = product(square, square)) {
    if ((exponent & 1) != 0) power = product(power, square);
  }
  return power;
}

// What a checksum becomes when zeros follow: multiplied by a power of x, which is linear, so that four look-ups do it.
class Zeros {
 public:
  explicit constexpr Zeros(std::size_t bytes) {
    const std::uint32_t factor = power_of_x(8 * bytes);
    std::uint32_t images[32] = {};
    for (int bit = 0; bit < 32; ++bit) images[bit] = product(factor, std::uint32_t{1} << bit);
    for (int byte = 0; byte < 4; ++byte) {
      for (std::uint32_t value = 0; value < 256; ++value) {
        for (int bit = 0; bit < 8; ++bit) {
          if ((value >> bit & 1) != 0) tables_[byte][value] ^= images[8 * byte + bit];
        }
      }
    }
  }
  [[nodiscard]] constexpr std::uint32_t after(std::uint32_t sum) const noexcept {
    return tables_[0][sum & 0xff] ^ tables_[1][sum >> 8 & 0xff] ^ tables_[2][sum >> 16 & 0xff] ^
           tables_[3][sum >> 24];
  }

 private:
  std::array<std::array<std::uint32_t, 256>, 4> tables_{};
};

// The instruction takes three cycles, and begins anew in each: three thirds of a block at the same time.
constexpr std::size_t kLongThird = 1024;  // bytes
constexpr std::size_t kShortThird = 128;
constexpr Zeros kLongZeros(kLongThird);
constexpr Zeros kShortZeros(kShortThird);

std::uint64_t word_at(const std::byte* at) noexcept {
  std::uint64_t word = 0;
  std::memcpy(&word, at, 8);
  return word;
}

#if defined(__x86_64__)
#define HORUS_CRC32C_TARGET __attribute__((target("sse4.2")))
HORUS_CRC32C_TARGET inline std::uint64_t step8(std::uint64_t sum, std::uint64_t word) noexcept {
  return _mm_crc32_u64(sum, word);
}
HORUS_CRC32C_TARGET inline std::uint32_t step4(std::uint32_t sum, std::uint32_t word) noexcept {
  return _mm_crc32_u32(sum, word);
}
HORUS_CRC32C_TARGET inline std::uint32_t step1(std::uint32_t sum, std::uint8_t byte) noexcept {
  return _mm_crc32_u8(sum, byte);
}
bool has_instruction() noexcept { return __builtin_cpu_supports("sse4.2") != 0; }
#else
#define HORUS_CRC32C_TARGET
inline std::uint64_t step8(std::uint64_t sum, std::uint64_t word) noexcept {
  return __crc32cd(static_cast<std::uint32_t>(sum), word);
}
inline std::uint32_t step4(std::uint32_t sum, std::uint32_t word) noexcept { return __crc32cw(sum, word); }
inline std::uint32_t step1(std::uint32_t sum, std::uint8_t byte) noexcept { return __crc32cb(sum, byte); }
bool has_instruction() noexcept { return true; }
#endif

HORUS_CRC32C_TARGET std::uint32_t block(const std::byte* at, std::size_t third, const Zeros& zeros,
                                        std::uint32_t before) noexcept {
  std::uint64_t first = before;
  std::uint64_t second = 0;
  std::uint64_t last = 0;
  for (const std::byte* end = at + third; at != end; at += 8) {
    first = step8(first, word_at(at));
    second = step8(second, word_at(at + third));
    last = step8(last, word_at(at + 2 * third));
  }
  const std::uint32_t two =
      zeros.after(static_cast<std::uint32_t>(first)) ^ static_cast<std::uint32_t>(second);
  return zeros.after(two) ^ static_cast<std::uint32_t>(last);
}

#if defined(__x86_64__)

// Long stretches: 16 products of 64 bits at a time. A stretch of 16 bytes, read as a polynomial, is as good as the one that
// it is folded from; a product of two reflected words is too small by one power of x.
// Source: Gopal et al., Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction, Intel 2009.
#define HORUS_FOLDING_TARGET __attribute__((target("avx512f,avx512vl,vpclmulqdq,pclmul,sse4.2")))
constexpr std::size_t kFoldedAtOnce = 256;  // bytes
constexpr std::size_t kWorthFolding = 1024;

// Carries 16 bytes on by `distance`: the factors of their first and of their last half.
struct Fold {
  explicit constexpr Fold(std::size_t distance)
      : first(std::uint64_t{power_of_x(8 * distance + 63)} << 32),
        last(std::uint64_t{power_of_x(8 * distance - 1)} << 32) {}
  std::uint64_t first;
  std::uint64_t last;
};
constexpr Fold kFold256(256), kFold64(64), kFold16(16), kFold32(32), kFold48(48);

HORUS_FOLDING_TARGET inline __m512i loaded(const std::byte* at) noexcept { return _mm512_loadu_si512(at); }
HORUS_FOLDING_TARGET inline __m512i folded(__m512i value, __m512i factors, __m512i onto) noexcept {
  const __m512i first = _mm512_clmulepi64_epi128(value, factors, 0x00);
  const __m512i last = _mm512_clmulepi64_epi128(value, factors, 0x11);
  return _mm512_ternarylogic_epi64(first, last, onto, 0x96);  // all three, exclusive or
}
HORUS_FOLDING_TARGET inline __m512i factors_of(const Fold& fold) noexcept {
  return _mm512_broadcast_i32x4(
      _mm_set_epi64x(static_cast<std::int64_t>(fold.last), static_cast<std::int64_t>(fold.first)));
}
HORUS_FOLDING_TARGET inline __m128i folded(__m128i value, const Fold& fold) noexcept {
  const __m128i factors =
      _mm_set_epi64x(static_cast<std::int64_t>(fold.last), static_cast<std::int64_t>(fold.first));
  return _mm_xor_si128(_mm_clmulepi64_si128(value, factors, 0x00),
                       _mm_clmulepi64_si128(value, factors, 0x11));
}

// Of `size` bytes, a multiple of kFoldedAtOnce.
HORUS_FOLDING_TARGET std::uint32_t by_folding(const std::byte* at, std::size_t size,
                                              std::uint32_t sum) noexcept {
  __m512i a = _mm512_xor_si512(loaded(at), _mm512_zextsi128_si512(_mm_cvtsi32_si128(static_cast<int>(sum))));
  __m512i b = loaded(at + 64);
  __m512i c = loaded(at + 128);
  __m512i d = loaded(at + 192);
  const __m512i far = factors_of(kFold256);
  const std::byte* const end = at + size;
  for (at += kFoldedAtOnce; at != end; at += kFoldedAtOnce) {
    a = folded(a, far, loaded(at));
    b = folded(b, far, loaded(at + 64));
    c = folded(c, far, loaded(at + 128));
    d = folded(d, far, loaded(at + 192));
  }
  const __m512i near = factors_of(kFold64);
  d = folded(folded(folded(a, near, b), near, c), near, d);
  const __m128i last = _mm_xor_si128(
      _mm_xor_si128(folded(_mm512_extracti32x4_epi32(d, 0), kFold48),
                    folded(_mm512_extracti32x4_epi32(d, 1), kFold32)),
      _mm_xor_si128(folded(_mm512_extracti32x4_epi32(d, 2), kFold16), _mm512_extracti32x4_epi32(d, 3)));
  const auto low = static_cast<std::uint64_t>(_mm_extract_epi64(last, 0));
  const auto high = static_cast<std::uint64_t>(_mm_extract_epi64(last, 1));
  return static_cast<std::uint32_t>(_mm_crc32_u64(_mm_crc32_u64(0, low), high));
}
bool can_fold() noexcept {
  static const bool can = __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512vl") != 0 &&
                          __builtin_cpu_supports("vpclmulqdq") != 0 && __builtin_cpu_supports("pclmul") != 0;
  return can;
}
#undef HORUS_FOLDING_TARGET

#endif

HORUS_CRC32C_TARGET std::uint32_t by_instruction(Bytes bytes, std::uint32_t before,
                                                 bool may_fold = true) noexcept {
  std::uint32_t sum = ~before;
  const std::byte* at = bytes.data();
  std::size_t left = bytes.size();
#if defined(__x86_64__)
  if (left >= kWorthFolding && may_fold && can_fold()) {
    const std::size_t size = left / kFoldedAtOnce * kFoldedAtOnce;
    sum = by_folding(at, size, sum);
    at += size;
    left -= size;
  }
#else
  static_cast<void>(may_fold);
#endif
  for (; left >= 3 * kLongThird; at += 3 * kLongThird, left -= 3 * kLongThird)
    sum = block(at, kLongThird, kLongZeros, sum);
  for (; left >= 3 * kShortThird; at += 3 * kShortThird, left -= 3 * kShortThird)
    sum = block(at, kShortThird, kShortZeros, sum);
  std::uint64_t wide = sum;
  for (; left >= 8; at += 8, left -= 8) wide = step8(wide, word_at(at));
  sum = static_cast<std::uint32_t>(wide);
  if (left >= 4) {
    std::uint32_t word = 0;
    std::memcpy(&word, at, 4);
    sum = step4(sum, word);
    at += 4;
    left -= 4;
  }
  for (; left > 0; ++at, --left) sum = step1(sum, static_cast<std::uint8_t>(*at));
  return ~sum;
}
#undef HORUS_CRC32C_TARGET

#else

std::uint32_t by_instruction(Bytes bytes, std::uint32_t before, bool /*may_fold*/ = true) noexcept {
  return detail::crc32c_by_table(bytes, before);
}
bool has_instruction() noexcept { return false; }

#endif

}  // namespace

std::uint32_t detail::crc32c_by_table(Bytes bytes, std::uint32_t before) noexcept {
  std::uint32_t value = ~before;
  for (const std::byte byte : bytes)
    value = kTable[(value ^ static_cast<std::uint8_t>(byte)) & 0xff] ^ (value >> 8);
  return ~value;
}

std::uint32_t detail::crc32c_by_words(Bytes bytes, std::uint32_t before) noexcept {
  return has_instruction() ? by_instruction(bytes, before, false) : crc32c_by_table(bytes, before);
}

std::uint32_t crc32c(Bytes bytes, std::uint32_t before) noexcept {
  static const bool fast = has_instruction();
  return fast ? by_instruction(bytes, before) : detail::crc32c_by_table(bytes, before);
}

}  // namespace horus::HORUS_ABI
