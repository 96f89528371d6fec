// The machine, or the machines, in this moment: out of the newest snapshot of
// an agent, or out of queries where the server measures nothing itself.
import type { Series } from './types';

// ComponentNow is one component; watts that nobody knows are null.
export interface ComponentNow {
  component: string;
  dynamic: number | null;
  idle: number | null;
  qualities: string[]; // of one machine it is one
  low: number | null; // least and greatest plausible watts; null without a band
  high: number | null;
}

export interface Now {
  time: number; // seconds since 1970, by the server's clock
  components: ComponentNow[];
}

const order = ['cpu', 'memory', 'gpu', 'other'];
const rank = (c: string): number => (order.indexOf(c) + order.length + 1) % (order.length + 1);

// byComponent sorts as the components are told everywhere: cpu, memory, gpu, other.
export const byComponent = <T extends { component: string }>(a: T, b: T): number => rank(a.component) - rank(b.component) || a.component.localeCompare(b.component);

class Components {
  private readonly all = new Map<string, ComponentNow>();

  of(component: string): ComponentNow {
    let c = this.all.get(component);
    if (!c) {
      c = { component, dynamic: null, idle: null, qualities: [], low: null, high: null };
      this.all.set(component, c);
    }
    return c;
  }

  // list has those of which anything is known.
  list(): ComponentNow[] {
    return [...this.all.values()].filter((c) => c.dynamic !== null || c.idle !== null).sort(byComponent);
  }
}

function add(c: ComponentNow, part: string | undefined, watts: number): void {
  if (part === 'idle') c.idle = (c.idle ?? 0) + watts;
  else c.dynamic = (c.dynamic ?? 0) + watts;
}

function quality(c: ComponentNow, name: string | undefined): void {
  if (name && !c.qualities.includes(name)) c.qualities.push(name);
}

// fromSeries reads the answers of node.watts and node.errorWatts.
export function fromSeries(time: number, watts: Series[], errors: Series[]): Now {
  const components = new Components();
  for (const { labels, points } of watts) {
    const c = components.of(labels.component ?? '');
    add(c, labels.part, points[0]![1]);
    quality(c, labels.quality);
  }
  for (const { labels, points } of errors) {
    const c = components.of(labels.component ?? '');
    if (labels.bound === 'low') c.low = points[0]![1];
    if (labels.bound === 'high') c.high = points[0]![1];
  }
  return { time, components: components.list() };
}

// Snapshot is what the page reads of api/noether/v1/snapshot; docs/json.md has the rest.
export interface Snapshot {
  time: string;
  elapsed_seconds?: number;
  node?: { component: string; part?: string; quality?: string; watts?: number }[];
  node_error?: { component: string; bound?: string; watts?: number }[];
  self?: { [name: string]: number | undefined };
  ticks?: number;
  [kind: string]: unknown;
}

export function fromSnapshot(s: Snapshot): Now {
  const components = new Components();
  for (const n of s.node ?? []) {
    if (typeof n.watts !== 'number') continue;
    const c = components.of(n.component);
    add(c, n.part, n.watts);
    quality(c, n.quality);
  }
  for (const n of s.node_error ?? []) {
    if (typeof n.watts !== 'number') continue;
    if (n.bound === 'low') components.of(n.component).low = n.watts;
    if (n.bound === 'high') components.of(n.component).high = n.watts;
  }
  const ms = Date.parse(s.time);
  return { time: Number.isFinite(ms) ? ms / 1000 : 0, components: components.list() };
}

// Sum is a figure with its band; value is null if nothing is known.
export interface Sum {
  value: number | null;
  low: number | null; // null where no component has a band
  high: number | null;
  estimated: boolean;
}

// total adds the components up. One without a band counts in both bounds as it
// is: the band is only of what has one.
export function total(now: Now | undefined): Sum {
  const sum: Sum = { value: null, low: null, high: null, estimated: false };
  let low = 0;
  let high = 0;
  let banded = false;
  for (const c of now?.components ?? []) {
    const watts = (c.dynamic ?? 0) + (c.idle ?? 0);
    sum.value = (sum.value ?? 0) + watts;
    low += c.low ?? watts;
    high += c.high ?? watts;
    banded ||= c.low !== null && c.high !== null;
    sum.estimated ||= c.qualities.includes('estimated');
  }
  return banded ? { ...sum, low, high } : sum;
}

// Quality is the badge: one word, and what it means.
export interface Quality {
  level: 'measured' | 'propagated' | 'estimated' | 'mixed' | 'unknown';
  text: string;
  title: string;
}

const share = (part: number, whole: number): string => `${Math.round(Math.abs(part / whole) * 100)} %`;

// qualityOf sums up how the watts of now are known.
export function qualityOf(now: Now | undefined): Quality {
  const components = now?.components ?? [];
  if (components.length === 0) return { level: 'unknown', text: 'nothing now', title: 'Nothing is known about the power of now.' };
  const all = new Set(components.flatMap((c) => c.qualities));
  const sum = total(now);
  const each = components.map((c) => `${c.component}: ${c.qualities.join(' and ') || 'not known'}`).join(', ');
  const band = sum.value && sum.low !== null && sum.high !== null && sum.high > sum.low ? ` +${share(sum.high - sum.value, sum.value)} / −${share(sum.value - sum.low, sum.value)}` : '';
  if (!all.has('estimated')) {
    const propagated = all.has('propagated');
    return { level: propagated ? 'propagated' : all.size ? 'measured' : 'unknown', text: (propagated ? 'from the hypervisor' : all.size ? 'measured' : 'quality not known') + band, title: `How the energy is known: ${each}.` };
  }
  if (all.size > 1) return { level: 'mixed', text: `~partly estimated${band}`, title: `How the energy is known: ${each}.` };
  return { level: 'estimated', text: `~estimated${band}`, title: `How the energy is known: ${each}. No sensor of this machine can be read: the figures come from a model; Health says what would mend it.` };
}
