// SPDX-License-Identifier: Apache-2.0
//
// Godbox's native door behind the interface of the contest: striping::Client, wired as users wire
// it (godbox/connect.h). An object never changes, so `set` puts new ones that take the names from
// the old ones as they are committed. `read` is remote memory: a region as large as the caller
// says, allocated and written when the client is made.
// Thread-safety, ownership: see KvClient. Units: bytes. Errors: those of godbox::connect() and of
// the calls, with the name of the first object that failed.
#pragma once

#include "kv_client.h"
#include <godbox/connect.h>

#include <deque>
#include <memory>
#include <string>
#include <vector>

namespace godbox::compare {

struct GodboxClientOptions {
  bool crc = true;
  std::uint32_t lanes_per_eth_port = 0;  // 0: as the library chooses
  std::uint32_t eth_ports_max = 0;       // 0: all of the box
  ConstSpan region{};                    // what remote memory has to hold; empty: none is allocated
};

class GodboxClient : public KvClient {
 public:
  [[nodiscard]] static Result<std::unique_ptr<KvClient>> connect(
      const std::string& address, const GodboxClientOptions& options);
  ~GodboxClient() override;

  void submit(KvOp op, std::span<const KvObject> objects, OnDone on_done) override;
  void progress() override;

 private:
  // What a call needs until it is over; they stay where they are.
  struct Call {
    std::vector<KvObject> objects;
    std::vector<LocalSegment> segments;
    std::vector<striping::PutItem> puts;
    std::vector<striping::GetItem> gets;
    std::vector<striping::RegionPiece> pieces;
    OnDone on_done;
  };

  explicit GodboxClient(std::unique_ptr<Connection> connection);
  [[nodiscard]] Result<void> make_region(ConstSpan contents);
  Call& take_call(std::span<const KvObject> objects, OnDone on_done);
  void start_set(Call& call);
  void start_get(Call& call);
  void start_read(Call& call);
  void finish(Call& call, KvOp op, std::span<const Errc> statuses);
  void end(Call& call, Result<void> result);

  std::unique_ptr<Connection> connection_;
  striping::Region region_;
  std::deque<Call> calls_;
  std::vector<Call*> free_calls_;
};

}  // namespace godbox::compare
