// The picture of a flow: from sensors over components to owners, as nodes and
// links that balance, and where they lie.
import { sankey, type SankeyLink, type SankeyNode } from 'd3-sankey';
import { share, total, type FlowNode, type Lane, type Quantity, type Sensor } from './flow';
import type { Labels } from './types';

export interface Spot {
  id: string;
  place: FlowNode['place'] | 'sensor' | 'lane';
  name: string;
  labels: Labels | undefined;
  amounts: number[]; // by lane
  total: number;
  estimated: number; // share of it, 0 to 1
  lane: number; // of a component or phase; else -1
  folded: number;
  open: string; // the parent whose others these are
  column: number;
}

export interface Flowing {
  source: string;
  target: string;
  amounts: number[];
  total: number;
}

export interface Graph {
  spots: Spot[];
  links: Flowing[];
  columns: string[]; // titles
}

export const laneNames: Record<string, string> = {
  cpu: 'CPU',
  memory: 'Memory',
  gpu: 'GPU',
  other: 'Other parts',
  operational: 'Operational: electricity',
  embodied: 'Embodied: hardware',
  cost: 'Energy bought',
};

export const laneName = (l: Lane): string => `${laneNames[l.group] ?? (l.group || 'Unknown')}${l.id.includes('/') ? (l.idle ? ', idle' : ', at work') : ''}`;

export const estimatedOf = (lanes: Lane[], amounts: number[]): number => {
  const all = total(amounts);
  return all > 0 ? total(amounts.map((a, i) => a * lanes[i]!.estimated)) / all : 0;
};

const levels: Partial<Record<FlowNode['place'], number>> = { all: 0, namespace: 1, pods: 1, containers: 1, vms: 1, units: 1, sessions: 1, system: 1, workload: 2, vm: 2, unit: 2, session: 2, pod: 3, container: 4 };

// levelOf is the column of a node among owners, by what it is.
export const levelOf = (place: FlowNode['place']): number => levels[place] ?? 0;

const ownerTitles = ['', 'Who', 'Workloads, units', 'Pods', 'Containers'];

// draw makes the graph of a (folded) tree and of the meters behind it.
export function draw(lanes: Lane[], shown: FlowNode, meters: Sensor[], quantity: Quantity): Graph {
  const spots: Spot[] = [];
  const links: Flowing[] = [];
  const columns: string[] = [];
  const spot = (s: Omit<Spot, 'total' | 'estimated' | 'folded' | 'open' | 'labels'> & Partial<Spot>): void => {
    spots.push({ total: total(s.amounts), estimated: estimatedOf(lanes, s.amounts), folded: 0, open: '', labels: undefined, ...s });
  };
  const link = (source: string, target: string, amounts: number[]): void => {
    if (total(amounts) > 0) links.push({ source, target, amounts, total: total(amounts) });
  };
  const alone = (lane: number): number[] => shown.amounts.map((a, i) => (i === lane ? a : 0));

  const behind = quantity === 'energy' ? share(meters, shown.amounts) : [];
  if (behind.length > 0) {
    columns.push('Meters');
    for (const m of behind) {
      const used = m.amounts.map((a, i) => [a, i] as const).filter(([a]) => a > 0);
      const groups = new Set(used.map(([, i]) => lanes[i]!.group));
      spot({ id: `sensor:${m.id}`, place: 'sensor', name: m.name, amounts: m.amounts, lane: groups.size === 1 ? used[0]![1] : -1, column: 0, ...(m.estimated ? { estimated: 1 } : { estimated: 0 }) });
    }
  }
  const laneColumn = columns.length;
  columns.push(quantity === 'energy' ? 'Parts of the machine' : quantity === 'co2e' ? 'Cause' : 'Cost');
  lanes.forEach((l, i) => {
    if (shown.amounts[i]! <= 0) return;
    spot({ id: `lane:${l.id}`, place: 'lane', name: laneName(l), amounts: alone(i), lane: i, column: laneColumn });
    for (const m of behind) if (m.amounts[i]! > 0) link(`sensor:${m.id}`, `lane:${l.id}`, m.amounts.map((a, k) => (k === i ? a : 0)));
  });

  const add = (n: FlowNode, column: number, from: string): void => {
    columns[column] ??= '';
    spot({ id: n.id, place: n.place, name: n.name, labels: n.labels, amounts: n.amounts, lane: -1, folded: n.folded, open: n.place === 'others' ? from : '', column });
    if (columns[column] === '' && levelOf(n.place) > 0) columns[column] = ownerTitles[levelOf(n.place)]!;
    for (const c of n.children) {
      link(n.id, c.id, c.amounts);
      add(c, column + 1, n.id);
    }
  };
  const fromLanes = (n: FlowNode): void => lanes.forEach((l, i) => link(`lane:${l.id}`, n.id, n.amounts.map((a, k) => (k === i ? a : 0))));
  for (const n of shown.place === 'all' ? shown.children : [shown]) {
    add(n, laneColumn + 1, shown.id);
    fromLanes(n);
  }
  return { spots, links, columns };
}

export interface Placed extends Spot {
  x0: number;
  x1: number;
  y0: number;
  y1: number;
}

// Ribbon is one lane of a link; a part of it that is estimated is one of its own.
export interface Ribbon {
  source: string;
  target: string;
  lane: number;
  hatched: boolean;
  path: string;
}

export interface Picture {
  spots: Placed[];
  ribbons: Ribbon[];
  width: number;
  height: number;
}

const row = 15; // pixels from one label to the next, at least
const bar = 12;

const ribbon = (x0: number, a: number, x1: number, b: number, h: number): string => {
  const m = (x0 + x1) / 2;
  const f = (v: number) => v.toFixed(1);
  return `M${f(x0)},${f(a)}C${f(m)},${f(a)} ${f(m)},${f(b)} ${f(x1)},${f(b)}V${f(b + h)}C${f(m)},${f(b + h)} ${f(m)},${f(a + h)} ${f(x0)},${f(a + h)}Z`;
};

// place lays a graph out. Columns have room for a label at each node, so the
// height follows from the fullest.
export function place(graph: Graph, lanes: Lane[], width: number, room = 190): Picture {
  const used = new Map<number, number>();
  for (const s of graph.spots) used.set(s.column, (used.get(s.column) ?? 0) + 1);
  const fullest = Math.max(1, ...used.values());
  const height = Math.max(260, fullest * row + 220);
  if (graph.spots.length === 0) return { spots: [], ribbons: [], width, height };
  type N = SankeyNode<Spot, Flowing>;
  type L = SankeyLink<Spot, Flowing>;
  const layout = sankey<Spot, Flowing>()
    .nodeId((n) => n.id)
    .nodeAlign((n) => (n as unknown as N).column)
    // What is unexplained or folded lies last, everything else as it comes: a
    // tree has no crossings that way, and stays where it is at the next look.
    .nodeSort(null as unknown as undefined)
    .linkSort(null as unknown as undefined)
    .nodeWidth(bar)
    .nodePadding(row)
    .extent([
      [1, 8],
      [Math.max(width - room, 200), height - 8],
    ]);
  const { nodes, links } = layout({ nodes: graph.spots.map((s) => ({ ...s })), links: graph.links.map((l) => ({ ...l, value: l.total })) });
  const ribbons: Ribbon[] = [];
  for (const l of links as L[]) {
    const source = l.source as N;
    const target = l.target as N;
    const w = l.width ?? 0;
    let a = (l.y0 ?? 0) - w / 2;
    let b = (l.y1 ?? 0) - w / 2;
    l.amounts.forEach((amount, lane) => {
      if (amount <= 0) return;
      const guessed = source.place === 'sensor' ? source.estimated : lanes[lane]!.estimated;
      for (const [part, hatched] of [[1 - guessed, false], [guessed, true]] as const) {
        const h = (w * amount * part) / l.total;
        if (h > 0) ribbons.push({ source: source.id, target: target.id, lane, hatched, path: ribbon(source.x1 ?? 0, a, target.x0 ?? 0, b, Math.max(h, 0.3)) });
        a += h;
        b += h;
      }
    });
  }
  return { spots: (nodes as N[]).map((n) => ({ ...n, x0: n.x0 ?? 0, x1: n.x1 ?? 0, y0: n.y0 ?? 0, y1: n.y1 ?? 0 })), ribbons, width, height };
}

// path is every node upstream and downstream of one.
export function path(graph: Graph, id: string): Set<string> {
  const out = new Set([id]);
  const walk = (from: string, forward: boolean): void => {
    for (const l of graph.links) {
      const [a, b] = forward ? [l.source, l.target] : [l.target, l.source];
      if (a === from && !out.has(b)) {
        out.add(b);
        walk(b, forward);
      }
    }
  };
  walk(id, true);
  walk(id, false);
  return out;
}

// neighbour is the node that an arrow key leads to: up and down in the column,
// left and right along the largest link.
export function neighbour(graph: Graph, id: string, arrow: 'left' | 'right' | 'up' | 'down' | 'home' | 'end'): string {
  const at = graph.spots.find((s) => s.id === id);
  if (!at) return graph.spots[0]?.id ?? '';
  const column = graph.spots.filter((s) => s.column === at.column);
  const i = column.indexOf(at);
  switch (arrow) {
    case 'up':
      return column[i - 1]?.id ?? id;
    case 'down':
      return column[i + 1]?.id ?? id;
    case 'home':
      return column[0]!.id;
    case 'end':
      return column[column.length - 1]!.id;
    default: {
      const links = graph.links.filter((l) => (arrow === 'left' ? l.target : l.source) === id).sort((a, b) => b.total - a.total);
      const to = links[0];
      return to ? (arrow === 'left' ? to.source : to.target) : id;
    }
  }
}

// Row is one line of the table that says the same as the picture.
export interface Row {
  id: string;
  depth: number;
  from: string;
  spot: Spot;
}

// rows lists meters, lanes, and owners below each other.
export function rows(graph: Graph): Row[] {
  const name = new Map(graph.spots.map((s) => [s.id, s.name]));
  const first = Math.min(...graph.spots.filter((s) => s.place !== 'sensor' && s.place !== 'lane').map((s) => s.column));
  const parent = new Map<string, string>();
  for (const l of graph.links) if (!l.source.startsWith('lane:') && !l.source.startsWith('sensor:')) parent.set(l.target, l.source);
  return graph.spots.map((s) => ({ id: s.id, depth: s.place === 'sensor' || s.place === 'lane' ? 0 : s.column - first, from: name.get(parent.get(s.id) ?? '') ?? '', spot: s }));
}

