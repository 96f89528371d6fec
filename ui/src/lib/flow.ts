// Where every joule of a range went, as a tree whose figures add up. Amounts
// are whole numbers of a small unit (millijoules, micrograms), so that the sum
// of the children of a node is the node, to the last digit, lane by lane.
//
// A lane is one kind of the whole: of energy a component and a part of it
// ("cpu/idle"), of CO2e a phase. What the machine used is the truth; owners
// are fitted into it: what none of them explains is a child of its own, and
// owners that have more than their parent (increase() extrapolates to the
// borders of the range) are all scaled down by the same factor.
import { key, kinds, type Kind } from './owners';
import type { Labels, Series } from './types';

export interface Lane {
  id: string;
  group: string; // of lanes that have one colour: the component, or the phase
  idle: boolean;
  total: number;
  estimated: number; // share of it that nobody measured, 0 to 1
}

export interface Item {
  kind: Kind;
  labels: Labels;
  amounts: number[]; // by lane
}

export type Owned = Exclude<Kind, 'process'>;
export type Items = Partial<Record<Owned, Item[]>>;

// Place is what a node is: an owner, a group of owners of one kind, what no
// owner explains (rest), or what there was no room for (others).
export type Place = 'all' | Owned | 'pods' | 'containers' | 'vms' | 'units' | 'sessions' | 'rest' | 'others';

export interface FlowNode {
  id: string; // place:key, the same in every range and unit
  place: Place;
  name: string;
  labels: Labels | undefined; // of an owner
  amounts: number[];
  total: number;
  children: FlowNode[];
  folded: number; // how many nodes an "others" stands for
}

export interface Tree {
  lanes: Lane[];
  root: FlowNode;
  // excess is the largest part by which children had more than their parent
  // and were scaled down.
  excess: number;
}

// scale is how many of the small unit an amount has: joules are kept as
// millijoules, grams and money as millionths. 2⁵³ mJ are 2.5 GWh.
export const scale = { energy: 1e3, co2e: 1e6, cost: 1e6 } as const;
export type Quantity = keyof typeof scale;

// least is the part of a parent below which a remainder is rounding, and is
// spread over the children.
const least = 1e-3;

export const total = (amounts: number[]): number => amounts.reduce((a, b) => a + b, 0);

const sum = (rows: number[][], lanes: number): number[] => {
  const out = new Array<number>(lanes).fill(0);
  for (const row of rows) for (let i = 0; i < lanes; i++) out[i]! += row[i]!;
  return out;
};

// distribute divides a whole number by weights into whole numbers that add up
// to it; what rounding leaves goes to the largest fractions.
export function distribute(whole: number, weights: number[]): number[] {
  const all = total(weights);
  if (!(all > 0) || whole <= 0) return weights.map(() => 0);
  const exact = weights.map((w) => whole * (w / all));
  const out = exact.map(Math.floor);
  let left = whole - total(out);
  const order = weights.map((_, i) => i).filter((i) => weights[i]! > 0);
  order.sort((a, b) => exact[b]! - out[b]! - (exact[a]! - out[a]!) || a - b);
  for (let k = 0; left > 0; k = (k + 1) % order.length, left--) out[order[k]!]!++;
  order.sort((a, b) => out[b]! - out[a]!);
  for (let k = 0; left < 0; k = (k + 1) % order.length) {
    if (out[order[k]!]! > 0) {
      out[order[k]!]!--;
      left++;
    }
  }
  return out;
}

export interface Balance {
  children: number[][];
  rest: number[]; // what no child explains
  excess: number; // the part of the parent by which the children had more
}

// balance fits children into their parent, lane by lane: afterwards their sum
// and the rest are the parent exactly, and nothing is negative.
export function balance(parent: number[], children: number[][]): Balance {
  const out = children.map((c) => c.slice());
  const rest = parent.slice();
  let excess = 0;
  const whole = total(parent);
  const sums = sum(children, parent.length);
  const missing = total(parent.map((p, i) => Math.max(0, p - sums[i]!)));
  const rounding = missing <= least * whole;
  parent.forEach((p, lane) => {
    const have = sums[lane]!;
    if (have <= 0 || (have <= p && !rounding)) {
      rest[lane] = p - Math.max(0, have);
      return;
    }
    excess += Math.max(0, have - p);
    distribute(p, children.map((c) => c[lane]!)).forEach((v, i) => (out[i]![lane] = v));
    rest[lane] = 0;
  });
  return { children: out, rest, excess: whole > 0 ? excess / whole : 0 };
}

const plural: Partial<Record<Place, string>> = {
  pods: 'Pods without a name',
  containers: 'Containers outside pods',
  vms: 'Virtual machines',
  units: 'System units',
  sessions: 'User sessions',
};

// restName says why a parent has more than its children.
const restName = (parent: FlowNode): string =>
  parent.place === 'pod' ? 'Pod itself, or ended' : parent.place === 'all' ? 'Ended, or not shown' : 'Ended, or not listed';

const idOf = (place: Place, labels: Labels): string => `${place}:${kinds[place as Kind].labels.map((l) => encodeURIComponent(labels[l] ?? '')).join('/')}`;

const node = (place: Place, id: string, name: string, amounts: number[], children: FlowNode[] = [], labels?: Labels): FlowNode => ({
  id,
  place,
  name,
  labels,
  amounts,
  total: total(amounts),
  children,
  folded: 0,
});

const owner = (item: Item, children: FlowNode[] = []): FlowNode => node(item.kind as Place, idOf(item.kind as Place, item.labels), kinds[item.kind].name(item.labels), item.amounts, children, item.labels);

const group = <T>(of: T[], by: (t: T) => string): Map<string, T[]> => {
  const out = new Map<string, T[]>();
  for (const t of of) {
    const k = by(t);
    const had = out.get(k);
    if (had) had.push(t);
    else out.set(k, [t]);
  }
  return out;
};

// grow makes the tree of what a machine (or all of them) used, and of who used
// it. Kinds that were not asked for are left out, and nothing changes above.
export function grow(lanes: Lane[], items: Items): Tree {
  const of = (kind: Owned): Item[] => items[kind] ?? [];
  const inPod = group(of('container').filter((c) => c.labels.pod_uid), (c) => c.labels.pod_uid ?? '');
  const workloadKey = (l: Labels): string => (l.workload ? key('workload', l) : '');
  const known = new Set(of('workload').map((w) => workloadKey(w.labels)));
  const pods = of('pod').map((p) => ({ item: p, tree: owner(p, (inPod.get(p.labels.pod_uid ?? '') ?? []).map((c) => owner(c))) }));
  const named = pods.filter((p) => p.item.labels.namespace);
  const byWorkload = group(named, (p) => (known.has(workloadKey(p.item.labels)) ? workloadKey(p.item.labels) : ''));
  const bare = group(byWorkload.get('') ?? [], (p) => p.item.labels.namespace ?? '');
  const workloads = group(of('workload').filter((w) => w.labels.workload), (w) => w.labels.namespace ?? '');
  const together = (place: Place, children: FlowNode[]): FlowNode[] =>
    children.length ? [node(place, `${place}:`, plural[place] ?? place, sum(children.map((c) => c.amounts), lanes.length), children)] : [];

  const groups = [
    ...of('namespace').filter((n) => n.labels.namespace).map((n) => {
      const name = n.labels.namespace ?? '';
      const within = (workloads.get(name) ?? []).map((w) => owner(w, (byWorkload.get(workloadKey(w.labels)) ?? []).map((p) => p.tree)));
      return owner(n, [...within, ...(bare.get(name) ?? []).map((p) => p.tree)]);
    }),
    ...together('pods', pods.filter((p) => !p.item.labels.namespace).map((p) => p.tree)),
    ...together('containers', of('container').filter((c) => !c.labels.pod_uid).map((c) => owner(c))),
    ...together('vms', of('vm').map((v) => owner(v))),
    ...together('units', of('unit').map((u) => owner(u))),
    ...together('sessions', of('session').map((u) => owner(u))),
    ...of('system').map((a) => owner(a)),
  ];
  const root = node('all', 'all:', 'Everything', lanes.map((l) => l.total), groups);
  return { lanes, root, excess: fit(root) };
}

// fit balances a node and everything below it, sorts by size, and drops what
// has nothing. It returns the largest excess.
function fit(parent: FlowNode): number {
  if (parent.children.length === 0) return 0;
  const b = balance(parent.amounts, parent.children.map((c) => c.amounts));
  parent.children.forEach((c, i) => {
    c.amounts = b.children[i]!;
    c.total = total(c.amounts);
  });
  parent.children = parent.children.filter((c) => c.total > 0).sort((a, c) => c.total - a.total || (a.id < c.id ? -1 : 1));
  let excess = b.excess;
  for (const c of parent.children) excess = Math.max(excess, fit(c));
  // A rest that is everything says nothing: the parent is a leaf.
  if (total(b.rest) > 0 && parent.children.length > 0) parent.children.push(node('rest', `rest:${parent.id}`, restName(parent), b.rest));
  return excess;
}

// find returns the way from the root to a node; null if it is not there.
export function find(root: FlowNode, id: string): FlowNode[] | null {
  if (root.id === id) return [root];
  for (const c of root.children) {
    const way = find(c, id);
    if (way) return [root, ...way];
  }
  return null;
}

// only keeps the lanes that keep tells, and what has something in them.
export function only(from: FlowNode, keep: boolean[]): FlowNode {
  const amounts = from.amounts.map((a, i) => (keep[i] ? a : 0));
  const children = from.children.map((c) => only(c, keep)).filter((c) => c.total > 0);
  return { ...from, amounts, total: total(amounts), children: children.sort((a, b) => Number(a.place === 'rest') - Number(b.place === 'rest') || b.total - a.total) };
}

export interface Fold {
  depth: number; // levels below the node
  top: number; // nodes of a level that are shown by themselves
  open: string[]; // ids of nodes whose children are shown, 50 for each time
}

const more = 50;

// fold leaves of each level the largest nodes; what is left of each parent
// becomes one child of it. The sums stay what they are.
export function fold(from: FlowNode, options: Fold): FlowNode {
  const root = { ...from, children: [] as FlowNode[] };
  let level: [FlowNode, FlowNode][] = [[root, from]];
  for (let depth = 0; depth < options.depth && level.length > 0; depth++) {
    const all = level.flatMap(([, full]) => full.children.filter((c) => c.place !== 'rest'));
    const bound = all.length > options.top ? all.map((c) => c.total).sort((a, b) => b - a)[options.top - 1]! : 0;
    let room = options.top;
    const next: [FlowNode, FlowNode][] = [];
    for (const [to, full] of level) {
      const owners = full.children.filter((c) => c.place !== 'rest');
      const extra = options.open.filter((o) => o === full.id).length * more;
      const large = owners.filter((c) => c.total >= bound && room-- > 0);
      let shown = extra > 0 ? owners.slice(0, Math.max(large.length, 0) + extra) : large;
      if (owners.length - shown.length === 1) shown = owners;
      const hidden = owners.slice(shown.length);
      for (const c of shown) {
        const copy = { ...c, children: [] as FlowNode[] };
        to.children.push(copy);
        next.push([copy, c]);
      }
      if (hidden.length > 0) {
        to.children.push({ ...node('others', `others:${full.id}`, `${hidden.length.toLocaleString('en')} others`, sum(hidden.map((h) => h.amounts), full.amounts.length)), folded: hidden.length });
      }
      to.children.push(...full.children.filter((c) => c.place === 'rest'));
    }
    level = next;
  }
  return root;
}

// The sensors.

export interface Zone {
  zone: string;
  socket: string;
  sensor: string;
  joules: number;
}

export interface Sensor {
  id: string;
  name: string;
  estimated: boolean;
  amounts: number[]; // by lane
}

// componentOf tells what a zone makes up by itself: docs/sensors.md. Zones
// that lie inside others make up nothing.
function componentOf(zone: string): string | null {
  if (/^(mmio-)?package/.test(zone)) return 'cpu';
  if (/^dram/.test(zone)) return 'memory';
  if (/^gpu/.test(zone)) return 'gpu';
  return /^(psys|platform)/.test(zone) ? 'other' : null;
}

// sensors tells which meters the lanes of energy come from. Zones overlap, and
// are only weights here: what they give are the components, exactly.
export function sensors(lanes: Lane[], zones: Zone[], propagated: Record<string, number> = {}): Sensor[] {
  const meters = new Map<string, Sensor>();
  const give = (id: string, name: string, estimated: boolean, lane: number, amount: number): void => {
    if (amount <= 0) return;
    let m = meters.get(id);
    if (!m) meters.set(id, (m = { id, name, estimated, amounts: lanes.map(() => 0) }));
    m.amounts[lane]! += amount;
  };
  const real = zones.filter((z) => z.sensor !== 'model' && z.joules > 0);
  lanes.forEach((lane, i) => {
    const guessed = Math.min(lane.total, Math.round(lane.total * lane.estimated));
    const told = Math.min(lane.total - guessed, Math.round(lane.total * (propagated[lane.id] ?? 0)));
    const measured = lane.total - guessed - told;
    give('model', 'Model (estimated)', true, i, guessed);
    give('hypervisor', 'Told by the hypervisor', false, i, told);
    let of = real.filter((z) => componentOf(z.zone) === lane.group);
    if (of.some((z) => z.zone.startsWith('package'))) of = of.filter((z) => !z.zone.startsWith('mmio-'));
    const component = total(lanes.filter((l) => l.group === lane.group).map((l) => l.total * (1 - l.estimated - (propagated[l.id] ?? 0))));
    const seen = total(of.map((z) => z.joules)) * scale.energy;
    const lacking = lane.group !== 'other' && seen < component * (1 - 10 * least) ? (component - seen) / scale.energy : 0;
    const shares = distribute(measured, [...of.map((z) => z.joules), of.length === 0 ? 1 : lacking]);
    of.forEach((z, k) => give(`zone:${z.sensor}/${z.socket}/${z.zone}`, /\d/.test(z.zone) || !z.socket ? z.zone : `${z.zone} ${z.socket}`, false, i, shares[k]!));
    give('meter', 'Meter not shown', false, i, shares[of.length]!);
  });
  // In the order of what they measure, and the larger ones first.
  const at = (m: Sensor): number => m.amounts.findIndex((a) => a > 0);
  return [...meters.values()].sort((a, b) => Number(a.estimated) - Number(b.estimated) || at(a) - at(b) || total(b.amounts) - total(a.amounts));
}

// share gives each sensor its part of the amounts that are shown.
export function share(of: Sensor[], amounts: number[]): Sensor[] {
  const out = of.map((s) => ({ ...s, amounts: s.amounts.map(() => 0) }));
  amounts.forEach((a, lane) => distribute(a, of.map((s) => s.amounts[lane]!)).forEach((v, i) => (out[i]!.amounts[lane] = v)));
  return out.filter((s) => total(s.amounts) > 0);
}

// Reading answers.

const order = ['cpu', 'memory', 'gpu', 'other', 'operational', 'embodied', 'cost'];

const whole = (s: Series, by: number): number => Math.max(0, Math.round((s.points[0]?.[1] ?? 0) * by));

// lanesOf reads what the machine used, by component, part and quality, or by
// phase; estimated tells the share of a lane that is an estimate, where the
// series do not say it.
export function lanesOf(answer: Series[], quantity: Quantity, estimated: (lane: string) => number = () => 0): Lane[] {
  const out = new Map<string, Lane & { guessed: number }>();
  for (const s of answer) {
    const at = laneOf(s.labels, quantity);
    let lane = out.get(at.id);
    if (!lane) out.set(at.id, (lane = { ...at, total: 0, estimated: 0, guessed: 0 }));
    const amount = whole(s, scale[quantity]);
    lane.total += amount;
    if (s.labels.quality === 'estimated') lane.guessed += amount;
  }
  const rank = (g: string): number => (order.includes(g) ? order.indexOf(g) : order.length);
  return [...out.values()]
    .filter((l) => l.total > 0)
    .map(({ guessed, ...l }) => ({ ...l, estimated: quantity === 'energy' ? guessed / l.total : estimated(l.id) }))
    .sort((a, b) => rank(a.group) - rank(b.group) || Number(a.idle) - Number(b.idle) || (a.id < b.id ? -1 : 1));
}

function laneOf(l: Labels, quantity: Quantity): { id: string; group: string; idle: boolean } {
  if (quantity === 'cost') return { id: 'cost', group: 'cost', idle: false };
  if (quantity === 'co2e') return { id: l.phase ?? '', group: l.phase ?? '', idle: false };
  const component = l.component ?? '';
  return { id: `${component}/${l.part ?? ''}`, group: component, idle: l.part === 'idle' };
}

// itemsOf adds up the series of each owner of a kind. A lane that the machine
// does not have is nobody's.
export function itemsOf(kind: Owned, answer: Series[], lanes: Lane[], quantity: Quantity): Item[] {
  const index = new Map(lanes.map((l, i) => [l.id, i]));
  const out = new Map<string, Item>();
  for (const s of answer) {
    const k = key(kind, s.labels);
    let item = out.get(k);
    if (!item) out.set(k, (item = { kind, labels: s.labels, amounts: lanes.map(() => 0) }));
    const lane = index.get(laneOf(s.labels, quantity).id);
    if (lane !== undefined) item.amounts[lane]! += whole(s, scale[quantity]);
  }
  return [...out.values()];
}
