// SPDX-License-Identifier: Apache-2.0
#include "api.h"
#include <godbox/driver/open_device.h>

#include <algorithm>
#include <chrono>
#include <cstring>

namespace godbox::c {

namespace {

Result<PoolCore::Opened> open_pool(const std::string& address, const godbox_options& given) {
  PoolCore::Opened opened;
  const std::string choice = given.device == nullptr ? "none" : given.device;
  if (choice == "none") {
    opened.device_name = "none";
    opened.device_reason = "no device was asked for";
  } else {
    const Result<driver::DeviceChoice> parsed = driver::parse_device_choice(choice);
    if (!parsed) {
      return refused("device: \"" + choice + "\" is not one of none, auto, host, cuda");
    }
    Result<driver::OpenedDevice> device =
        driver::open_device(*parsed, {.ordinal = given.device_ordinal});
    if (!device) {
      return device.error();
    }
    opened.device = std::move(device->memory);
    opened.device_name = opened.device->name();
    opened.device_reason = std::move(device->reason);
  }
  ConnectOptions options;
  options.device.memory = opened.device.get();
  options.client.tenant = given.tenant == nullptr ? "" : given.tenant;
  options.lanes_per_eth_port = given.lanes_per_eth_port;
  if (given.timeout_ms > 0) {
    options.client.timeout = std::chrono::milliseconds(given.timeout_ms);
  }
  if (given.lease_ms > 0) {
    options.client.lease = std::chrono::milliseconds(given.lease_ms);
  }
  if (given.copy_threads > 0) {
    options.copy_threads = given.copy_threads;
  }
  auto connection = connect(address, options);
  if (!connection) {
    return connection.error();
  }
  opened.connection = std::move(*connection);
  opened.data_path = opened.connection->data_path();
  return opened;
}

Result<wire::Retention> retention_of(const godbox_retention* retention) {
  const Result<godbox_retention> given = options_of(retention);
  if (!given) {
    return given.error();
  }
  if (given->pin < GODBOX_PIN_NONE || given->pin > GODBOX_PIN_HARD) {
    return refused("pin: " + std::to_string(given->pin) + " is not one of 0, 1, 2");
  }
  return wire::Retention{.pin = static_cast<wire::Pin>(given->pin),
                         .soft_ttl_ms = given->soft_ttl_ms,
                         .hard_ttl_ms = given->hard_ttl_ms};
}

using Statuses = std::vector<Errc>;
constexpr std::uint64_t kTimeoutMsMax = 600'000;  // longer than that no box waits

template <class Submit>
Result<void> answer_statuses(godbox_pool& pool, godbox_status* statuses, Submit submit) {
  const Result<Statuses> answer = answer_of<Statuses>(*pool.core, [&](auto on_done) {
    submit(
        [on_done](std::span<const Errc> given) { on_done(Statuses(given.begin(), given.end())); });
  });
  if (!answer) {
    return answer.error();
  }
  write_statuses(*answer, statuses);
  return {};
}

Result<std::vector<LocalSegment>> segments_of(const godbox_names* names, const void* const* data,
                                              const std::size_t* sizes,
                                              const godbox_status* statuses) {
  if (data == nullptr || sizes == nullptr || statuses == nullptr) {
    return refused("data, sizes or statuses: NULL");
  }
  std::vector<LocalSegment> segments;
  for (std::size_t i = 0; i < names->count; ++i) {
    if (data[i] == nullptr) {
      return refused("buffer " + std::to_string(i) + ": NULL");
    }
    auto* const bytes = static_cast<std::byte*>(const_cast<void*>(data[i]));
    segments.push_back({bytes, sizes[i]});
  }
  return segments;
}

// A device's transport moves what is in the device's reach: buffers that are not go through pinned
// memory, for the time of a call. (Pinning them where they are fails where two share a page.)
class Bounce {
 public:
  Bounce(PoolCore& core, std::span<LocalSegment> buffers) : core_(core) {
    if (core.device() == nullptr) {
      return;
    }
    error_ = closed();
    core.run([&] {
      error_ = Error();
      std::uint64_t total = 0;
      for (LocalSegment& buffer : buffers) {
        if (buffer.size_bytes > 0 && !core.device()->reaches({buffer.data, buffer.size_bytes})) {
          total += buffer.size_bytes;
          bounced_.push_back({.own = buffer.data, .segment = &buffer});
        }
      }
      if (total == 0) {
        return;
      }
      const Result<MutableSpan> staging = core.device()->allocate_staging(SizeBytes(total));
      if (!staging) {
        error_ = staging.error();
        return;
      }
      staging_ = *staging;
    });
    std::byte* at = staging_.data();
    for (const Bounced& each : bounced_) {
      each.segment->data = at;
      at += each.segment->size_bytes;
    }
  }
  ~Bounce() {
    if (!staging_.empty()) {
      core_.run([&] { core_.device()->release_staging(staging_); });
    }
  }
  Bounce(const Bounce&) = delete;
  Bounce& operator=(const Bounce&) = delete;
  [[nodiscard]] const Error& error() const { return error_; }
  void copy_in() const {
    for (const Bounced& each : bounced_) {
      std::memcpy(each.segment->data, each.own, each.segment->size_bytes);
    }
  }
  void copy_out() const {
    for (const Bounced& each : bounced_) {
      std::memcpy(each.own, each.segment->data, each.segment->size_bytes);
    }
  }

 private:
  struct Bounced {
    std::byte* own = nullptr;
    LocalSegment* segment = nullptr;
  };
  PoolCore& core_;
  std::vector<Bounced> bounced_;
  MutableSpan staging_;
  Error error_;
};

enum class Move : std::uint8_t { put, rebind, get };

Result<void> move_objects(godbox_pool* pool, const godbox_names* names, const void* const* data,
                          const std::size_t* sizes, godbox_status* statuses, Move move) {
  const bool is_put = move != Move::get;
  if (pool == nullptr) {
    return refused("pool: NULL");
  }
  const auto views = names_of(names);
  if (!views) {
    return views.error();
  }
  auto segments = segments_of(names, data, sizes, statuses);
  if (!segments) {
    return segments.error();
  }
  const Bounce bounce(*pool->core, *segments);
  if (bounce.error().code != Errc::ok) {
    return bounce.error();
  }
  if (is_put) {
    bounce.copy_in();
  }
  std::vector<striping::PutItem> puts;
  std::vector<striping::GetItem> gets;
  for (std::size_t i = 0; i < views->size(); ++i) {
    const std::span<const LocalSegment> piece(&(*segments)[i], 1);
    if (is_put) {
      puts.push_back({.name = (*views)[i], .data = piece, .rebinds = move == Move::rebind});
    } else {
      gets.push_back({.name = (*views)[i], .into = piece});
    }
  }
  Result<void> done = answer_statuses(*pool, statuses, [&](auto on_done) {
    is_put ? pool->core->client().submit_put(puts, on_done)
           : pool->core->client().submit_get(gets, on_done);
  });
  if (done && !is_put) {
    bounce.copy_out();
  }
  return done;
}

}  // namespace

Result<std::size_t> count_prefix(PoolCore& core, std::span<const std::string_view> names) {
  return answer_of<std::size_t>(core, [&](auto on_done) {
    core.client().submit_lookup(names, true, [on_done](const Result<striping::Lookup>& found) {
      on_done(found ? Result<std::size_t>(found->objects.size())
                    : Result<std::size_t>(found.error()));
    });
  });
}

namespace {

Result<wire::EventsReply> events_behind(PoolCore& core, std::uint64_t position,
                                        std::uint64_t timeout_ms) {
  const wire::EventsRequest request{
      .after = position,
      .kinds = (1U << wire::kEventKinds) - 1,
      .wait_ms = static_cast<std::uint32_t>(std::min(timeout_ms, kTimeoutMsMax))};
  return answer_of<wire::EventsReply>(
      core, [&](auto on_done) { core.client().submit_events(request, on_done); });
}

}  // namespace

Result<void> wait_for_names(PoolCore& core, std::span<const std::string_view> names,
                            std::uint32_t layer, std::uint64_t timeout_ms,
                            godbox_status* statuses) {
  const std::chrono::milliseconds timeout(std::min(timeout_ms, kTimeoutMsMax));
  const Result<Statuses> answer = answer_of<Statuses>(core, [&](auto on_done) {
    core.client().submit_wait(
        names, layer, timeout, [on_done](const Result<striping::Lookup>& found) {
          Statuses given;
          for (std::size_t i = 0; found && i < found->objects.size(); ++i) {
            const Errc status = found->objects[i].status;
            given.push_back(status == Errc::present_unleased ? Errc::ok : status);
          }
          on_done(found ? Result<Statuses>(std::move(given)) : Result<Statuses>(found.error()));
        });
  });
  if (!answer) {
    return answer.error();
  }
  write_statuses(*answer, statuses);
  return {};
}

}  // namespace godbox::c

using godbox::Result;
using namespace godbox::c;

extern "C" {

godbox_status godbox_connect(const char* address, const godbox_options* options,
                             godbox_pool** pool) {
  return guarded([&]() -> Result<void> {
    if (address == nullptr || pool == nullptr) {
      return refused("address or pool: NULL");
    }
    *pool = nullptr;
    const Result<godbox_options> given = options_of(options);
    if (!given) {
      return given.error();
    }
    auto core = PoolCore::open([&] { return open_pool(address, *given); });
    if (!core) {
      return core.error();
    }
    *pool = new godbox_pool{std::move(*core)};
    return {};
  });
}

void godbox_close(godbox_pool* pool) {
  if (pool != nullptr) {
    pool->core->close();
    delete pool;
  }
}

const char* godbox_device_name(const godbox_pool* pool) {
  return pool == nullptr ? "" : pool->core->device_name().c_str();
}

const char* godbox_device_reason(const godbox_pool* pool) {
  return pool == nullptr ? "" : pool->core->device_reason().c_str();
}

const char* godbox_data_path(const godbox_pool* pool) {
  return pool == nullptr ? "" : pool->core->data_path().c_str();
}

godbox_status godbox_put(godbox_pool* pool, const godbox_names* names, const void* const* data,
                         const size_t* sizes, godbox_status* statuses) {
  return guarded([&] { return move_objects(pool, names, data, sizes, statuses, Move::put); });
}

godbox_status godbox_rebind(godbox_pool* pool, const godbox_names* names, const void* const* data,
                            const size_t* sizes, godbox_status* statuses) {
  return guarded([&] { return move_objects(pool, names, data, sizes, statuses, Move::rebind); });
}

godbox_status godbox_get(godbox_pool* pool, const godbox_names* names, void* const* data,
                         const size_t* sizes, godbox_status* statuses) {
  return guarded([&] { return move_objects(pool, names, data, sizes, statuses, Move::get); });
}

godbox_status godbox_lookup_prefix(godbox_pool* pool, const godbox_names* names, size_t* found) {
  return guarded([&]() -> Result<void> {
    if (pool == nullptr || found == nullptr) {
      return refused("pool or found: NULL");
    }
    const auto views = names_of(names);
    if (!views) {
      return views.error();
    }
    const Result<std::size_t> count = count_prefix(*pool->core, *views);
    if (!count) {
      return count.error();
    }
    *found = *count;
    return {};
  });
}

godbox_status godbox_wait(godbox_pool* pool, const godbox_names* names, uint32_t layer,
                          uint64_t timeout_ms, godbox_status* statuses) {
  return guarded([&]() -> Result<void> {
    if (pool == nullptr || statuses == nullptr) {
      return refused("pool or statuses: NULL");
    }
    const auto views = names_of(names);
    if (!views) {
      return views.error();
    }
    return wait_for_names(*pool->core, *views, layer, timeout_ms, statuses);
  });
}

godbox_status godbox_retain(godbox_pool* pool, const godbox_names* names,
                            const godbox_retention* retention, godbox_status* statuses) {
  return guarded([&]() -> Result<void> {
    if (pool == nullptr || retention == nullptr || statuses == nullptr) {
      return refused("pool, retention or statuses: NULL");
    }
    const auto views = names_of(names);
    if (!views) {
      return views.error();
    }
    const Result<godbox::wire::Retention> wanted = retention_of(retention);
    if (!wanted) {
      return wanted.error();
    }
    std::vector<godbox::wire::RetainItem> items;
    for (const std::string_view name : *views) {
      items.push_back({name, *wanted});
    }
    return answer_statuses(
        *pool, statuses, [&](auto on_done) { pool->core->client().submit_retain(items, on_done); });
  });
}

godbox_status godbox_remove(godbox_pool* pool, const godbox_names* names, godbox_status* statuses) {
  return guarded([&]() -> Result<void> {
    if (pool == nullptr || statuses == nullptr) {
      return refused("pool or statuses: NULL");
    }
    const auto views = names_of(names);
    if (!views) {
      return views.error();
    }
    return answer_statuses(*pool, statuses, [&](auto on_done) {
      pool->core->client().submit_remove(*views, on_done);
    });
  });
}

godbox_status godbox_events(godbox_pool* pool, uint64_t* position, uint64_t timeout_ms,
                            godbox_on_event on_event, void* user, uint64_t* lost) {
  return guarded([&]() -> Result<void> {
    if (pool == nullptr || position == nullptr || on_event == nullptr) {
      return refused("pool, position or on_event: NULL");
    }
    const auto reply = events_behind(*pool->core, *position, timeout_ms);
    if (!reply) {
      return reply.error();
    }
    *position = reply->next;
    if (lost != nullptr) {
      *lost = reply->lost;
    }
    for (const godbox::wire::Event& each : reply->events) {
      const godbox_event event{.sequence = each.sequence,
                               .kind = static_cast<std::int32_t>(each.kind),
                               .name = each.name.c_str(),
                               .name_size = each.name.size(),
                               .size_bytes = each.size.count()};
      on_event(user, &event);
    }
    return {};
  });
}

godbox_status godbox_usage(godbox_pool* pool, godbox_tenant_usage* usage) {
  return guarded([&]() -> Result<void> {
    if (pool == nullptr || usage == nullptr) {
      return refused("pool or usage: NULL");
    }
    const auto reply = answer_of<godbox::wire::UsageReply>(
        *pool->core, [&](auto on_done) { pool->core->client().submit_usage(on_done); });
    if (!reply) {
      return reply.error();
    }
    return answer_in(usage, {.size = 0,
                             .quota_bytes = reply->quota.count(),
                             .reserved_bytes = reply->reserved.count(),
                             .held_bytes = reply->held.count(),
                             .objects = reply->objects,
                             .evictions = reply->evictions,
                             .names_found = reply->names_found,
                             .names_missed = reply->names_missed});
  });
}

}  // extern "C"
