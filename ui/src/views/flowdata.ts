// What the flow, and the totals of the carbon view, are made of: instant
// queries of the whole range, one for each kind of owner.
import type { Shared } from '../context';
import { ApiError, query, queryRange } from '../lib/api';
import { grow, itemsOf, lanesOf, sensors, total, type Items, type Lane, type Owned, type Quantity, type Sensor, type Tree, type Zone } from '../lib/flow';
import { kinds } from '../lib/owners';
import { alone, equal, first, grid, node, owners, site, zones as zoneQueries } from '../lib/queries';
import type { Series } from '../lib/types';

export interface Wanted {
  pods: boolean;
  containers: boolean; // those in pods
  namespace: string; // '' for all of them
}

export interface Flows {
  quantity: Quantity;
  lanes: Lane[];
  tree: Tree;
  meters: Sensor[];
  currency: string; // of cost
  others: string[]; // currencies that are not shown
  lacking: { kind: Owned; error: ApiError }[]; // kinds that could not be had
  covered: number; // seconds of the range for which there is history
  begins: number | null; // when the history begins, if that is within the range
}

const apiError = (e: unknown): ApiError => (e instanceof ApiError ? e : new ApiError('other', String(e)));

// availability tells which quantities the machine has in the range.
export async function available(s: Shared, signal: AbortSignal): Promise<{ co2e: boolean; cost: boolean }> {
  const [grams, cost] = await Promise.all([query(node.grams(s), s.range.end, signal), query(node.cost(s), s.range.end, signal)]);
  return { co2e: grams.length > 0, cost: cost.length > 0 };
}

function ask(s: Shared, quantity: Quantity, kind: Owned, ...matchers: string[]): string {
  switch (quantity) {
    case 'energy':
      return owners.joules(s, kind, ['component', 'part'], ...matchers);
    case 'co2e':
      return owners.grams(s, kind, ['phase'], ...matchers);
    case 'cost':
      return owners.cost(s, kind, ...matchers);
  }
}

// history returns how many seconds of the range the history has, and when it
// begins if it does not have all of them.
async function history(s: Shared, signal: AbortSignal): Promise<{ covered: number; begins: number | null }> {
  const { start, end, seconds, step } = s.range;
  const every = Math.max(step, Math.ceil(seconds / 60 / step) * step);
  const points = (await queryRange(first(s), start, end, every, signal)).flatMap((x) => x.points);
  const least = points.reduce((a, [t]) => Math.min(a, t), Infinity);
  if (!Number.isFinite(least) || least - start <= 2 * every) return { covered: seconds, begins: null };
  const begins = Math.max(start, least - every / 2);
  return { covered: end - begins, begins };
}

// loadFlows asks for everything at once. Without the figures of the machine
// there is nothing to show; a kind of owner that fails is told, and is missing.
export async function loadFlows(s: Shared, quantity: Quantity, want: Wanted, signal: AbortSignal): Promise<Flows> {
  const at = s.range.end;
  const none = Promise.resolve<Series[]>([]);
  const wholeText = quantity === 'energy' ? node.joules(s) : quantity === 'co2e' ? node.grams(s) : node.cost(s);
  const asked: [Owned, string][] = [];
  const within = want.namespace ? [equal('namespace', want.namespace)] : [];
  for (const kind of ['namespace', 'workload', 'pod', 'container', 'vm', 'unit', 'session', 'system'] as const) {
    if ((quantity === 'cost' && !kinds[kind].cost) || (kind === 'pod' && !want.pods)) continue;
    if (kind !== 'container') asked.push([kind, ask(s, quantity, kind, ...(kind === 'pod' ? within : []))]);
    else {
      asked.push([kind, ask(s, quantity, kind, alone)]);
      if (want.containers) asked.push([kind, ask(s, quantity, kind, 'pod_uid!=""', ...within)]);
    }
  }
  const [whole, energy, meterAnswer, intensity, hardware, span, ...answers] = await Promise.all([
    query(wholeText, at, signal),
    quantity === 'energy' ? none : query(node.joules(s), at, signal),
    quantity === 'energy' ? query(zoneQueries.joules(s), at, signal).catch(() => []) : none,
    quantity === 'co2e' ? query(grid.history(s), at, signal).catch(() => []) : none,
    quantity === 'co2e' ? query(site.embodied(s), at, signal).catch(() => []) : none,
    history(s, signal).catch(() => ({ covered: s.range.seconds, begins: null })),
    ...asked.map(([, text]) => query(text, at, signal).catch(apiError)),
  ]);
  signal.throwIfAborted();

  const currencies = [...new Set(quantity === 'cost' ? whole.map((x) => x.labels.currency ?? '') : [])].sort();
  const currency = currencies[0] ?? '';
  const ours = (answer: Series[]): Series[] => (quantity === 'cost' ? answer.filter((x) => (x.labels.currency ?? '') === currency) : answer);
  const guessed = estimatedShare(lanesOf(energy, 'energy'));
  const lanes = lanesOf(ours(whole), quantity, (lane) => {
    if (lane === 'embodied') return hardware.some((h) => h.labels.estimated === 'true') ? 1 : 0;
    return lane === 'operational' && intensity.some((i) => i.labels.estimated === 'true') ? 1 : guessed;
  });
  const items: Items = {};
  const lacking: Flows['lacking'] = [];
  asked.forEach(([kind], i) => {
    const answer = answers[i]!;
    if (answer instanceof ApiError) lacking.push({ kind, error: answer });
    else items[kind] = [...(items[kind] ?? []), ...itemsOf(kind, ours(answer), lanes, quantity)];
  });
  const zones: Zone[] = meterAnswer.map((x) => ({ zone: x.labels.zone ?? '', socket: x.labels.socket ?? '', sensor: x.labels.sensor ?? '', joules: x.points[0]![1] }));
  const tree = grow(lanes, items);
  return { quantity, lanes, tree, meters: quantity === 'energy' ? sensors(lanes, zones, propagated(whole)) : [], currency, others: currencies.slice(1), lacking, ...span };
}

function estimatedShare(lanes: Lane[]): number {
  const all = total(lanes.map((l) => l.total));
  return all > 0 ? total(lanes.map((l) => l.total * l.estimated)) / all : 0;
}

// propagated is the share of each lane that a hypervisor told.
function propagated(whole: Series[]): Record<string, number> {
  const all = new Map<string, number>();
  const told = new Map<string, number>();
  for (const { labels, points } of whole) {
    const lane = `${labels.component ?? ''}/${labels.part ?? ''}`;
    const v = Math.max(0, points[0]![1]);
    all.set(lane, (all.get(lane) ?? 0) + v);
    if (labels.quality === 'propagated') told.set(lane, (told.get(lane) ?? 0) + v);
  }
  return Object.fromEntries([...told].map(([lane, v]) => [lane, v > 0 ? v / all.get(lane)! : 0]));
}
