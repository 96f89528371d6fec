/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The few kernel types and BPF helpers that tasks.bpf.c uses, and no more.
 * Structures carry only the fields that are read: with preserve_access_index
 * the loader finds their real offsets in the running kernel's BTF (CO-RE,
 * Documentation/bpf/libbpf/libbpf_overview.rst). Helper numbers are ABI
 * (include/uapi/linux/bpf.h).
 */
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef int s32;
typedef unsigned long long u64;
typedef long long s64;
typedef _Bool bool;
#define true 1
#define false 0
#define NULL ((void *)0)

#define SEC(name) __attribute__((section(name), used))
#define __always_inline inline __attribute__((always_inline))
#define __noinline __attribute__((noinline))
#define __ksym __attribute__((section(".ksyms")))
#define __weak __attribute__((weak))
#define __uint(name, val) int(*name)[val]
#define __type(name, val) typeof(val) *name

/* include/uapi/linux/bpf.h */
enum {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_RINGBUF = 27,
};
enum { BPF_ANY = 0, BPF_NOEXIST = 1 };
enum { BPF_F_NO_PREALLOC = 1 << 0, BPF_F_MMAPABLE = 1 << 10 };
enum { BPF_RB_NO_WAKEUP = 1 };

struct task_struct;

static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*const bpf_map_update_elem)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
static long (*const bpf_probe_read_kernel)(void *dst, u32 size, const void *src) = (void *)113;
static long (*const bpf_probe_read_kernel_str)(void *dst, u32 size, const void *src) = (void *)115;
static u64 (*const bpf_ktime_get_boot_ns)(void) = (void *)125;
static long (*const bpf_seq_write)(void *seq, const void *data, u32 len) = (void *)127;
static long (*const bpf_ringbuf_output)(void *ring, void *data, u64 size, u64 flags) = (void *)130;
static struct task_struct *(*const bpf_get_current_task_btf)(void) = (void *)158;
static long (*const bpf_loop)(u32 n, void *callback, void *ctx, u64 flags) = (void *)181;

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct list_head {
	struct list_head *next;
};
struct kernfs_node {
	u64 id;
};
struct cgroup_root {
	int hierarchy_id;
};
struct cgroup_subsys_state {
	struct cgroup *cgroup;
	unsigned int flags;
};
struct task_cputime {
	unsigned long long sum_exec_runtime;
};
struct cgroup_base_stat {
	struct task_cputime cputime;
};
struct cgroup {
	struct cgroup_subsys_state self;
	struct kernfs_node *kn;
	struct cgroup_root *root;
	struct cgroup_base_stat bstat;
};
struct css_set {
	struct cgroup_subsys_state *subsys[1];
	struct cgroup *dfl_cgrp;
};
struct sched_entity {
	u64 sum_exec_runtime;
};
struct signal_struct {
	int nr_threads;
	struct list_head thread_head;
	unsigned long long sum_sched_runtime;
};
struct percpu_counter {
	s64 count;
};
struct mm_struct {
	struct percpu_counter rss_stat[4]; /* since 6.2 */
};
struct task_struct {
	unsigned int flags;
	struct sched_entity se;
	struct mm_struct *mm;
	int pid;
	int tgid;
	struct task_struct *real_parent;
	struct list_head thread_node;
	u64 start_boottime;
	char comm[16];
	struct signal_struct *signal;
	struct css_set *cgroups;
};

/* Before 6.2: struct mm_rss_stat { atomic_long_t count[NR_MM_COUNTERS]; }. */
typedef struct {
	s64 counter;
} atomic64_t;
struct mm_rss_stat {
	atomic64_t count[4];
};
struct mm_struct___before_6_2 {
	struct mm_rss_stat rss_stat;
};

struct seq_file;
struct bpf_iter_meta {
	struct seq_file *seq;
	u64 session_id;
	u64 seq_num;
};
struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};

#pragma clang attribute pop

enum cgroup_subsys_id { cpuacct_cgrp_id = 0 };

/* Open-coded task iterator, kernel 6.7 and later (kernel/bpf/task_iter.c). */
struct bpf_iter_task {
	u64 opaque[3];
} __attribute__((aligned(8)));
enum { BPF_TASK_ITER_ALL_PROCS, BPF_TASK_ITER_ALL_THREADS, BPF_TASK_ITER_PROC_THREADS };
extern int bpf_iter_task_new(struct bpf_iter_task *it, struct task_struct *task, unsigned int flags) __weak __ksym;
extern struct task_struct *bpf_iter_task_next(struct bpf_iter_task *it) __weak __ksym;
extern void bpf_iter_task_destroy(struct bpf_iter_task *it) __weak __ksym;

/* Open-coded iterator over cgroups, kernel 6.7 and later (kernel/bpf/cgroup_iter.c). */
struct bpf_iter_css {
	u64 opaque[3];
} __attribute__((aligned(8)));
enum { BPF_CGROUP_ITER_DESCENDANTS_POST = 3 }; /* include/uapi/linux/bpf.h */
enum { CSS_ONLINE = 1 << 1 };                 /* include/linux/cgroup-defs.h */
extern int bpf_iter_css_new(struct bpf_iter_css *it, struct cgroup_subsys_state *start, unsigned int flags) __weak __ksym;
extern struct cgroup_subsys_state *bpf_iter_css_next(struct bpf_iter_css *it) __weak __ksym;
extern void bpf_iter_css_destroy(struct bpf_iter_css *it) __weak __ksym;
extern struct cgroup *bpf_cgroup_ancestor(struct cgroup *cgroup, int level) __weak __ksym;
extern void bpf_cgroup_release(struct cgroup *cgroup) __weak __ksym;
extern void bpf_rcu_read_lock(void) __weak __ksym;
extern void bpf_rcu_read_unlock(void) __weak __ksym;

/* enum bpf_field_info_kind and friends, as the loader understands them. */
#define field_exists(field) __builtin_preserve_field_info(field, 2)
#define field_offset(type, field) __builtin_preserve_field_info(((type *)0)->field, 0)
#define type_exists(type) __builtin_preserve_type_info(*(typeof(type) *)0, 0)
#define enum_value(type, value) __builtin_preserve_enum_value(*(typeof(type) *)value, 1)
#define enum_exists(type, value) __builtin_preserve_enum_value(*(typeof(type) *)value, 0)

/* READ copies one field behind a pointer that the verifier does not trust. */
#define READ(ptr, field) ({                                                  \
	typeof((ptr)->field) __value = 0;                                    \
	bpf_probe_read_kernel(&__value, sizeof(__value), &(ptr)->field);     \
	__value;                                                             \
})
