// SPDX-License-Identifier: Apache-2.0
#include <horus/io/tls/load_engine.hpp>

#include <cerrno>
#include <cstdlib>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include <dlfcn.h>

#include <fmt/format.h>

#include <horus/base/version.hpp>

namespace horus::HORUS_ABI::io::tls {
namespace {

constexpr const char* kFile = "libhorus_tls.so";
constexpr const char* kAction = "load TLS";

// "0.1" of "0.1.0".
std::string_view minor_version() {
  const std::string_view all = version();
  return all.substr(0, all.find('.', all.find('.') + 1));
}

// Where the library is, or the program that it is linked into.
std::string own_folder() {
  Dl_info info{};
  if (::dladdr(reinterpret_cast<const void*>(&load_engine), &info) == 0 || info.dli_fname == nullptr)
    return {};
  const std::string_view file = info.dli_fname;
  const std::size_t slash = file.rfind('/');
  return slash == std::string_view::npos ? std::string(".") : std::string(file.substr(0, slash));
}

std::vector<std::string> candidates() {
  std::vector<std::string> files;
  if (const std::string own = own_folder(); !own.empty()) {
    files.push_back(fmt::format("{}/horus/{}/{}", own, minor_version(), kFile));
    files.push_back(fmt::format("{}/{}", own, kFile));  // where it was built
  }
  const char* more = ::secure_getenv("HORUS_PLUGIN_PATH");
  std::string_view folders = more == nullptr ? std::string_view() : std::string_view(more);
  while (!folders.empty()) {
    const std::string_view folder = folders.substr(0, folders.find(':'));
    folders.remove_prefix(folder.size() < folders.size() ? folder.size() + 1 : folder.size());
    if (!folder.empty()) files.push_back(fmt::format("{}/{}", folder, kFile));
  }
  return files;
}

}  // namespace

Result<const Engine*> load_engine() {
  static std::mutex mutex;
  static const Engine* loaded = nullptr;
  const std::lock_guard lock(mutex);
  if (loaded != nullptr) return loaded;
  std::string tried;
  for (const std::string& file : candidates()) {
    void* object = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (object == nullptr) {
      const char* why = ::dlerror();
      tried += fmt::format("{}{}", tried.empty() ? "" : "; ", why == nullptr ? file : std::string(why));
      continue;
    }
    const auto* engine = static_cast<const Engine*>(::dlsym(object, kEngineSymbol));
    if (engine == nullptr || engine->version != kEngineVersion) {
      return Error(ENOPKG, kAction, file)
          .with_detail("(it belongs to another version of Horus: install both from one build)");
    }
    loaded = engine;
    return loaded;
  }
  return Error(ENOPKG, kAction)
      .with_detail(fmt::format(
          "(install OpenSSL 3 (Debian: libssl3) and a Horus that was built with -Dtls=enabled; {})", tried));
}

}  // namespace horus::HORUS_ABI::io::tls
