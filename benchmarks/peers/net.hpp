// SPDX-License-Identifier: Apache-2.0
//
// Asio under one name, `net`, whether it comes with Boost or stands alone (Debian: libasio-dev). The build defines
// BENCH_STANDALONE_ASIO for the latter, and for the io_uring programs (BOOST_)ASIO_HAS_IO_URING and
// (BOOST_)ASIO_DISABLE_EPOLL.
#pragma once

#include <utility>  // Boost 1.74 uses std::exchange without it

#ifdef BENCH_STANDALONE_ASIO
#include <asio.hpp>
namespace net = asio;
using net_error = asio::error_code;
#else
#include <boost/asio.hpp>
namespace net = boost::asio;
using net_error = boost::system::error_code;
#endif
