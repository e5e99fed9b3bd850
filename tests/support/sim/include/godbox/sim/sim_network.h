// SPDX-License-Identifier: Apache-2.0
//
// A StreamNetwork in virtual time: byte streams between endpoints of one process, with delay, short
// reads and writes, backpressure and faults, all drawn from one seed. No socket, no sleeping: time
// jumps to the next event, and the same seed gives the same events in the same order.
//
// What it does to endpoints is what stream.h allows and no more: spans to send are read as late as
// their on_sent, on_sent may fall between receive_spans and on_received, bytes come in any pieces,
// streams stay in order while connections overtake each other. It asserts the endpoints' duties:
// no empty span, at most kStreamSpansMax of them, no timer that is due for ever. Memory that may
// leave by reference does, at random: it is read when the far end receives it, and not before.
//
// Faults are TCP's: a cut connection may still deliver a part of what was under way before its end
// is seen, and both ends see it at times of their own; a half-dead one delivers nothing and tells
// nobody; a killed host's connections end with what its kernel had taken.
//
// Thread-safety: one thread. Ownership: endpoints and acceptors as in stream.h; listening addresses
// may be given up with unlisten(). Units: bytes and virtual nanoseconds. Errors: see stream.h.
#pragma once

#include <godbox/clock.h>
#include <godbox/sim/sim_random.h>
#include <godbox/stream.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <string>
#include <unordered_map>
#include <vector>

namespace godbox::sim {

using HostId = Id<struct HostIdTag, std::uint32_t>;

struct SimNetworkOptions {
  // One way, drawn once per connection; each packet adds up to `jitter_max`.
  Duration delay_min = std::chrono::microseconds(5);
  Duration delay_max = std::chrono::microseconds(200);
  Duration jitter_max = std::chrono::microseconds(100);
  // Bytes under way and unread in one direction, drawn per connection.
  std::size_t pipe_bytes_min = std::size_t{4} << 10U;
  std::size_t pipe_bytes_max = std::size_t{256} << 10U;
  std::size_t chunk_bytes_max = std::size_t{64} << 10U;
  // One write or read in so many is cut to a few bytes / to a random length.
  std::uint64_t tiny_chunk_one_in = 16;
  std::uint64_t short_chunk_one_in = 4;
  Rate bandwidth;  // of each direction of each connection; 0: unlimited
  // A connection to a host that does not answer fails after this long.
  Duration connect_timeout = std::chrono::seconds(3);
  // Flips a bit in one of so many packets of a server; 0: never. The product has no checksum below
  // its own, so this is how the detection itself is tested.
  std::uint64_t corrupt_packet_one_in = 0;
  bool corrupt_both_directions = false;
};

struct SimNetworkCounters {
  std::uint64_t events = 0;
  std::uint64_t connections = 0;
  std::uint64_t refused = 0;
  std::uint64_t bytes_delivered = 0;
  std::uint64_t bytes_lost = 0;  // in cut, killed and half-dead connections
  std::uint64_t cuts = 0;
  std::uint64_t corrupted_packets = 0;
};

struct ConnectionView {
  ConnectionId id;
  HostId client;
  std::string address;
  bool established = false;
};

class SimHost;

class SimNetwork final : public StreamNetwork {
 public:
  static constexpr std::size_t kConnectionsMax = 1U << 20U;
  // More events than this at one instant, or ticks in a row without an event while run_until waits
  // for one: an endpoint that spins, or a world in which nothing can happen any more.
  static constexpr std::uint64_t kEventsAtOneInstantMax = 1U << 16U;
  static constexpr std::uint64_t kIdleTicksMax = 4U << 20U;

  explicit SimNetwork(std::uint64_t seed, SimNetworkOptions options = {});
  ~SimNetwork() override;
  SimNetwork(const SimNetwork&) = delete;
  SimNetwork& operator=(const SimNetwork&) = delete;

  [[nodiscard]] const Clock& clock() const override { return clock_; }
  [[nodiscard]] TimePoint now() const { return clock_.now(); }
  [[nodiscard]] ConnectionId connect(const StreamAddress& to, StreamEndpoint& endpoint) override;
  void close(ConnectionId connection) override;
  void kick(ConnectionId connection) override;
  [[nodiscard]] Result<StreamAddress> listen(const StreamAddress& at,
                                             StreamAcceptor& acceptor) override;
  void add_tick(Duration period, std::function<void(TimePoint)> tick) override;
  // Called while a run_until is under way, it handles nothing: so one member of the world may poll
  // the network from a hook while another drives it.
  std::size_t run_until(TimePoint until) override;
  void wake() override { wake_ = true; }

  // A machine of its own on this network: what it connects can be killed as one. Lives as long as
  // the network; host 0 is the network itself.
  [[nodiscard]] SimHost& add_host();
  // Runs after each handled event, before time moves on.
  void set_after_event(std::function<void()> hook) { after_event_ = std::move(hook); }
  // Time goes on by so much in one step, as for a process that was stopped: what would have
  // happened meanwhile happens late. Not from inside run_until.
  void jump(Duration by);
  // Runs `action` at that time as an event of its own.
  void schedule(TimePoint at, std::function<void()> action);

  void stop_corruption() { options_.corrupt_packet_one_in = 0; }

  // --- Faults. Connections are picked by the caller from connections(). ---
  [[nodiscard]] std::vector<ConnectionView> connections() const;
  // Both ends hear on_closed, each after a part of what was under way to it and at most
  // `notice_max` late.
  void cut(ConnectionId connection, Duration notice_max);
  // Nothing is delivered any more and nobody is told.
  void half_dead(ConnectionId connection);
  // Nothing is delivered for `time`; then all of it, in order.
  void stall(ConnectionId connection, Duration time);
  // New connections are refused (or, `silent`, time out); open ones are untouched.
  void set_down(const StreamAddress& at, bool down, bool silent = false);
  // The process on that host is gone: its endpoints hear nothing any more but the on_closed of
  // their own close(); what its kernel had taken may still arrive. `silent`: the machine lost
  // power, so the far ends hear nothing either.
  void kill_host(HostId host, bool silent);
  // A killed host starts again, with no connections.
  void revive_host(HostId host);
  // Stops listening and ends at once all that was accepted there, as when the process is killed;
  // the acceptor is not called again. Not from inside run_until.
  void unlisten(const StreamAddress& at, Duration notice_max);

  [[nodiscard]] const SimNetworkCounters& counters() const { return counters_; }
  // Of all events so far with their times, places, lengths and bytes.
  [[nodiscard]] std::uint64_t trace_hash() const { return trace_hash_; }
  // Told each event as one line of text.
  void set_trace(std::function<void(const std::string&)> trace) { trace_ = std::move(trace); }

 private:
  friend class SimHost;
  enum class What : std::uint8_t {
    connect,
    connected,
    connect_failed,
    pump,
    write,
    arrive,
    read,
    timer,
    vanish,
    tick,
    action
  };
  enum class PacketKind : std::uint8_t { data, fin, reset };
  struct Packet {
    PacketKind kind = PacketKind::data;
    std::vector<std::byte> bytes;
    std::vector<ConstSpan> referred;  // left by reference: what `bytes` are when they are read
    std::size_t read_bytes = 0;
    TimePoint arrival;
  };
  // One direction of a connection, from the side that writes to the side that reads.
  struct Pipe {
    std::deque<Packet> packets;  // arrived ones first
    std::size_t arrived = 0;     // number of packets at the front that may be read
    std::size_t bytes = 0;       // written and not read yet
    TimePoint last_arrival{};
    TimePoint stalled_until{};
    bool dead = false;              // swallows everything
    bool ended = false;             // a fin or reset was put in
    std::uint64_t taken_bytes = 0;  // of all packets that were read to their end
    std::shared_ptr<void> kept;     // what its packets refer to, once the writer has closed
  };
  struct Side {
    StreamEndpoint* endpoint = nullptr;  // null: closed
    std::unique_ptr<StreamEndpoint> owned;
    bool connected = false;
    bool muted = false;  // its process was killed
    bool pump_scheduled = false;
    bool read_scheduled = false;
    bool writing = false;
    std::vector<ConstSpan> write_spans;
    std::size_t write_bytes = 0;
    bool write_refers = false;
    TimePoint timer_at = kNever;  // of the timer event under way; never later than the deadline
    std::uint64_t timer_generation = 0;
    Pipe out;  // what this side has written
  };
  struct Connection {
    ConnectionId id;
    HostId client_host;
    std::string address;
    Duration delay{};
    std::size_t pipe_bytes_max = 0;
    bool established = false;
    std::array<Side, 2> sides;  // client, server
  };
  struct Event {
    TimePoint at;
    std::uint64_t sequence = 0;
    What what = What::pump;
    std::uint8_t side = 0;
    ConnectionId connection;
    std::uint64_t number = 0;  // timer generation, index of tick or action
  };
  struct Later {
    bool operator()(const Event& a, const Event& b) const {
      return a.at != b.at ? a.at > b.at : a.sequence > b.sequence;
    }
  };
  struct Listener {
    StreamAcceptor* acceptor = nullptr;
    bool down = false;
    bool silent = false;
  };
  struct Tick {
    Duration period;
    std::function<void(TimePoint)> call;
  };

  static constexpr std::uint8_t kClient = 0;
  static constexpr std::uint8_t kServer = 1;

  [[nodiscard]] ConnectionId connect_from(HostId host, const StreamAddress& to,
                                          StreamEndpoint& endpoint);
  [[nodiscard]] Connection* find(ConnectionId id);
  void push(TimePoint at, What what, ConnectionId connection = ConnectionId(),
            std::uint8_t side = kClient, std::uint64_t number = 0);
  // Each answers whether the event was still wanted.
  bool dispatch(const Event& event);
  bool dispatch_to(Connection& connection, const Event& event);
  bool reach_server(Connection& connection);
  bool reach_client(Connection& connection);
  bool finish_write(Connection& connection, std::uint8_t side);
  bool arrive(Connection& connection, std::uint8_t side);
  bool read(Connection& connection, std::uint8_t side);
  bool fire_timer(Connection& connection, std::uint8_t side, std::uint64_t generation);
  bool pump(Connection& connection, std::uint8_t side);
  void start_write(Connection& connection, std::uint8_t side, std::size_t offered_bytes);
  void schedule_pump(Connection& connection, std::uint8_t side);
  void schedule_read(Connection& connection, std::uint8_t side);
  void schedule_timer(Connection& connection, std::uint8_t side);
  void put_packet(Connection& connection, std::uint8_t from, Packet packet, Duration extra);
  void put_end(Connection& connection, std::uint8_t from, bool with_loss, Duration extra);
  void put_part_of_write(Connection& connection, std::uint8_t side);
  void lose_tail(Pipe& pipe);
  // The side's own end is gone: its endpoint hears `reason`; the far side gets what is under way (a
  // part of it, maybe, when not `graceful`) and then the end.
  void close_side(Connection& connection, std::uint8_t side, Errc reason, bool graceful);
  void end_endpoint(Connection& connection, std::uint8_t side, Errc reason);
  void drop_unread(Pipe& pipe);
  [[nodiscard]] static std::size_t referable_bytes(const Side& side);
  static void fill(Packet& packet, std::span<const ConstSpan> spans, std::size_t size_bytes);
  [[nodiscard]] static bool is_referring(const Pipe& pipe);
  static void stop_referring(Pipe& pipe);
  void bury();
  [[nodiscard]] std::size_t choose_chunk(std::size_t bytes_max);
  [[nodiscard]] Duration small_delay();
  void note(const char* what, const Connection* connection, std::uint8_t side,
            std::uint64_t number);

  SimRandom random_;
  SimNetworkOptions options_;
  ManualClock clock_;
  std::vector<std::unique_ptr<SimHost>> hosts_;
  std::map<std::string, Listener> listeners_;
  std::uint16_t next_free_port_ = 40000;
  std::map<std::uint64_t, std::unique_ptr<Connection>> connections_;  // ordered: a seed replays
  // Gone, but maybe with a call on the stack: kept until run_until is over.
  std::vector<std::unique_ptr<Connection>> graveyard_;
  std::vector<std::unique_ptr<StreamEndpoint>> dead_endpoints_;
  std::uint64_t next_connection_ = 1;
  std::priority_queue<Event, std::vector<Event>, Later> events_;
  std::uint64_t next_sequence_ = 1;
  std::vector<Tick> ticks_;
  std::map<std::uint64_t, std::function<void()>> actions_;
  std::uint64_t next_action_ = 1;
  std::function<void()> after_event_;
  std::function<void(const std::string&)> trace_;
  std::uint64_t trace_hash_ = 0;
  std::uint64_t events_at_instant_ = 0;
  SimNetworkCounters counters_;
  bool running_ = false;
  bool wake_ = false;
};

// One machine's view of a SimNetwork: everything is shared but the connections it makes.
class SimHost final : public StreamNetwork {
 public:
  SimHost(SimNetwork& network, HostId id) : network_(network), id_(id) {}

  [[nodiscard]] HostId id() const { return id_; }
  [[nodiscard]] bool is_dead() const { return dead_; }
  [[nodiscard]] const Clock& clock() const override { return network_.clock(); }
  [[nodiscard]] ConnectionId connect(const StreamAddress& to, StreamEndpoint& endpoint) override {
    return network_.connect_from(id_, to, endpoint);
  }
  void close(ConnectionId connection) override { network_.close(connection); }
  void kick(ConnectionId connection) override { network_.kick(connection); }
  [[nodiscard]] Result<StreamAddress> listen(const StreamAddress& at,
                                             StreamAcceptor& acceptor) override {
    return network_.listen(at, acceptor);
  }
  void add_tick(Duration period, std::function<void(TimePoint)> tick) override {
    network_.add_tick(period, std::move(tick));
  }
  std::size_t run_until(TimePoint until) override { return network_.run_until(until); }
  void wake() override { network_.wake(); }

 private:
  friend class SimNetwork;
  SimNetwork& network_;
  HostId id_;
  bool dead_ = false;
};

}  // namespace godbox::sim
