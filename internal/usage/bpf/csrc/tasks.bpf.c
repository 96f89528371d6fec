/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Who ran: one record per process on demand, the final CPU time of every
 * process that ended in between, and the names of cgroups as they come and go.
 *
 * CPU time of a thread group is signal->sum_sched_runtime, to which each
 * thread adds its own when it is released, plus se.sum_exec_runtime of the
 * threads that are left: the arithmetic of thread_group_sched_runtime()
 * without its lock. A thread that is released between the two is missing from
 * one sum; user space never lets the time go backwards.
 */
#include "kernel.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Set by user space before loading. */
const volatile bool legacy = false;         /* there are v1 hierarchies */
const volatile bool residency = false;      /* resident memory is wanted */
const volatile s32 cpuacct_hierarchy = -1;  /* the v1 hierarchy that cpuacct is bound to, or -1 */

#define PF_KTHREAD 0x00200000 /* include/linux/sched.h */

enum { KERNEL_THREAD = 1 }; /* task_record.flags */

struct task_record {
	u64 start;   /* ns since boot */
	u64 runtime; /* ns */
	u64 v2, v1, set;
	u32 pid, parent;
	u32 rss_pages;
	u32 flags;
	char comm[16];
};

/* A process that ended: by itself when a walk may have seen it, else (pid and
 * start 0) summed with the others of its cgroups and parent. */
struct exit_key {
	u64 start;
	u64 v2, v1, set;
	u32 pid, parent;
};
struct exit_value {
	u64 runtime;
	u64 count;
};

struct shared {
	u64 begun;  /* boot time at which the last walk began */
	u64 walked; /* boot time at which it ended; WALKING before that */
	u64 dropped;    /* exits that found no room */
	u64 paths_lost; /* cgroup events that found no room */
};

#define WALKING (~0ULL)

enum { MADE = 1, GONE = 2 };
struct cgroup_event {
	u64 id;
	u32 v1;
	u32 what;
	char path[1024];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 4096); /* set by user space */
	__type(key, u32);
	__type(value, struct task_record);
} tasks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct shared);
} state SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16384); /* set by user space */
	__type(key, struct exit_key);
	__type(value, struct exit_value);
} exits SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 128 << 10);
} cgroups SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct cgroup_event);
} scratch SEC(".maps");

/* The ids of a set of cgroups. Finding them takes several reads, and many
 * processes share few sets. */
struct set_ids {
	u64 walk; /* sh->begun of the walk that found them */
	u64 set;
	u64 v2, v1;
};

#define SETS 256

/* Of the walk at hand: it is one RCU section, in which no set is freed and
 * made again at the same place. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SETS);
	__type(key, u32);
	__type(value, struct set_ids);
} sets SEC(".maps");

/* The CPU time of a cgroup of the unified hierarchy, those below it included,
 * as of the last time that somebody read cpu.stat of it or above it. */
struct group_record {
	u64 id;
	u64 runtime; /* ns */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 4096); /* set by user space */
	__type(key, u32);
	__type(value, struct group_record);
} groups SEC(".maps");

static __always_inline struct shared *shared(void)
{
	u32 zero = 0;
	return bpf_map_lookup_elem(&state, &zero);
}

static __always_inline u64 v1_id(struct css_set *set)
{
	struct cgroup_subsys_state *css = NULL;
	struct kernfs_node *kn;
	struct cgroup *cgroup;
	u64 index;

	if (cpuacct_hierarchy < 0 || !enum_exists(enum cgroup_subsys_id, cpuacct_cgrp_id))
		return 0;
	index = enum_value(enum cgroup_subsys_id, cpuacct_cgrp_id);
	bpf_probe_read_kernel(&css, sizeof(css), (void *)&set->subsys + index * sizeof(css));
	if (!css)
		return 0;
	cgroup = READ(css, cgroup);
	kn = READ(cgroup, kn);
	return READ(kn, id);
}

static __always_inline u32 rss_pages(struct task_struct *task)
{
	struct mm_struct *mm = task->mm;
	s64 pages;

	if (!mm)
		return 0;
	/* MM_FILEPAGES, MM_ANONPAGES, MM_SHMEMPAGES (include/linux/mm_types_task.h) */
	if (type_exists(struct mm_rss_stat)) {
		struct mm_struct___before_6_2 *old = (void *)mm;
		pages = READ(old, rss_stat.count[0].counter) + READ(old, rss_stat.count[1].counter) +
			READ(old, rss_stat.count[3].counter);
	} else {
		pages = mm->rss_stat[0].count + mm->rss_stat[1].count + mm->rss_stat[3].count;
	}
	return pages > 0 ? (u32)pages : 0;
}

/* Of a task that has not run since it was written to r by another walk, what
 * only running changes is left as it is: each line of a task's memory that is
 * not touched saves the time of fetching it. */
static __always_inline void fill(struct task_record *r, struct task_struct *task, u64 runtime, struct set_ids *ids)
{
	struct css_set *set = task->cgroups;
	u64 start = task->start_boottime;
	u32 flags = 0;
	bool same = r->runtime == runtime && r->start == start && r->pid == task->tgid;

	if ((u64)set != ids->set) {
		ids->set = (u64)set;
		ids->v2 = set->dfl_cgrp->kn->id;
		ids->v1 = v1_id(set);
	}
	r->start = start;
	r->runtime = runtime;
	r->v2 = ids->v2;
	r->v1 = ids->v1;
	r->set = legacy ? (u64)set : 0;
	r->pid = task->tgid;
	r->parent = task->real_parent->tgid;
	r->rss_pages = residency ? rss_pages(task) : 0;
	if (same)
		return;
	if (task->flags & PF_KTHREAD)
		flags |= KERNEL_THREAD;
	r->flags = flags;
	bpf_probe_read_kernel(r->comm, sizeof(r->comm), &task->comm);
}

/* ---- every process, in one syscall: kernel 6.7 and later ---- */

struct walk_args {
	u32 count;   /* records written */
	u32 dropped; /* processes for which there was no room */
};

SEC("syscall")
int walk(struct walk_args *args)
{
	u32 count = 0, dropped = 0, owner = 0;
	struct shared *sh = shared();
	struct bpf_iter_task it;
	struct task_struct *task;
	u64 begun = bpf_ktime_get_boot_ns();

	if (!sh)
		return 1;
	sh->begun = begun;
	sh->walked = WALKING;
	bpf_rcu_read_lock();
	bpf_iter_task_new(&it, NULL, BPF_TASK_ITER_ALL_THREADS);
	while ((task = bpf_iter_task_next(&it))) {
		struct task_record *r;
		struct set_ids *ids;
		u32 at = count, set;
		u64 address;

		/* Threads come right after their leader. */
		if (task->pid != task->tgid) {
			at = count - 1;
			if (owner != task->tgid)
				continue;
			r = bpf_map_lookup_elem(&tasks, &at);
			if (r)
				r->runtime += task->se.sum_exec_runtime;
			continue;
		}
		owner = 0;
		if (!task->tgid) /* the idle task */
			continue;
		r = bpf_map_lookup_elem(&tasks, &at);
		if (!r) {
			dropped++;
			continue;
		}
		/* A pointer may not be hashed, but what is read back is a number. */
		*(volatile u64 *)&r->set = (u64)task->cgroups;
		address = *(volatile u64 *)&r->set;
		set = (address >> 9 ^ address >> 17) % SETS; /* they are at least 512 bytes apart */
		ids = bpf_map_lookup_elem(&sets, &set);
		if (!ids)
			break; /* there are SETS of them */
		if (ids->walk != begun) {
			ids->walk = begun;
			ids->set = 0;
		}
		owner = task->tgid;
		fill(r, task, task->signal->sum_sched_runtime + task->se.sum_exec_runtime, ids);
		count++;
	}
	bpf_iter_task_destroy(&it);
	bpf_rcu_read_unlock();
	sh->walked = bpf_ktime_get_boot_ns();
	args->count = count;
	args->dropped = dropped;
	return 0;
}

/* ---- every cgroup, in one syscall: kernel 6.7 and later ---- */

SEC("syscall")
int count(struct walk_args *args)
{
	struct cgroup_subsys_state *css;
	struct cgroup *cgroup, *root;
	u32 count = 0, dropped = 0;
	struct task_struct *task;
	struct bpf_iter_css it;
	struct css_set *set;

	task = bpf_get_current_task_btf();
	bpf_rcu_read_lock();
	set = task->cgroups;
	cgroup = set ? set->dfl_cgrp : NULL;
	root = cgroup ? bpf_cgroup_ancestor(cgroup, 0) : NULL;
	if (!root) {
		bpf_rcu_read_unlock();
		return 1;
	}
	/* Children before their parents, as user space reads files. */
	bpf_iter_css_new(&it, &root->self, BPF_CGROUP_ITER_DESCENDANTS_POST);
	while ((css = bpf_iter_css_next(&it))) {
		struct group_record *r;
		u32 at = count;

		if (!(css->flags & CSS_ONLINE)) /* removed, but something of it is still held */
			continue;
		r = bpf_map_lookup_elem(&groups, &at);
		if (!r) {
			dropped++;
			continue;
		}
		r->id = css->cgroup->kn->id;
		r->runtime = css->cgroup->bstat.cputime.sum_exec_runtime;
		count++;
	}
	bpf_iter_css_destroy(&it);
	bpf_rcu_read_unlock();
	bpf_cgroup_release(root);
	args->count = count;
	args->dropped = dropped;
	return 0;
}

/* ---- every process of the reader's PID namespace, as a file: 5.8 and later ---- */

struct thread_walk {
	struct list_head *at, *end;
	u64 sum;
};

static __always_inline bool next_thread(struct thread_walk *w)
{
	struct task_struct *task;

	if (!w->at || w->at == w->end)
		return false;
	task = (void *)w->at - field_offset(struct task_struct, thread_node);
	w->sum += READ(task, se.sum_exec_runtime);
	w->at = READ(task, thread_node.next);
	return true;
}

static long next_thread_callback(u32 i, struct thread_walk *w)
{
	return !next_thread(w);
}

static __always_inline int emit(struct bpf_iter__task *ctx, bool loop)
{
	struct task_struct *task = ctx->task;
	struct bpf_iter_meta *meta = ctx->meta;
	struct shared *sh;
	struct signal_struct *signal;
	struct task_record r = {};
	struct set_ids ids = {};
	u64 runtime;

	if (!task || meta->seq_num == 0) {
		sh = shared();
		if (sh && meta->seq_num == 0) {
			sh->begun = bpf_ktime_get_boot_ns();
			sh->walked = WALKING;
		}
		if (sh && !task)
			sh->walked = bpf_ktime_get_boot_ns();
		if (!task)
			return 0;
	}
	if (task->pid != task->tgid)
		return 0;
	signal = task->signal;
	runtime = signal->sum_sched_runtime;
	if (signal->nr_threads <= 1) {
		runtime += task->se.sum_exec_runtime;
	} else {
		struct thread_walk w = {
			.at = signal->thread_head.next,
			.end = &signal->thread_head,
			.sum = runtime,
		};
		if (loop) {
			bpf_loop(signal->nr_threads + 8, next_thread_callback, &w, 0);
		} else {
			for (int i = 0; i < 256; i++)
				if (!next_thread(&w))
					break;
		}
		runtime = w.sum;
	}
	fill(&r, task, runtime, &ids);
	bpf_seq_write(meta->seq, &r, sizeof(r));
	return 0;
}

SEC("iter/task")
int list_loop(struct bpf_iter__task *ctx) /* bpf_loop: 5.17 and later */
{
	return emit(ctx, true);
}

SEC("iter/task")
int list_bounded(struct bpf_iter__task *ctx) /* at most 256 threads of a process */
{
	return emit(ctx, false);
}

/* ---- processes that end ---- */

/* The task has left the CPU for good: its time is final. At
 * sched_process_exit it still has to tear down its memory, and what it ran
 * since the last scheduler update is not counted yet. */
SEC("tp_btf/sched_process_free")
int freed(u64 *ctx)
{
	struct task_struct *task = (void *)ctx[0];
	struct exit_value *sum, fresh = {};
	struct shared *sh = shared();
	struct exit_key key = {};
	struct css_set *set;
	u64 own;

	if (!sh || task->pid != task->tgid)
		return 0;
	/* The group's sum was taken when the leader was released; a leader that
	 * reaped itself ran on for a moment. */
	fresh.runtime = task->signal->sum_sched_runtime;
	own = task->se.sum_exec_runtime;
	if (own > fresh.runtime)
		fresh.runtime = own;
	fresh.count = 1;

	set = task->cgroups;
	key.v2 = set->dfl_cgrp->kn->id;
	key.v1 = v1_id(set);
	key.set = legacy ? (u64)set : 0;
	key.parent = task->real_parent->tgid;

	/* A walk may have seen it: user space knows how much is booked already. */
	if (task->start_boottime < sh->walked) {
		key.pid = task->tgid;
		key.start = task->start_boottime;
		if (bpf_map_update_elem(&exits, &key, &fresh, BPF_ANY))
			__sync_fetch_and_add(&sh->dropped, 1);
		return 0;
	}
	for (int i = 0; i < 2; i++) {
		sum = bpf_map_lookup_elem(&exits, &key);
		if (!sum && !bpf_map_update_elem(&exits, &key, &fresh, BPF_NOEXIST))
			return 0;
		if (!sum)
			sum = bpf_map_lookup_elem(&exits, &key); /* another CPU was first */
		if (sum) {
			__sync_fetch_and_add(&sum->runtime, fresh.runtime);
			__sync_fetch_and_add(&sum->count, 1);
			return 0;
		}
		key.parent = 0; /* full: with all others of its cgroup */
	}
	__sync_fetch_and_add(&sh->dropped, 1);
	return 0;
}

/* ---- cgroups that come and go ---- */

static __always_inline int tell(struct cgroup *cgroup, const char *path, u32 what)
{
	struct shared *sh = shared();
	int hierarchy = cgroup->root->hierarchy_id;
	struct cgroup_event *e;
	u32 zero = 0;
	long len;

	if (!sh || (hierarchy != 0 && hierarchy != cpuacct_hierarchy))
		return 0;
	e = bpf_map_lookup_elem(&scratch, &zero);
	if (!e)
		return 0;
	e->id = cgroup->kn->id;
	e->v1 = hierarchy != 0;
	e->what = what;
	len = bpf_probe_read_kernel_str(e->path, sizeof(e->path), path);
	if (len < 1 || len >= sizeof(e->path) || /* longer: let user space look for itself */
	    bpf_ringbuf_output(&cgroups, e, __builtin_offsetof(struct cgroup_event, path) + len, BPF_RB_NO_WAKEUP))
		__sync_fetch_and_add(&sh->paths_lost, 1);
	return 0;
}

SEC("tp_btf/cgroup_mkdir")
int made(u64 *ctx)
{
	return tell((void *)ctx[0], (void *)ctx[1], MADE);
}

SEC("tp_btf/cgroup_rmdir")
int gone(u64 *ctx)
{
	return tell((void *)ctx[0], (void *)ctx[1], GONE);
}
