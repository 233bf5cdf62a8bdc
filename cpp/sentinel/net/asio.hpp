// The Asio names this project uses, bound to one executor type.
//
// Every awaitable, socket and timer is typed on io_context's own executor: no type-erased executor is copied
// on the hot path. Include this only where a coroutine or a socket is really named; it is the slow include
// of the tree.
#pragma once

#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace sentinel::net {

namespace asio = boost::asio;

using Executor = asio::io_context::executor_type;
using UseAwaitable = asio::use_awaitable_t<Executor>;
inline constexpr UseAwaitable use_awaitable{};

template <class T = void>
using Awaitable = asio::awaitable<T, Executor>;

using TcpSocket = asio::basic_stream_socket<asio::ip::tcp, Executor>;
using SocketError = boost::system::error_code;

}  // namespace sentinel::net
