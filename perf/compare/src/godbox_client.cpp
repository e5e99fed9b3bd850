// SPDX-License-Identifier: Apache-2.0
#include "godbox_client.h"

#include <fmt/format.h>

#include <chrono>
#include <utility>

namespace godbox::compare {
namespace {

constexpr Duration kWaitMax = std::chrono::milliseconds(100);
constexpr Duration kPatience = std::chrono::seconds(10);

}  // namespace

Result<std::unique_ptr<KvClient>> GodboxClient::connect(const std::string& address,
                                                        const GodboxClientOptions& options) {
  ConnectOptions with;
  with.client.crc = options.crc;
  with.client.timeout = kPatience;
  with.lanes_per_eth_port = options.lanes_per_eth_port;
  with.eth_ports_max = options.eth_ports_max;
  Result<std::unique_ptr<Connection>> connection = godbox::connect(address, with);
  if (!connection) {
    return connection.error();
  }
  std::unique_ptr<GodboxClient> client(new GodboxClient(std::move(*connection)));
  if (!options.region.empty()) {
    if (const Result<void> made = client->make_region(options.region); !made) {
      return made.error();
    }
  }
  return std::unique_ptr<KvClient>(std::move(client));
}

GodboxClient::GodboxClient(std::unique_ptr<Connection> connection)
    : connection_(std::move(connection)) {}

GodboxClient::~GodboxClient() {
  if (region_.size > SizeBytes()) {
    (void)connection_->client().free(region_);  // else it goes with the session
  }
}

Result<void> GodboxClient::make_region(ConstSpan contents) {
  Result<striping::Region> region = connection_->client().allocate(SizeBytes(contents.size()));
  if (!region) {
    return region.error();
  }
  region_ = std::move(*region);
  // A write's source is not changed; the segment serves both directions.
  const LocalSegment source{const_cast<std::byte*>(contents.data()), contents.size()};
  const striping::RegionPiece piece{RegionOffset(), source};
  const Errc written = connection_->client().write(region_, std::span(&piece, 1));
  return written == Errc::ok ? Result<void>() : Error(written, "writing the region");
}

void GodboxClient::progress() {
  connection_->client().progress(connection_->network().clock().now() + kWaitMax);
}

GodboxClient::Call& GodboxClient::take_call(std::span<const KvObject> objects, OnDone on_done) {
  if (free_calls_.empty()) {
    free_calls_.push_back(&calls_.emplace_back());
  }
  Call& call = *free_calls_.back();
  free_calls_.pop_back();
  call.objects.assign(objects.begin(), objects.end());
  call.segments.clear();
  for (const KvObject& object : objects) {
    call.segments.push_back({object.memory.data(), object.memory.size()});
  }
  call.on_done = std::move(on_done);
  return call;
}

void GodboxClient::submit(KvOp op, std::span<const KvObject> objects, OnDone on_done) {
  Call& call = take_call(objects, std::move(on_done));
  switch (op) {
    case KvOp::set:
      return start_set(call);
    case KvOp::get:
      return start_get(call);
    case KvOp::read:
      return start_read(call);
  }
}

void GodboxClient::start_set(Call& call) {
  call.puts.clear();
  for (std::size_t i = 0; i < call.objects.size(); ++i) {
    call.puts.push_back(
        {.name = call.objects[i].name, .data = {&call.segments[i], 1}, .rebinds = true});
  }
  connection_->client().submit_put(call.puts, [this, &call](std::span<const Errc> statuses) {
    finish(call, KvOp::set, statuses);
  });
}

void GodboxClient::start_get(Call& call) {
  call.gets.clear();
  for (std::size_t i = 0; i < call.objects.size(); ++i) {
    call.gets.push_back({call.objects[i].name, {&call.segments[i], 1}});
  }
  connection_->client().submit_get(call.gets, [this, &call](std::span<const Errc> statuses) {
    finish(call, KvOp::get, statuses);
  });
}

void GodboxClient::start_read(Call& call) {
  call.pieces.clear();
  for (std::size_t i = 0; i < call.objects.size(); ++i) {
    call.pieces.push_back({call.objects[i].place, call.segments[i]});
  }
  connection_->client().submit_region(
      WorkOp::read, region_, call.pieces, [this, &call](Errc status) {
        end(call, status == Errc::ok ? Result<void>() : Error(status, "reading the region"));
      });
}

void GodboxClient::finish(Call& call, KvOp op, std::span<const Errc> statuses) {
  for (std::size_t i = 0; i < statuses.size(); ++i) {
    if (statuses[i] != Errc::ok) {
      return end(call,
                 Error(statuses[i], fmt::format("{} \"{}\"", to_string(op), call.objects[i].name)));
    }
  }
  end(call, {});
}

void GodboxClient::end(Call& call, Result<void> result) {
  const OnDone on_done = std::exchange(call.on_done, nullptr);
  free_calls_.push_back(&call);
  on_done(std::move(result));
}

}  // namespace godbox::compare
