// SPDX-License-Identifier: Apache-2.0
//
// What the functions of the C API share: how they answer, and how they read lists.
// Thread-safety: any thread. Ownership: none. Errors: as godbox.h says.
#pragma once

#include "pool_core.h"
#include <godbox/godbox.h>

#include <exception>
#include <future>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace godbox::c {

// Remembers why for godbox_last_error(), and answers the code.
[[nodiscard]] godbox_status failed(const Error& error);
[[nodiscard]] godbox_status number_of(Errc code);

// Runs the body of an API function: whatever is thrown in it becomes an answer.
template <class Body>
[[nodiscard]] godbox_status guarded(Body body) noexcept {
  try {
    const Result<void> done = body();
    return done ? godbox_status{GODBOX_OK} : failed(done.error());
  } catch (const std::bad_alloc&) {
    return failed(Error(Errc::limit_exceeded, "no memory"));
  } catch (const std::exception& exception) {
    return failed(Error(Errc::io_error, exception.what()));
  } catch (...) {
    return failed(Error(Errc::io_error, "an unknown exception"));
  }
}

[[nodiscard]] Error refused(std::string what);
[[nodiscard]] Error closed();
// Errors: invalid_argument (NULL, or an entry that is).
[[nodiscard]] Result<std::vector<std::string_view>> names_of(const godbox_names* names);
void write_statuses(std::span<const Errc> from, godbox_status* to);

// Lets the client do something, and waits until it is done. `submit` runs on the pool's thread with
// the callback, of a Result<Answer>, to give to the client.
template <class Answer, class Submit>
[[nodiscard]] Result<Answer> answer_of(PoolCore& core, Submit submit) {
  const auto promise = std::make_shared<std::promise<Result<Answer>>>();
  std::future<Result<Answer>> answer = promise->get_future();
  const bool ran = core.run(
      [&] { submit([promise](Result<Answer> given) { promise->set_value(std::move(given)); }); });
  return ran ? answer.get() : Result<Answer>(closed());
}

// How many leading names are there.
[[nodiscard]] Result<std::size_t> count_prefix(PoolCore& core,
                                               std::span<const std::string_view> names);
// Client::wait() with a status for each name: ok also for one that is there without a lease.
[[nodiscard]] Result<void> wait_for_names(PoolCore& core, std::span<const std::string_view> names,
                                          std::uint32_t layer, std::uint64_t timeout_ms,
                                          godbox_status* statuses);

// Options as this library knows them, from a caller's that may be shorter. Errors:
// invalid_argument.
template <class Options>
[[nodiscard]] Result<Options> options_of(const Options* given) {
  Options options{};
  options.size = sizeof(Options);
  if (given == nullptr) {
    return options;
  }
  if (given->size < sizeof(given->size) || given->size > sizeof(Options)) {
    return refused("a struct's size is " + std::to_string(given->size) + "; up to " +
                   std::to_string(sizeof(Options)) + " are known: set it to sizeof");
  }
  __builtin_memcpy(&options, given, given->size);
  return options;
}

// The other way: what the caller's struct, which may be shorter, has room for. Errors:
// invalid_argument.
template <class Answer>
[[nodiscard]] Result<void> answer_in(Answer* to, Answer answer) {
  const Result<Answer> known = options_of(to);
  if (!known) {
    return known.error();
  }
  answer.size = to->size;
  __builtin_memcpy(to, &answer, answer.size);
  return {};
}

}  // namespace godbox::c

// A handle of the pool; others share its core.
struct godbox_pool {
  std::shared_ptr<godbox::c::PoolCore> core;
};
