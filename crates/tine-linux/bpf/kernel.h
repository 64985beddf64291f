/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What seats.bpf.c uses of the kernel's stable interface (linux/bpf.h), copied
 * so that building needs no kernel headers and cannot vary with them. */
#ifndef TINE_KERNEL_H
#define TINE_KERNEL_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long s64;

#define SK_PASS 1
#define BPF_HDR_START_NET 1
#define AF_INET 2
#define AF_INET6 10
#define IPPROTO_TCP 6
#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86dd

struct bpf_sock {
	u32 bound_dev_if, family, type, protocol, mark, priority;
	u32 src_ip4, src_ip6[4], src_port;
	u16 dst_port, unused;
	u32 dst_ip4, dst_ip6[4], state;
};

struct sk_reuseport_md {
	void *data, *data_end;
	u32 len, eth_protocol, ip_protocol, bind_inany, hash;
	struct bpf_sock *sk __attribute__((aligned(8)));
	struct bpf_sock *migrating_sk __attribute__((aligned(8)));
};

static void *(*const map_lookup)(void *map, const void *key) = (void *)1;
static u64 (*const ktime_get_ns)(void) = (void *)5;
static u32 (*const prandom_u32)(void) = (void *)7;
static long (*const load_bytes_relative)(void *ctx, u32 offset, void *to, u32 len,
					 u32 from) = (void *)68;
static long (*const select_reuseport)(void *ctx, void *map, void *key, u64 flags) = (void *)82;
static long (*const probe_read_kernel)(void *to, u32 len, const void *from) = (void *)113;

#endif
