// SPDX-License-Identifier: Apache-2.0
//
// Management datagrams of connection management as they lie on the wire: 256 bytes, the payload of
// a datagram to queue pair 1. No logic here. All integers are big-endian.
// Source: IBTA Architecture Specification volume 1, release 1.4: 13.4.2 (MAD header), chapter 12
// (messages: REQ 12.6.5, MRA 12.6.6, REJ 12.6.7, REP 12.6.8, RTU 12.6.9, DREQ 12.6.10,
// DREP 12.6.11, SIDR_REQ 12.11.1, SIDR_REP 12.11.2); what rdma_cm puts into private data: annex
// A11. Thread-safety: plain values. Units: in each name.
#pragma once

#include <godbox/roce/packet_spec.h>

#include <cstddef>
#include <cstdint>

namespace godbox::roce {

inline constexpr std::size_t kMadBytes = 256;
inline constexpr std::uint8_t kMadBaseVersion = 1;
inline constexpr std::uint8_t kMadClassConnections = 0x07;
inline constexpr std::uint8_t kMadClassVersion = 2;
inline constexpr std::uint8_t kMadMethodSend = 0x03;

enum class CmAttribute : std::uint16_t {
  req = 0x10,
  mra = 0x11,
  rej = 0x12,
  rep = 0x13,
  rtu = 0x14,
  dreq = 0x15,
  drep = 0x16,
  sidr_req = 0x17,
  sidr_rep = 0x18,
  lap = 0x19,
  apr = 0x1A,
};

struct MadHeaderSpec {
  std::uint8_t base_version;      //  0
  std::uint8_t management_class;  //  1
  std::uint8_t class_version;     //  2
  std::uint8_t method;            //  3
  Be16 status;                    //  4
  Be16 class_specific;            //  6
  Be64 transaction_id;            //  8
  Be16 attribute_id;              // 16
  Be16 reserved;                  // 18
  Be32 attribute_modifier;        // 20
};
static_assert(sizeof(MadHeaderSpec) == 24 && offsetof(MadHeaderSpec, attribute_id) == 16);

inline constexpr std::size_t kCmMessageBytes = kMadBytes - sizeof(MadHeaderSpec);

// Offsets are those of the message, behind the MAD's header.
struct CmPathSpec {
  Be16 local_lid;               //  0
  Be16 remote_lid;              //  2
  std::uint8_t local_gid[16];   //  4
  std::uint8_t remote_gid[16];  // 20
  Be24 flow_label;              // 36  in the upper 20 bits
  std::uint8_t packet_rate;     // 39
  std::uint8_t traffic_class;   // 40
  std::uint8_t hop_limit;       // 41
  std::uint8_t service_level;   // 42  SL 7..4, subnet local 3
  std::uint8_t ack_timeout;     // 43  7..3
};
static_assert(sizeof(CmPathSpec) == 44);

struct CmReqSpec {
  Be32 local_comm_id;                //   0
  std::uint8_t reserved_0;           //   4
  std::uint8_t vendor_id[3];         //   5
  Be64 service_id;                   //   8
  Be64 local_ca_guid;                //  16
  Be32 reserved_1;                   //  24
  Be32 local_q_key;                  //  28
  Be24 local_qpn;                    //  32
  std::uint8_t responder_resources;  //  35
  Be24 local_eecn;                   //  36
  std::uint8_t initiator_depth;      //  39
  Be24 remote_eecn;                  //  40
  std::uint8_t transport;            //  43  remote CM timeout 7..3, service 2..1, flow control 0
  Be24 starting_psn;                 //  44
  std::uint8_t retries;              //  47  local CM timeout 7..3, retry count 2..0
  Be16 p_key;                        //  48
  std::uint8_t mtu;                  //  50  path MTU 7..4, RDC 3, RNR retry count 2..0
  std::uint8_t cm_retries;           //  51  max CM retries 7..4, SRQ 3, extended transport 2..0
  CmPathSpec primary;                //  52
  CmPathSpec alternate;              //  96
  std::uint8_t private_data[92];     // 140
};
static_assert(sizeof(CmReqSpec) == kCmMessageBytes && offsetof(CmReqSpec, primary) == 52 &&
              offsetof(CmReqSpec, private_data) == 140);

struct CmRepSpec {
  Be32 local_comm_id;                //  0
  Be32 remote_comm_id;               //  4
  Be32 local_q_key;                  //  8
  Be24 local_qpn;                    // 12
  std::uint8_t vendor_id_high;       // 15
  Be24 local_eecn;                   // 16
  std::uint8_t vendor_id_middle;     // 19
  Be24 starting_psn;                 // 20
  std::uint8_t vendor_id_low;        // 23
  std::uint8_t responder_resources;  // 24
  std::uint8_t initiator_depth;      // 25
  std::uint8_t ack_delay;            // 26  target ACK delay 7..3, failover 2..1, flow control 0
  std::uint8_t rnr_retries;          // 27  7..5, SRQ 4
  Be64 local_ca_guid;                // 28
  std::uint8_t private_data[196];    // 36
};
static_assert(sizeof(CmRepSpec) == kCmMessageBytes && offsetof(CmRepSpec, private_data) == 36);

struct CmRtuSpec {                 // DREP too
  Be32 local_comm_id;              // 0
  Be32 remote_comm_id;             // 4
  std::uint8_t private_data[224];  // 8
};
static_assert(sizeof(CmRtuSpec) == kCmMessageBytes);

struct CmRejSpec {
  Be32 local_comm_id;              //  0
  Be32 remote_comm_id;             //  4
  std::uint8_t rejected;           //  8  message 7..6
  std::uint8_t info_bytes;         //  9  7..1
  Be16 reason;                     // 10
  std::uint8_t info[72];           // 12
  std::uint8_t private_data[148];  // 84
};
static_assert(sizeof(CmRejSpec) == kCmMessageBytes && offsetof(CmRejSpec, private_data) == 84);

struct CmMraSpec {
  Be32 local_comm_id;              //  0
  Be32 remote_comm_id;             //  4
  std::uint8_t received;           //  8  message 7..6
  std::uint8_t service_timeout;    //  9  7..3
  std::uint8_t private_data[222];  // 10
};
static_assert(sizeof(CmMraSpec) == kCmMessageBytes);

struct CmDreqSpec {
  Be32 local_comm_id;              //  0
  Be32 remote_comm_id;             //  4
  Be24 remote_qpn;                 //  8
  std::uint8_t reserved;           // 11
  std::uint8_t private_data[220];  // 12
};
static_assert(sizeof(CmDreqSpec) == kCmMessageBytes);

struct CmSidrReqSpec {
  Be32 request_id;                 //  0
  Be16 p_key;                      //  4
  Be16 reserved;                   //  6
  Be64 service_id;                 //  8
  std::uint8_t private_data[216];  // 16
};
static_assert(sizeof(CmSidrReqSpec) == kCmMessageBytes);

struct CmSidrRepSpec {
  Be32 request_id;                 //  0
  std::uint8_t status;             //  4
  std::uint8_t info_bytes;         //  5
  Be16 reserved;                   //  6
  Be24 qpn;                        //  8
  std::uint8_t vendor_id_high;     // 11
  Be64 service_id;                 // 12
  Be32 q_key;                      // 20
  std::uint8_t info[72];           // 24
  std::uint8_t private_data[136];  // 96
};
static_assert(sizeof(CmSidrRepSpec) == kCmMessageBytes &&
              offsetof(CmSidrRepSpec, private_data) == 96);

// The first bytes of the private data of a REQ for an IP service.
struct CmIpHeaderSpec {
  std::uint8_t version;                  //  0
  std::uint8_t ip_version;               //  1  7..4
  Be16 source_port;                      //  2
  std::uint8_t source_address[16];       //  4  IPv4's in the last four bytes
  std::uint8_t destination_address[16];  // 20
};
static_assert(sizeof(CmIpHeaderSpec) == 36);

// The service of a port of rdma_cm: its port space, then the port (annex A11.3).
inline constexpr std::uint64_t kServicePrefixTcp = 0x0106'0000;

// Why a REJ (12.6.7.2).
enum class RejReason : std::uint16_t {
  no_queue_pair = 1,
  no_resources = 3,
  timeout = 4,
  unsupported = 5,
  bad_comm_id = 6,
  bad_service_id = 8,
  bad_transport = 9,
  stale_connection = 10,
  bad_gid = 12,
  bad_mtu = 26,
  insufficient_resources = 27,
  consumer = 28,
  bad_rnr_retries = 29,
  duplicate_comm_id = 30,
};
// Which message a REJ or MRA answers.
enum class CmAnswered : std::uint8_t { req = 0, rep = 1, other = 2 };

}  // namespace godbox::roce
