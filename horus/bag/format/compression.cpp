// SPDX-License-Identifier: Apache-2.0
#include <horus/bag/format/compression.hpp>

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>

#include <lz4frame.h>
#include <zstd.h>
#include <zstd_errors.h>

namespace horus::HORUS_ABI::bag {
namespace {

// A block of equal bytes is the best case: 128 KiB from 4 bytes, and 255 from one.
constexpr std::uint64_t kMostZstd = 32768;
constexpr std::uint64_t kMostLz4 = 256;

struct FreePacker {
  void operator()(ZSTD_CCtx* context) const noexcept { ZSTD_freeCCtx(context); }
};
struct FreeUnpacker {
  void operator()(ZSTD_DCtx* context) const noexcept { ZSTD_freeDCtx(context); }
};
struct FreeLz4 {
  void operator()(LZ4F_dctx* context) const noexcept { LZ4F_freeDecompressionContext(context); }
};

const char* unpack_zstd(std::span<const std::byte> packed, std::span<std::byte> out) noexcept {
  // Its tables are large: one for each thread.
  thread_local const std::unique_ptr<ZSTD_DCtx, FreeUnpacker> context(ZSTD_createDCtx());
  if (!context) return "no memory to unpack it";
  const std::size_t size =
      ZSTD_decompressDCtx(context.get(), out.data(), out.size(), packed.data(), packed.size());
  if (ZSTD_isError(size) != 0) {
    return ZSTD_getErrorCode(size) == ZSTD_error_dstSize_tooSmall ? "zstd: it unpacks to more than it says"
                                                                  : ZSTD_getErrorName(size);
  }
  return size == out.size() ? nullptr : "zstd: it unpacks to less than it says";
}

const char* unpack_lz4(std::span<const std::byte> packed, std::span<std::byte> out) noexcept {
  LZ4F_dctx* made = nullptr;
  if (LZ4F_isError(LZ4F_createDecompressionContext(&made, LZ4F_VERSION)) != 0)
    return "no memory to unpack it";
  const std::unique_ptr<LZ4F_dctx, FreeLz4> context(made);
  std::size_t written = 0;
  bool ended = false;
  while (!packed.empty()) {
    std::size_t taken = packed.size();
    std::size_t given = out.size() - written;
    const std::size_t hint =
        LZ4F_decompress(context.get(), out.data() + written, &given, packed.data(), &taken, nullptr);
    if (LZ4F_isError(hint) != 0) return LZ4F_getErrorName(hint);
    written += given;
    packed = packed.subspan(taken);
    ended = hint == 0;
    if (taken == 0 && given == 0) break;  // no room for what is left
  }
  if (!packed.empty()) return "lz4: it unpacks to more than it says";
  if (!ended)
    return written == out.size() ? "lz4: it unpacks to more than it says" : "lz4: its end is missing";
  return written == out.size() ? nullptr : "lz4: it unpacks to less than it says";
}

}  // namespace

bool pack(std::span<const std::byte> bytes, int level, unsigned least_saving, Buffer& out) {
  thread_local const std::unique_ptr<ZSTD_CCtx, FreePacker> context(ZSTD_createCCtx());
  if (!context) throw std::bad_alloc();
  // Room for a useful result only: zstd ends early when there is more.
  const std::size_t most = bytes.size() - bytes.size() * least_saving / 100;
  const std::size_t before = out.size();
  std::byte* place = out.extend(most);
  const std::size_t size = ZSTD_compressCCtx(context.get(), place, most, bytes.data(), bytes.size(), level);
  const bool saves = ZSTD_isError(size) == 0;
  out.shorten(before + (saves ? size : 0));
  return saves;
}

const char* check_size(std::string_view compression, std::span<const std::byte> packed,
                       std::uint64_t size) noexcept {
  if (compression == "zstd") {
    const unsigned long long told = ZSTD_getFrameContentSize(packed.data(), packed.size());
    if (told == ZSTD_CONTENTSIZE_ERROR) return "what should be zstd is not";
    // More than one frame is possible: then the first one tells less.
    if (told != ZSTD_CONTENTSIZE_UNKNOWN && told > size) return "zstd: it unpacks to more than it says";
    if (size / kMostZstd > packed.size()) return "zstd: so few bytes cannot unpack to so many";
  }
  if (compression == "lz4" && size / kMostLz4 > packed.size())
    return "lz4: so few bytes cannot unpack to so many";
  return nullptr;
}

const char* unpack(std::string_view compression, std::span<const std::byte> packed,
                   std::span<std::byte> out) noexcept {
  if (compression.empty()) {
    if (packed.size() != out.size()) return "its length differs from what it says";
    if (!out.empty()) std::memcpy(out.data(), packed.data(), out.size());
    return nullptr;
  }
  if (compression == "zstd") return unpack_zstd(packed, out);
  if (compression == "lz4") return unpack_lz4(packed, out);
  return "unknown compression (known are zstd and lz4)";
}

}  // namespace horus::HORUS_ABI::bag
