// Processes are not in the history of an agent. Live keeps what its snapshots
// say of them while the page looks.
import { key } from './owners';
import { rowText, type Row, type Sums } from './rows';
import type { Labels, Point } from './types';

interface Energy {
  component: string;
  joules_total?: number;
  watts?: number;
}

// Snapshot is what is read of api/noether/v1/snapshot (docs/json.md).
export interface Snapshot {
  time?: string;
  start?: string;
  node?: Energy[];
  processes?: { pid?: number; comm?: string; container_id?: string; energy?: Energy[] }[];
}

export interface Process extends Row {
  parts: { component: string; watts: number | null; joules: number | null }[];
}

const total = (values: (number | undefined)[]): number | null => values.reduce<number | null>((s, v) => (typeof v === 'number' ? (s ?? 0) + v : s), null);

// Live is one page's memory: the processes of the newest snapshot, and the
// last values of each. One that is gone from the snapshots is forgotten.
export class Live {
  private start = '';
  private history = new Map<string, Point[]>();
  private machinePoints: Point[] = [];
  rows: Process[] = [];
  machine: Sums = { watts: null, joules: null, grams: null, cost: new Map() };
  time: number | null = null; // of the newest snapshot, seconds since 1970
  since: number | null = null; // when the agent's counters were 0

  constructor(private readonly size = 240) {}

  // add takes a snapshot; one that is no newer than the last changes nothing.
  add(s: Snapshot): void {
    const ms = Date.parse(s.time ?? '');
    if (!Number.isFinite(ms)) return;
    const time = ms / 1000;
    if (this.start !== (s.start ?? '')) {
      // another agent: its counters have begun anew
      this.start = s.start ?? '';
      this.history.clear();
      this.machinePoints = [];
      this.time = null;
    }
    if (this.time !== null && time <= this.time) return;
    this.time = time;
    const began = Date.parse(this.start);
    this.since = Number.isFinite(began) ? began / 1000 : null;
    const node = s.node ?? [];
    this.machine = { watts: total(node.map((e) => e.watts)), joules: total(node.map((e) => e.joules_total)), grams: null, cost: new Map() };
    this.machinePoints = this.push(this.machinePoints, time, this.machine.watts);
    const kept = new Map<string, Point[]>();
    this.rows = (s.processes ?? []).map((p) => {
      const labels: Labels = {};
      if (p.pid !== undefined) labels.pid = String(p.pid);
      if (p.comm) labels.comm = p.comm;
      if (p.container_id) labels.container_id = p.container_id;
      const k = key('process', labels);
      const energy = p.energy ?? [];
      const watts = total(energy.map((e) => e.watts));
      kept.set(k, this.push(this.history.get(k) ?? [], time, watts));
      return {
        key: k,
        labels,
        name: p.pid === undefined && p.comm === 'other' ? 'all others' : (p.comm ?? 'unnamed'),
        watts,
        joules: total(energy.map((e) => e.joules_total)),
        grams: null,
        cost: new Map(),
        text: rowText(labels),
        parts: energy.map((e) => ({ component: e.component, watts: e.watts ?? null, joules: e.joules_total ?? null })),
      };
    });
    this.history = kept;
  }

  // points are the watts of a process at the last snapshots, oldest first.
  points(k: string): Point[] {
    return this.history.get(k) ?? [];
  }

  machineWatts(): Point[] {
    return this.machinePoints;
  }

  private push(points: Point[], time: number, watts: number | null): Point[] {
    if (watts === null) return points;
    points.push([time, watts]);
    if (points.length > this.size) points.shift();
    return points;
  }
}
