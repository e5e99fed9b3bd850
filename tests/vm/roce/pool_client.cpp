// SPDX-License-Identifier: Apache-2.0
//
// A client of the pool through librdmacm and libibverbs, as other people's programs are:
//   pool_client ADDRESS SESSION SECRET SECRET KEY VIRTUAL-ADDRESS BYTES [SIZE...]
// Numbers are hexadecimal, sizes decimal.
// Connects to the pool's service with the proof of the session, WRITEs the bytes of a pattern
// there in pieces, READs them back, and adds to their first word by FETCH ADD. With sizes it WRITEs
// all BYTES by one request instead, then, for each size in turn, so many other bytes, and READs
// these back, and again with what lies behind them. Exit status 0: all is as it has to be; 3: the
// connection was refused, with the pool's reason on standard output. No header of godbox: what is
// here is what docs/rdma.md says.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include <arpa/inet.h>
#include <endian.h>
#include <rdma/rdma_cma.h>
#include <rdma/rdma_verbs.h>

namespace {

constexpr std::size_t kPieceBytes = 48 * 1024 + 4;  // no multiple of a path MTU

struct Hello {
  std::uint16_t version, reserved;
  std::uint32_t flags;
  std::uint64_t session, secret[2];
};
static_assert(sizeof(Hello) == 32);

[[noreturn]] void fail(const char* what) {
  std::perror(what);
  std::exit(1);
}

std::uint64_t hexadecimal(const char* text) { return std::strtoull(text, nullptr, 16); }

void wait_for_one(rdma_cm_id* id, const char* what) {
  ibv_wc completion{};
  if (rdma_get_send_comp(id, &completion) != 1 || completion.status != IBV_WC_SUCCESS) {
    std::fprintf(stderr, "%s: %s\n", what, ibv_wc_status_str(completion.status));
    std::exit(1);
  }
}

rdma_cm_id* connect_to(const char* address, Hello& hello) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(7400);
  rdma_cm_id* id = nullptr;
  if (inet_pton(AF_INET, address, &to.sin_addr) != 1 ||
      rdma_create_id(nullptr, &id, nullptr, RDMA_PS_TCP) != 0) {
    fail("rdma_create_id");
  }
  // What is lost is asked for again after 134 ms, and not after a second.
  std::uint8_t timeout = 15;
  rdma_set_option(id, RDMA_OPTION_ID, RDMA_OPTION_ID_ACK_TIMEOUT, &timeout, sizeof(timeout));
  if (rdma_resolve_addr(id, nullptr, reinterpret_cast<sockaddr*>(&to), 10'000) != 0 ||
      rdma_resolve_route(id, 10'000) != 0) {
    fail("rdma_resolve_addr");
  }
  ibv_qp_init_attr attributes{};
  attributes.cap = {.max_send_wr = 16,
                    .max_recv_wr = 1,
                    .max_send_sge = 1,
                    .max_recv_sge = 1,
                    .max_inline_data = 0};
  attributes.sq_sig_all = 1;
  attributes.qp_type = IBV_QPT_RC;
  if (rdma_create_qp(id, nullptr, &attributes) != 0) {
    fail("rdma_create_qp");
  }
  rdma_conn_param parameters{};
  parameters.private_data = &hello;
  parameters.private_data_len = sizeof(hello);
  parameters.responder_resources = 1;
  parameters.initiator_depth = 4;
  parameters.retry_count = 7;
  parameters.rnr_retry_count = 7;
  if (rdma_connect(id, &parameters) != 0) {
    const rdma_cm_event* const event = id->event;
    if (event != nullptr && event->event == RDMA_CM_EVENT_REJECTED) {
      const auto* const data = static_cast<const std::uint8_t*>(event->param.conn.private_data);
      std::printf("refused: status %d, reason %d\n", event->status, data[2] << 8 | data[3]);
      std::exit(3);
    }
    fail("rdma_connect");
  }
  const auto* const data = static_cast<const std::uint8_t*>(id->event->param.conn.private_data);
  ibv_qp_attr pair{};
  ibv_qp_init_attr made{};
  if (ibv_query_qp(id->qp, &pair, IBV_QP_PATH_MTU, &made) != 0) {
    fail("ibv_query_qp");
  }
  std::printf("connected: version %d, lane %d, path MTU %u\n", data[0] << 8 | data[1],
              data[4] << 24 | data[5] << 16 | data[6] << 8 | data[7],
              128U << static_cast<unsigned>(pair.path_mtu));
  return id;
}

struct Remote {
  std::uint64_t address = 0;
  std::uint32_t key = 0;
};

ibv_mr* registered(rdma_cm_id* id, std::vector<std::uint8_t>& bytes) {
  ibv_mr* const memory = rdma_reg_msgs(id, bytes.data(), bytes.size());
  return memory != nullptr ? memory : (fail("rdma_reg_msgs"), nullptr);
}

void write_and_read(rdma_cm_id* id, const Remote& remote, std::vector<std::uint8_t>& sent,
                    std::vector<std::uint8_t>& got) {
  ibv_mr* const from = registered(id, sent);
  ibv_mr* const to = registered(id, got);
  const auto in_pieces = [&](const char* what, auto&& post) {
    for (std::size_t at = 0; at < sent.size(); at += kPieceBytes) {
      if (post(at, std::min(kPieceBytes, sent.size() - at)) != 0) {
        fail(what);
      }
      wait_for_one(id, what);
    }
  };
  in_pieces("write", [&](std::size_t at, std::size_t size) {
    return rdma_post_write(id, nullptr, sent.data() + at, size, from, 0, remote.address + at,
                           remote.key);
  });
  in_pieces("read", [&](std::size_t at, std::size_t size) {
    return rdma_post_read(id, nullptr, got.data() + at, size, to, 0, remote.address + at,
                          remote.key);
  });
  rdma_dereg_mr(from);
  rdma_dereg_mr(to);
}

// Adds 1 to the word there; what it was before.
std::uint64_t fetch_add(rdma_cm_id* id, const Remote& remote) {
  std::vector<std::uint8_t> word(sizeof(std::uint64_t));
  ibv_mr* const memory = registered(id, word);
  ibv_sge place{.addr = reinterpret_cast<std::uintptr_t>(word.data()),
                .length = sizeof(std::uint64_t),
                .lkey = memory->lkey};
  ibv_send_wr add{};
  add.sg_list = &place;
  add.num_sge = 1;
  add.opcode = IBV_WR_ATOMIC_FETCH_AND_ADD;
  add.wr.atomic.remote_addr = remote.address;
  add.wr.atomic.rkey = remote.key;
  add.wr.atomic.compare_add = 1;
  ibv_send_wr* bad = nullptr;
  if (ibv_post_send(id->qp, &add, &bad) != 0) {
    fail("ibv_post_send");
  }
  wait_for_one(id, "fetch add");
  rdma_dereg_mr(memory);
  std::uint64_t value = 0;
  std::memcpy(&value, word.data(), sizeof(value));
  return value;
}

constexpr std::size_t kBehindBytes = 4096;  // looked at behind each write

void write_one(rdma_cm_id* id, const Remote& remote, std::vector<std::uint8_t>& bytes,
               std::size_t size) {
  ibv_mr* const from = registered(id, bytes);
  if (rdma_post_write(id, nullptr, bytes.data(), size, from, 0, remote.address, remote.key) != 0) {
    fail("write");
  }
  wait_for_one(id, "write");
  rdma_dereg_mr(from);
}

// Whether one READ of `size` bytes brings those of `bytes`, and nothing behind them.
bool reads_one(rdma_cm_id* id, const Remote& remote, const std::vector<std::uint8_t>& bytes,
               std::size_t size) {
  std::vector<std::uint8_t> got(size + 1, 0x5A);
  ibv_mr* const to = registered(id, got);
  if (rdma_post_read(id, nullptr, got.data(), size, to, 0, remote.address, remote.key) != 0) {
    fail("read");
  }
  wait_for_one(id, "read");
  rdma_dereg_mr(to);
  return std::equal(got.begin(), got.end() - 1, bytes.begin()) && got.back() == 0x5A;
}

int move_sizes(rdma_cm_id* id, const Remote& remote, std::vector<std::uint8_t>& bytes,
               char** sizes) {
  write_one(id, remote, bytes, bytes.size());
  for (; *sizes != nullptr; ++sizes) {
    const std::size_t size = std::strtoull(*sizes, nullptr, 10);
    const std::size_t with_behind = size + kBehindBytes;
    for (std::size_t i = 0; i < size && with_behind <= bytes.size(); ++i) {
      bytes[i] = static_cast<std::uint8_t>(i * 91 + i / 247 + size);
    }
    if (with_behind <= bytes.size()) {
      write_one(id, remote, bytes, size);
    }
    if (with_behind > bytes.size() || !reads_one(id, remote, bytes, size) ||
        !reads_one(id, remote, bytes, with_behind)) {
      std::fprintf(stderr, "%zu bytes: others came back than were written\n", size);
      return 1;
    }
    std::printf("%zu bytes\n", size);
  }
  rdma_disconnect(id);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 8) {
    std::fprintf(stderr,
                 "usage: pool_client ADDRESS SESSION SECRET SECRET KEY ADDRESS BYTES [SIZE...]\n");
    return 2;
  }
  Hello hello{.version = htons(1),
              .reserved = 0,
              .flags = 0,
              .session = htobe64(hexadecimal(argv[2])),
              .secret = {htobe64(hexadecimal(argv[3])), htobe64(hexadecimal(argv[4]))}};
  const Remote remote{.address = hexadecimal(argv[6]),
                      .key = static_cast<std::uint32_t>(hexadecimal(argv[5]))};
  rdma_cm_id* const id = connect_to(argv[1], hello);
  std::vector<std::uint8_t> sent(hexadecimal(argv[7]));
  std::vector<std::uint8_t> got(sent.size());
  for (std::size_t i = 0; i < sent.size(); ++i) {
    sent[i] = static_cast<std::uint8_t>(i * 167 + i / 251);
  }
  if (argc > 8) {
    return move_sizes(id, remote, sent, argv + 8);
  }
  write_and_read(id, remote, sent, got);
  std::uint64_t first = 0;
  std::memcpy(&first, sent.data(), sizeof(first));
  if (sent != got || fetch_add(id, remote) != first || fetch_add(id, remote) != first + 1) {
    std::fprintf(stderr, "other bytes came back than were written\n");
    return 1;
  }
  rdma_disconnect(id);
  std::printf("%zu bytes written and read back\n", sent.size());
  return 0;
}
