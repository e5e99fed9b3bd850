// SPDX-License-Identifier: Apache-2.0
//
// Somebody inside the box who sees all: after each event of the network it reads what has happened
// to each tenant's objects, so that it knows at every moment which names are bound and to how many
// bytes. It judges the events themselves (each must follow from those before, and from what some
// client has asked for), which objects were evicted in the place of others, what LIST and usage
// say, and what a client that subscribes is told.
// Thread-safety: one thread. Units: bytes, virtual time. Errors: the world's violations.
#pragma once

#include <godbox/sim/object_model.h>
#include <godbox/wire.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace godbox::sim {

class World;

class Observer {
 public:
  explicit Observer(World& world) : world_(world) {}

  // Takes its seats in a box that has started, and leaves them before anybody counts who is there,
  // or before the box stops.
  void begin();
  void end();
  [[nodiscard]] bool is_there() const { return !tenants_.empty(); }
  // Counts the lives of the box.
  [[nodiscard]] std::uint64_t life() const { return life_; }

  void look();
  // Is heard of by the box, and reads nothing.
  void stay();
  // LIST and usage beside what the events have told.
  void compare();
  // A subscriber who asked `request` when the tenant's last event was `last_at_begin` was answered.
  void check_reply(std::size_t tenant, const wire::EventsRequest& request,
                   std::uint64_t last_at_begin, const wire::EventsReply& reply);
  [[nodiscard]] std::uint64_t last(std::size_t tenant) const { return tenants_[tenant].last(); }
  // Many events at once, for those who are slow to read: sparse objects that come and go.
  void make_events(std::size_t tenant, std::size_t count);

 private:
  struct Bound {
    SizeBytes size;
    std::uint64_t sequence = 0;  // of the event that bound it
  };
  struct Tenant {
    SessionId session;
    std::uint64_t first = 0;  // position before history[0]
    bool is_whole = false;    // the log began there
    std::vector<wire::Event> history;
    std::map<std::string, Bound> names;
    [[nodiscard]] std::uint64_t last() const { return first + history.size(); }
    // Else it is of a log that is gone.
    [[nodiscard]] bool knows(std::uint64_t position) const {
      return position >= first && position <= last();
    }
    // The event behind a position, which is not the last one, is of these kinds.
    [[nodiscard]] bool has_of(std::uint32_t kinds, std::uint64_t position) const {
      return ((kinds >> static_cast<unsigned>(history[position - first].kind)) & 1U) != 0;
    }
  };

  void read(std::size_t number);
  void begin_history(std::size_t number);
  void follow(std::size_t number, const wire::Event& event);
  // False: to a position that is none, or with too few events.
  [[nodiscard]] bool check_extent(const Tenant& tenant, const wire::EventsRequest& request,
                                  std::uint64_t last_at_begin, const wire::EventsReply& reply);
  // Behind which position those begin that a reply tells of: nothing where it does not say what was
  // missed.
  [[nodiscard]] std::optional<std::uint64_t> begin_of(const Tenant& tenant,
                                                      const wire::EventsRequest& request,
                                                      const wire::EventsReply& reply);
  void check_order_of_eviction(std::size_t number, const wire::Event& event);
  void compare(std::size_t number);

  World& world_;
  std::uint64_t life_ = 0;
  std::vector<Tenant> tenants_;
};

}  // namespace godbox::sim
