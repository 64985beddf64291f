/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Which seat gets the next connection: runs in the kernel for every SYN (and every stray packet)
 * that reaches a SO_REUSEPORT group, and for every queued connection of a socket that is closed. */
#include "kernel.h"

/* Values that the loader knows and the compiler does not. Each is a 64-bit load of a marked
 * number, which the loader looks for in the instructions (src/balance/image.rs): so there is no
 * object file to relocate, and to the verifier they are constants (dead branches vanish). */
#define KNOWN(n) ({ u64 v; asm("%0 = 0x74696e650000000" #n " ll" : "=r"(v)); v; })
#define SEATS ((void *)KNOWN(0))  /* REUSEPORT_SOCKARRAY: slot -> listening socket */
#define RING ((void *)KNOWN(1))   /* ARRAY of u32: see rotation_now() */
#define TALLY ((void *)KNOWN(2))  /* ARRAY: slot -> struct tally */
#define CURSOR ((void *)KNOWN(3)) /* ARRAY of one struct cursor */
#define STICKY KNOWN(4)           /* not 0: by client address */
#define QUEUES KNOWN(5)           /* not 0: the two offsets are known */
#define SOCKETS KNOWN(6)          /* offset of reuseport_array.ptrs */
#define BACKLOG KNOWN(7)          /* offset of sock.sk_ack_backlog */

#define HALF 4097              /* places of the ring that one rotation takes: length, then slots */
#define NEIGHBOURS 8           /* seats looked at from the second cursor on … */
#define STRANGERS 4            /* … and then at random, in rings longer than that */
#define FEW 3                  /* of those with a queue, besides the one whose turn it is */
#define STUCK_NS 50000000ULL   /* a queue that nobody took from for so long … */
#define STUCK 1000             /* … counts as that much longer */
#define TCP_SYN 0x02
#define TCP_ACK 0x10
#define ABSENT 0xffffffffu

struct tally {
	u64 taken;    /* connections given to this seat */
	s64 accepted; /* taken - queue, when last seen to grow */
	u64 since;    /* when that was */
	u64 spare;
};

struct cursor {
	u64 turn;
	u64 unused[7]; /* the two are written by different packets: a cache line each */
	u64 spill;
};

struct rotation {
	u32 first, len;
};

/* ring[0] names the half in force; a half is its length and that many slots. User space writes the
 * other half and then flips ring[0], of which one bit changes: no reader sees a mixture. */
static inline int rotation_now(struct rotation *now)
{
	u32 at = 0, *half = map_lookup(RING, &at), *len;

	if (!half)
		return 0;
	at = 1 + (*half & 1) * HALF;
	len = map_lookup(RING, &at);
	if (!len || !*len)
		return 0;
	now->first = at + 1;
	now->len = *len;
	return 1;
}

static inline u32 slot_at(const struct rotation *now, u64 place)
{
	u32 at = now->first + place % now->len;
	u32 *slot = map_lookup(RING, &at);

	return slot ? *slot : ABSENT;
}

/* The socket table that select_reuseport() uses is read here as plain memory: an eBPF program may
 * not look into it, but with CAP_PERFMON it may read at any address. A read that fails gives 0. */
static inline u32 queue_length(u32 slot)
{
	void *volatile spilled = SEATS;
	u64 table = 0, sock = 0;
	u32 queue = 0;

	probe_read_kernel(&table, sizeof(table), (void *)&spilled);
	probe_read_kernel(&sock, sizeof(sock), (void *)(table + SOCKETS + 8 * (u64)slot));
	if (!sock)
		return ABSENT;
	probe_read_kernel(&queue, sizeof(queue), (void *)(sock + BACKLOG));
	return queue;
}

/* How bad this seat would be for a client; 0 is an idle one. A seat that was emptied meanwhile has
 * accepted more than before, so nothing is to be noted while a queue is empty. One that has not
 * accepted anything ever counts as stuck. */
static inline u32 burden(u32 slot)
{
	u32 queue = queue_length(slot);
	struct tally *seat;
	s64 accepted;
	u64 now;

	if (queue == 0 || queue == ABSENT)
		return queue;
	seat = map_lookup(TALLY, &slot);
	if (!seat)
		return ABSENT;
	/* Half-open connections are taken, not queued: hence "grows", not "changes". */
	accepted = (s64)seat->taken - queue;
	now = ktime_get_ns();
	if (accepted > seat->accepted) {
		seat->accepted = accepted;
		seat->since = now;
	}
	return now - seat->since > STUCK_NS ? queue + STUCK : queue;
}

/* A seat with a queue gives up its turn. Such turns go round by a cursor of their own: given to the
 * next seat in the ring, they would double that one's load. */
static inline int idle_place(const struct rotation *now, struct cursor *cursor, u64 *place)
{
	u64 start = cursor->spill;

	for (u32 i = 0; i < NEIGHBOURS + STRANGERS && i < now->len; i++) {
		*place = i < NEIGHBOURS ? start + i : prandom_u32();
		if (queue_length(slot_at(now, *place)))
			continue;
		cursor->spill = start + (i < NEIGHBOURS ? i + 1 : NEIGHBOURS);
		return 1;
	}
	cursor->spill = start + NEIGHBOURS;
	return 0;
}

/* Nobody seems to be idle: the best of a few, this turn's own seat if they are equal. */
static inline u64 bearable_place(const struct rotation *now, u64 turn, u64 start)
{
	u64 best = turn;
	u32 least = burden(slot_at(now, turn));

	for (u32 i = 0; i < FEW; i++) {
		u32 seen = burden(slot_at(now, start + i));

		if (seen < least) {
			least = seen;
			best = start + i;
		}
	}
	return best;
}

static inline u64 round_robin(const struct rotation *now, u64 opens)
{
	u32 zero = 0;
	struct cursor *cursor = map_lookup(CURSOR, &zero);
	u64 turn, place;

	if (!cursor)
		return 0;
	turn = __sync_fetch_and_add(&cursor->turn, opens);
	if (!QUEUES || !queue_length(slot_at(now, turn)))
		return turn;
	if (idle_place(now, cursor, &place))
		return place;
	return bearable_place(now, turn, prandom_u32());
}

static inline u64 mixed(u64 x) /* the finalizer of MurmurHash3 */
{
	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdULL;
	x ^= x >> 33;
	x *= 0xc4ceb9fe1a85ec53ULL;
	return x ^ x >> 33;
}

static inline u64 hash_of(const u32 a[4])
{
	if (!a[0] && !a[1] && a[2] == __builtin_bswap32(0xffff)) /* IPv4-mapped */
		return mixed(a[3]);
	return mixed(mixed((u64)a[0] << 32 | a[1]) ^ ((u64)a[2] << 32 | a[3]));
}

/* From the packet, or, where a connection changes its seat and there is none, from its socket. */
static inline int client_hash(struct sk_reuseport_md *ctx, u64 *hash)
{
	struct bpf_sock *moving = ctx->migrating_sk;
	u32 a[4] = {};

	if (moving && moving->family == AF_INET) {
		*hash = mixed(moving->dst_ip4);
		return 1;
	}
	if (moving && moving->family == AF_INET6) {
		a[0] = moving->dst_ip6[0];
		a[1] = moving->dst_ip6[1];
		a[2] = moving->dst_ip6[2];
		a[3] = moving->dst_ip6[3];
	} else if (ctx->eth_protocol == __builtin_bswap16(ETH_P_IP)) {
		if (load_bytes_relative(ctx, 12, &a[0], 4, BPF_HDR_START_NET))
			return 0;
		*hash = mixed(a[0]);
		return 1;
	} else if (ctx->eth_protocol != __builtin_bswap16(ETH_P_IPV6) ||
		   load_bytes_relative(ctx, 8, a, 16, BPF_HDR_START_NET)) {
		return 0;
	}
	*hash = hash_of(a);
	return 1;
}

/* 0 for what is no new connection: a packet that comes after its socket is gone (the kernel will
 * answer with a reset), or the last one of a handshake with a SYN cookie, whose SYN has had its
 * turn. Such a packet gets a seat as well, but neither moves the cursor nor is counted. */
static inline u64 opening(const struct sk_reuseport_md *ctx)
{
	const u8 *tcp = ctx->data;

	if (ctx->migrating_sk || ctx->ip_protocol != IPPROTO_TCP || ctx->data + 14 > ctx->data_end)
		return 1;
	return (tcp[13] & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

static inline int give(struct sk_reuseport_md *ctx, const struct rotation *now, u64 place,
		       u64 opens)
{
	u32 slot = slot_at(now, place);
	struct tally *seat;

	if (select_reuseport(ctx, SEATS, &slot, 0))
		return 0;
	seat = map_lookup(TALLY, &slot);
	if (seat)
		__sync_fetch_and_add(&seat->taken, opens);
	return 1;
}

__attribute__((section("sk_reuseport/migrate"), used)) int seats(struct sk_reuseport_md *ctx)
{
	struct rotation now;
	u64 place, opens = opening(ctx);

	/* Without a choice the kernel takes one by its hash: better to wait there than to be refused. */
	if (!rotation_now(&now))
		return SK_PASS;
	if (!STICKY || !client_hash(ctx, &place))
		place = round_robin(&now, opens);
	if (!give(ctx, &now, place, opens)) /* closed a moment ago */
		give(ctx, &now, place + 1, opens);
	return SK_PASS;
}
