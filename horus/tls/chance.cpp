// SPDX-License-Identifier: Apache-2.0
#include <horus/tls/chance.hpp>

#include <atomic>
#include <cstring>

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/provider.h>
#include <openssl/rand.h>

namespace horus::tls {
namespace {

constexpr const char* kName = "HORUS-SEAM";
constexpr unsigned kStrength = 256;                        // bits
constexpr std::size_t kMostAtOnce = std::size_t{1} << 16;  // bytes

std::atomic<io::tls::Chance> source{nullptr};

// A random generator as OpenSSL's providers have them (provider-rand(7)). It has no state of its own.
void* new_context(void*, void*, const OSSL_DISPATCH*) {
  static char nothing;
  return &nothing;
}
void free_context(void*) {}
int instantiate(void*, unsigned, int, const unsigned char*, std::size_t, const OSSL_PARAM*) { return 1; }
int uninstantiate(void*) { return 1; }
int generate(void*, unsigned char* out, std::size_t size, unsigned, int, const unsigned char*, std::size_t) {
  source.load(std::memory_order_acquire)(out, size);
  return 1;
}
int enable_locking(void*) { return 1; }
int get_parameters(void*, OSSL_PARAM* parameters) {
  OSSL_PARAM* found = OSSL_PARAM_locate(parameters, OSSL_RAND_PARAM_STATE);
  if (found != nullptr && OSSL_PARAM_set_int(found, EVP_RAND_STATE_READY) == 0) return 0;
  found = OSSL_PARAM_locate(parameters, OSSL_RAND_PARAM_STRENGTH);
  if (found != nullptr && OSSL_PARAM_set_uint(found, kStrength) == 0) return 0;
  found = OSSL_PARAM_locate(parameters, OSSL_RAND_PARAM_MAX_REQUEST);
  return found == nullptr || OSSL_PARAM_set_size_t(found, kMostAtOnce) != 0 ? 1 : 0;
}

template <class Function>
constexpr OSSL_DISPATCH row(int number, Function* function) {
  return {number, reinterpret_cast<void (*)()>(function)};
}

const OSSL_ALGORITHM* algorithms(void*, int operation, int* no_cache) {
  static const OSSL_DISPATCH functions[] = {
      row(OSSL_FUNC_RAND_NEWCTX, &new_context),
      row(OSSL_FUNC_RAND_FREECTX, &free_context),
      row(OSSL_FUNC_RAND_INSTANTIATE, &instantiate),
      row(OSSL_FUNC_RAND_UNINSTANTIATE, &uninstantiate),
      row(OSSL_FUNC_RAND_GENERATE, &generate),
      row(OSSL_FUNC_RAND_ENABLE_LOCKING, &enable_locking),
      row(OSSL_FUNC_RAND_GET_CTX_PARAMS, &get_parameters),
      {0, nullptr},
  };
  static const OSSL_ALGORITHM list[] = {{kName, "provider=horus", functions, nullptr},
                                        {nullptr, nullptr, nullptr, nullptr}};
  *no_cache = 0;
  return operation == OSSL_OP_RAND ? list : nullptr;
}

int open_provider(const OSSL_CORE_HANDLE*, const OSSL_DISPATCH*, const OSSL_DISPATCH** out, void** context) {
  static const OSSL_DISPATCH functions[] = {row(OSSL_FUNC_PROVIDER_QUERY_OPERATION, &algorithms),
                                            {0, nullptr}};
  static char nothing;
  *out = functions;
  *context = &nothing;
  return 1;
}

OSSL_LIB_CTX* make_library() noexcept {
  OSSL_LIB_CTX* library = OSSL_LIB_CTX_new();
  if (library == nullptr) return nullptr;
  const bool made = OSSL_PROVIDER_add_builtin(library, "horus", &open_provider) != 0 &&
                    OSSL_PROVIDER_load(library, "horus") != nullptr &&
                    OSSL_PROVIDER_load(library, "default") != nullptr &&
                    RAND_set_DRBG_type(library, kName, nullptr, nullptr, nullptr) != 0;
  if (made) return library;
  OSSL_LIB_CTX_free(library);
  return nullptr;
}

}  // namespace

OSSL_LIB_CTX* library_with(io::tls::Chance chance) noexcept {
  source.store(chance, std::memory_order_release);
  static OSSL_LIB_CTX* const library = make_library();
  return library;
}

}  // namespace horus::tls
