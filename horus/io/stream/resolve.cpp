// SPDX-License-Identifier: Apache-2.0
#include <horus/io/resolve.hpp>

#include <algorithm>
#include <cerrno>
#include <memory>

#include <fcntl.h>
#include <netdb.h>
#include <unistd.h>

#include <fmt/format.h>

#include <horus/io/offload.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/stream/resolver.hpp>

namespace horus::HORUS_ABI::io {
namespace {

// What keeps the resolver from asking anybody looks to it as if there were no such name.
int shortage() noexcept {
  const int fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (fd >= 0) ::close(fd);
  const int code = fd < 0 ? errno : 0;
  return code == EMFILE || code == ENFILE || code == ENOMEM ? code : 0;
}

Error failure(int code, const std::string& host) {
  const int cause = errno;
  if (const int lacking = shortage(); lacking != 0) return Error(lacking, "resolve", host);
  switch (code) {
    case EAI_NONAME:
    case EAI_NODATA:
    case EAI_ADDRFAMILY: return Error(kNameNotFound, "resolve", host);
    case EAI_SYSTEM: return Error(cause, "resolve", host);
    case EAI_MEMORY: return Error(ENOMEM, "resolve", host);
    default: return Error(kResolverFailed, "resolve", fmt::format("{} ({})", host, ::gai_strerror(code)));
  }
}

Result<std::vector<Address>> ask_system(const std::string& host, std::uint16_t port) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;  // each address once
  hints.ai_flags = AI_ADDRCONFIG;
  addrinfo* found = nullptr;
  int code = ::getaddrinfo(host.c_str(), nullptr, &hints, &found);
  if (code == EAI_NONAME || code == EAI_ADDRFAMILY || code == EAI_NODATA) {
    // A machine with nothing but a loopback interface has no address that AI_ADDRCONFIG would count.
    hints.ai_flags = 0;
    code = ::getaddrinfo(host.c_str(), nullptr, &hints, &found);
  }
  if (code != 0) return failure(code, host);
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> list(found, &::freeaddrinfo);
  std::vector<Address> addresses;
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
    const Address address = Address::from(one->ai_addr, one->ai_addrlen).with_port(port);
    if (std::find(addresses.begin(), addresses.end(), address) == addresses.end())
      addresses.push_back(address);
  }
  if (addresses.empty()) return Error(kNameNotFound, "resolve", host);
  return addresses;
}

// On a pool thread, or wherever a simulated world runs it.
Result<std::vector<Address>> look_up_on(System* system, const std::string& host, std::uint16_t port) {
  return system->look_up(host, port);
}

}  // namespace

System::NameLookUp System::name_look_up() noexcept { return &ask_system; }
Result<std::vector<Address>> System::look_up(const std::string& host, std::uint16_t port) {
  return ask_system(host, port);
}

Task<Result<std::vector<Address>>> resolve(std::string host, std::uint16_t port) {
  if (host.empty()) co_return Error(EINVAL, "resolve", "(an empty host name)");
  if (host.find('\0') != std::string::npos)
    co_return Error(EINVAL, "resolve", "(a host name with a zero byte)");
  auto numeric = Address::ip(host, port);
  if (numeric) co_return std::vector<Address>{*numeric};
  System& system = Reactor::current()->system();
  if (const System::NameLookUp function = system.name_look_up()) {
    detail::LookUpAwaiter looking(function, host);
    auto found = co_await looking;
    if (found) {
      for (Address& address : *found) address = address.with_port(port);
    }
    co_return found;
  }
  auto addresses = co_await offload_on(ThreadPool::names(), &look_up_on, &system, host, port);
  if (!addresses && addresses.error().operation() == std::string_view("offload")) {
    co_return addresses.error().on("resolve", host);
  }
  co_return addresses;
}

}  // namespace horus::HORUS_ABI::io
